package kubelet

import (
	"io"
	"net/netip"
	"syscall"

	"gwanmun.test/conformance/cluster/internal/container"
	"gwanmun.test/conformance/cluster/internal/network"
)

// Runtime makes what pods consist of. Tests replace it.
type Runtime interface {
	AddNetwork(uid string, ip netip.Addr, sysctls map[string]string) (Network, error)
}

// Network is a pod's.
type Network interface {
	Start(container.Spec) (Process, error)
	Remove()
}

// Process is a container that runs.
type Process interface {
	// ID is the process's number on the node.
	ID() int
	Signal(syscall.Signal)
	// Wait copies the output until the process ends and returns its exit code.
	Wait(io.Writer) int
}

// Kernel is the runtime that makes real ones.
type Kernel struct{}

// AddNetwork makes a network namespace.
func (Kernel) AddNetwork(uid string, ip netip.Addr, sysctls map[string]string) (Network, error) {
	pod, err := network.AddPod(uid, ip, sysctls)
	if err != nil {
		return nil, err
	}
	return kernelNetwork{pod}, nil
}

type kernelNetwork struct{ *network.Pod }

func (n kernelNetwork) Start(spec container.Spec) (Process, error) {
	process, err := container.Start(n.Namespace, spec)
	if err != nil {
		return nil, err
	}
	return kernelProcess{process}, nil
}

type kernelProcess struct{ *container.Process }

func (p kernelProcess) ID() int { return p.Pid }
