package podlog

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func text(t *testing.T, log *Log, options Options) string {
	t.Helper()
	var out strings.Builder
	if err := log.Copy(context.Background(), &out, options); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLinesAreWholeHoweverTheyArrive(t *testing.T) {
	var log Log
	for _, piece := range []string{"on", "e\ntw", "o\n\nthree"} {
		_, _ = log.Write([]byte(piece))
	}
	all := Options{Tail: -1, Limit: -1}
	if got := text(t, &log, all); got != "one\ntwo\n\n" {
		t.Errorf("before the end: %q", got)
	}
	log.Close()
	if got := text(t, &log, all); got != "one\ntwo\n\nthree\n" {
		t.Errorf("after the end: %q", got)
	}
}

func TestOptionsSelectLines(t *testing.T) {
	var log Log
	for i := range 5 {
		fmt.Fprintf(&log, "line %d\n", i)
	}
	if got := text(t, &log, Options{Tail: 2, Limit: -1}); got != "line 3\nline 4\n" {
		t.Errorf("tail: %q", got)
	}
	if got := text(t, &log, Options{Tail: -1, Limit: 10}); got != "line 0\nlin" {
		t.Errorf("limit: %q", got)
	}
	if got := text(t, &log, Options{Tail: -1, Limit: -1, Since: time.Now().Add(time.Hour)}); got != "" {
		t.Errorf("since: %q", got)
	}
	stamped := text(t, &log, Options{Tail: 1, Limit: -1, Timestamps: true})
	stamp, rest, _ := strings.Cut(stamped, " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || rest != "line 4\n" {
		t.Errorf("timestamps: %q, %v", stamped, err)
	}
}

func TestTheNewestLinesAreKept(t *testing.T) {
	var log Log
	for i := range maxLines + 1 {
		fmt.Fprintln(&log, i)
	}
	if got := text(t, &log, Options{Tail: 1, Limit: -1}); got != fmt.Sprintln(maxLines) {
		t.Errorf("last line %q", got)
	}
	if lines, _, _ := log.after(0); len(lines) > maxLines {
		t.Errorf("%d lines are kept", len(lines))
	}
}

func TestFollowersSeeWhatComesUntilTheEnd(t *testing.T) {
	log := &Log{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", Handler(func(namespace, pod, container string, previous bool) *Log {
		if namespace+pod+container == "npc" && !previous {
			return log
		}
		return nil
	}))
	server := httptest.NewServer(mux)
	defer server.Close()
	fmt.Fprintln(log, "before")
	response, err := http.Get(server.URL + "/containerLogs/n/p/c?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "before\n" {
		t.Fatalf("%q, %v", line, err)
	}
	fmt.Fprintln(log, "after")
	if line, err := lines.ReadString('\n'); err != nil || line != "after\n" {
		t.Fatalf("%q, %v", line, err)
	}
	log.Close()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Fatalf("%q, %v", rest, err)
	}
	other, err := http.Get(server.URL + "/containerLogs/n/p/other")
	if err != nil || other.StatusCode != http.StatusNotFound {
		t.Errorf("unknown container: %v, %v", other, err)
	}
}

func TestQueriesAreRead(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	query, _ := url.ParseQuery("sinceSeconds=5&tailLines=3&follow=true")
	options, err := ParseOptions(query, now)
	if err != nil || !options.Since.Equal(now.Add(-5*time.Second)) || options.Tail != 3 || !options.Follow || options.Limit != -1 {
		t.Errorf("%+v, %v", options, err)
	}
	for _, bad := range []string{"tailLines=x", "sinceTime=yesterday", "follow=perhaps"} {
		query, _ := url.ParseQuery(bad)
		if _, err := ParseOptions(query, now); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
