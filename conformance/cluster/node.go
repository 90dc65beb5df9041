package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"gwanmun.test/conformance/cluster/internal/balancer"
	"gwanmun.test/conformance/cluster/internal/controlplane"
	"gwanmun.test/conformance/cluster/internal/dns"
	"gwanmun.test/conformance/cluster/internal/image"
	"gwanmun.test/conformance/cluster/internal/kubelet"
	"gwanmun.test/conformance/cluster/internal/network"
	"gwanmun.test/conformance/cluster/internal/podlog"
	"gwanmun.test/conformance/cluster/internal/tool"
)

const echoServer = "registry.k8s.io/gateway-api/conformance/echo-basic"

// The first addresses of the pods' range are the node's, and for guests from outside.
const firstPod = 256

type imageOptions struct{ gwanmun, name string }

// node is the component that runs pods, assigns load balancer addresses and answers DNS.
func node(ctx context.Context, o *options) error {
	config, err := clientConfig(o, "kubelet")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	images, err := o.images.set(o.Binaries)
	if err != nil {
		return err
	}
	k := kubelet.New(kubelet.Config{
		Node: controlplane.Node, IP: network.Node.String(), Directory: o.File("kubelet"), Images: images, Resolver: dns.Resolver,
		Client: client, Runtime: kubelet.Kernel{}, Addresses: network.NewAddresses(network.Pods, firstPod), Settle: time.Second,
	})
	if err := serveDNS(ctx, client); err != nil {
		return err
	}
	go serveLogs(o, k)
	go func() {
		if err := balancer.New(client, network.NewAddresses(network.LoadBalancers, 1)).Run(ctx); err != nil {
			slog.Error("no load balancer addresses", "reason", err)
		}
	}()
	return k.Run(ctx)
}

func (i imageOptions) set(binaries string) (image.Set, error) {
	images := image.Set{}
	echo, err := image.Of(filepath.Join(binaries, "echo-basic"))
	if err != nil {
		return nil, err
	}
	echo.Env = []string{"GOMAXPROCS=1"} // two dozen of them share a machine
	images[echoServer] = echo
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if images[tool.Image], err = image.Of(self, "tool"); err != nil {
		return nil, err
	}
	if _, err := os.Stat(i.gwanmun); i.gwanmun != "" && err == nil {
		if images[image.Repository(i.name)], err = image.Of(i.gwanmun); err != nil {
			return nil, err
		}
	}
	return images, nil
}

func serveDNS(ctx context.Context, client kubernetes.Interface) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	server := &dns.Server{
		Services:  factory.Core().V1().Services().Lister(),
		Endpoints: factory.Discovery().V1().EndpointSlices().Lister(),
	}
	factory.Start(ctx.Done())
	socket, err := net.ListenPacket("udp", net.JoinHostPort(network.Node.String(), "53"))
	if err != nil {
		return err
	}
	go server.Serve(ctx, socket)
	return nil
}

// serveLogs answers the API server, and nobody else.
func serveLogs(o *options, k *kubelet.Kubelet) {
	authority, err := os.ReadFile(o.File("pki", "ca.crt"))
	if err != nil {
		slog.Error("logs are not served", "reason", err)
		return
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(authority)
	mux := http.NewServeMux()
	logs := podlog.Handler(k.Log)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.VerifiedChains) == 0 {
			http.Error(w, "a client certificate is needed", http.StatusUnauthorized)
			return
		}
		logs(w, r)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{
		Addr: net.JoinHostPort(network.Node.String(), strconv.Itoa(kubelet.Port)), Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12},
	}
	err = server.ListenAndServeTLS(o.File("pki", "kubelet-server.crt"), o.File("pki", "kubelet-server.key"))
	slog.Error("logs are not served", "reason", err)
}
