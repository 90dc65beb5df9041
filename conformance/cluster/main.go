// Command cluster is a Kubernetes made of processes: the real control plane and kube-proxy, and a node that runs pods
// as processes. `conformance/README.md` says what for.
//
// `up` starts `run`, which lives in namespaces of its own (network, processes, mounts) and keeps the components, one
// of them `node`, this program again. `exec` runs a command inside the network, `down` ends it all.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"gwanmun.test/conformance/cluster/internal/container"
	"gwanmun.test/conformance/cluster/internal/controlplane"
	"gwanmun.test/conformance/cluster/internal/tool"
)

const usage = `usage: cluster [flags] COMMAND

  up                        start the cluster and print its kubeconfig
  down                      end it and leave nothing
  exec COMMAND [ARGUMENT…]  run a command in the cluster's network, with KUBECONFIG, kubectl and helm
  signal COMPONENT [SIGNAL] send a signal (a number, 9 if not said) to a component, which is started again when it ends
  conformance               run the Gateway API conformance suite

flags:
`

type options struct {
	controlplane.Layout
	gatewayAPI string
	istio      bool
	images     imageOptions
	suite      suiteOptions
}

func main() {
	// The child of a container's start: nothing may happen before.
	if len(os.Args) > 1 && os.Args[1] == container.InitCommand {
		container.Init()
	}
	o, arguments := parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	switch command := arguments[0]; command {
	case "up":
		err = up(ctx, o)
	case "down":
		err = down(o)
	case "exec":
		err = enter(o, arguments[1:])
	case "signal":
		err = send(o, arguments[1:])
	case "conformance":
		err = conformance(ctx, o)
	case "run":
		err = run(ctx, o)
	case "node":
		err = node(ctx, o)
	case "tool":
		context.AfterFunc(ctx, func() { os.Exit(0) })
		err = tool.Run(arguments[1:])
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func parse() (*options, []string) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	var o options
	flag.StringVar(&o.Binaries, "binaries", "", "directory that conformance/build printed")
	flag.StringVar(&o.State, "state", filepath.Join(os.TempDir(), "gwanmun-cluster"), "directory of all that is written")
	flag.StringVar(&o.gatewayAPI, "gateway-api", "experimental", "channel of the Gateway API's definitions: standard, experimental or none")
	flag.BoolVar(&o.istio, "istio", true, "install the definitions of Istio's API")
	flag.StringVar(&o.images.gwanmun, "gwanmun", "", "the program that the image of Gwanmun stands for")
	flag.StringVar(&o.images.name, "gwanmun-image", "gwanmun", "repository of the image of Gwanmun")
	o.suite.define()
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	return &o, flag.Args()
}
