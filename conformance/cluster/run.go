package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gwanmun.test/conformance/cluster/internal/controlplane"
	"gwanmun.test/conformance/cluster/internal/manifests"
	"gwanmun.test/conformance/cluster/internal/network"
)

// The socket that `up` made in the host's network.
const entrance = 3

// run is the cluster's first process.
func run(ctx context.Context, o *options) error {
	if os.Getpid() != 1 {
		return errors.New("run is for up to call")
	}
	if err := isolate(); err != nil {
		return err
	}
	if err := network.SetUpNode(); err != nil {
		return err
	}
	go serveHost(ctx)
	config, err := clientConfig(o, "admin")
	if err != nil {
		return err
	}
	supervisor := controlplane.NewSupervisor(o.Layout)
	programs := o.Programs()
	for _, component := range programs[:2] { // etcd and the API server, which waits for it
		if err := supervisor.Keep(ctx, component); err != nil {
			return err
		}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := until(ctx, "API server", func() error { return healthz(ctx, client) }); err != nil {
		return err
	}
	self := append([]string{"/proc/self/exe"}, os.Args[1:len(os.Args)-1]...)
	for _, component := range append(programs[2:], controlplane.Component{Name: "node", Argv: append(self, "node")}) {
		if err := supervisor.Keep(ctx, component); err != nil {
			return err
		}
	}
	if err := settle(ctx, o, config, client); err != nil {
		return err
	}
	if err := os.WriteFile(o.File("run", "ready"), nil, 0o644); err != nil {
		return err
	}
	slog.Info("ready")
	// Nothing is worth an orderly end: when this process is gone, the kernel ends all others of its namespace.
	<-ctx.Done()
	return nil
}

// settle installs the definitions and waits for everything that a first pod needs, all at once.
func settle(ctx context.Context, o *options, config *rest.Config, client kubernetes.Interface) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	do := func(name string, f func() error) {
		all.Go(func() {
			began := time.Now()
			err := f()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
			}
			slog.Info("step", "name", name, "after", time.Since(began).Round(time.Millisecond))
		})
	}
	do("definitions", func() error { return install(ctx, o, config) })
	wait := func(name string, ready func() error) {
		do(name, func() error { return until(ctx, name, ready) })
	}
	wait("default ServiceAccount", func() error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	wait("node", func() error {
		_, err := client.CoreV1().Nodes().Get(ctx, controlplane.Node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return get("https://" + net.JoinHostPort(network.Node.String(), "10250") + "/healthz")
	})
	wait("kube-controller-manager", func() error { return get("https://127.0.0.1:10257/healthz") })
	wait("kube-scheduler", func() error { return get("https://127.0.0.1:10259/readyz") })
	wait("kube-proxy", func() error { return get("http://127.0.0.1:10256/healthz") })
	all.Wait()
	return failed
}

func install(ctx context.Context, o *options, config *rest.Config) error {
	var directories []string
	if o.gatewayAPI != "none" {
		directories = append(directories, "gateway-api-"+o.gatewayAPI)
	}
	if o.istio {
		directories = append(directories, "istio")
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	served, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	var objects []*unstructured.Unstructured
	for _, directory := range directories {
		more, err := manifests.Read(filepath.Join(o.Binaries, "definitions", directory))
		if err != nil {
			return err
		}
		objects = append(objects, more...)
	}
	return manifests.Apply(ctx, client, served, objects)
}

// isolate makes the mounts private and shows the processes of the new namespace.
func isolate() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// serveHost carries connections from the host's loopback to the API server.
func serveHost(ctx context.Context) {
	file := os.NewFile(entrance, "entrance")
	listener, err := net.FileListener(file)
	file.Close()
	if err != nil {
		slog.Error("the host cannot reach the API server", "reason", err)
		return
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	for {
		outer, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer outer.Close()
			inner, err := net.Dial("tcp", net.JoinHostPort(network.Node.String(), "6443"))
			if err != nil {
				return
			}
			defer inner.Close()
			go func() {
				_, _ = io.Copy(inner, outer)
				_ = inner.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(outer, inner)
		}()
	}
}

func clientConfig(o *options, identity string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.File("pki", identity+".kubeconfig"))
	if err != nil {
		return nil, err
	}
	// The default would be slower than everything else here.
	config.QPS, config.Burst = 500, 1000
	return config, nil
}

func healthz(ctx context.Context, client kubernetes.Interface) error {
	return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// Health endpoints of components that serve with certificates of their own making.
var health = &http.Client{Timeout: time.Second, Transport: &http.Transport{
	DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
}}

func get(url string) error {
	response, err := health.Get(url)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}

func until(ctx context.Context, what string, ready func() error) error {
	deadline := time.Now().Add(bootTimeout - 5*time.Second)
	for {
		err := ready()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("%s is not ready: %w", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
