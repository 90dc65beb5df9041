// Package tool is the program of the image gwanmun.test/tool: a server that shows tests the inside of its pod.
//
//	/env              the environment
//	/file/PATH        a file
//	/fetch?url=URL    what another server answers, as seen from the pod
//	/healthz          200, until /fail or after /recover
//	/exit?code=N      ends the process
package tool

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Image is the repository of the tool's image.
const Image = "gwanmun.test/tool"

// Run serves on the address in LISTEN, or on port 8080; with the argument "exit" it ends with the code that follows.
func Run(arguments []string) error {
	if len(arguments) == 2 && arguments[0] == "exit" {
		code, err := strconv.Atoi(arguments[1])
		if err != nil {
			return err
		}
		fmt.Println("ending with", code)
		os.Exit(code)
	}
	address := os.Getenv("LISTEN")
	if address == "" {
		address = ":8080"
	}
	fmt.Println("serving on", address)
	return http.ListenAndServe(address, handler(os.Exit))
}

func handler(exit func(int)) http.Handler {
	var failing atomic.Bool
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if failing.Load() {
			http.Error(w, "failing", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/fail", func(http.ResponseWriter, *http.Request) { failing.Store(true) })
	mux.HandleFunc("/recover", func(http.ResponseWriter, *http.Request) { failing.Store(false) })
	mux.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, strings.Join(os.Environ(), "\n"))
	})
	mux.HandleFunc("/file/{path...}", func(w http.ResponseWriter, r *http.Request) {
		content, err := os.ReadFile("/" + r.PathValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(content)
	})
	mux.HandleFunc("/fetch", func(w http.ResponseWriter, r *http.Request) {
		response, err := client.Get(r.URL.Query().Get("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body)
	})
	mux.HandleFunc("/exit", func(_ http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		exit(code)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name, _ := os.Hostname()
		fmt.Fprintf(w, "pod %s, client %s\n", name, r.RemoteAddr)
	})
	return mux
}
