package kubelet

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"gwanmun.test/conformance/cluster/internal/container"
	"gwanmun.test/conformance/cluster/internal/image"
)

// stage is a runtime whose processes do what the test says.
type stage struct {
	mu      sync.Mutex
	started chan *actor
	removed bool
}

type actor struct {
	spec    container.Spec
	exit    chan int
	signals chan syscall.Signal
}

func (s *stage) AddNetwork(string, netip.Addr, map[string]string) (Network, error) { return s, nil }

func (s *stage) Start(spec container.Spec) (Process, error) {
	a := &actor{spec: spec, exit: make(chan int, 1), signals: make(chan syscall.Signal, 10)}
	s.started <- a
	return a, nil
}

func (s *stage) Remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = true
}

func (*actor) ID() int { return -1 }

func (a *actor) Signal(signal syscall.Signal) {
	a.signals <- signal
	if signal == syscall.SIGKILL {
		select {
		case a.exit <- 137:
		default:
		}
	}
}

func (a *actor) Wait(log io.Writer) int {
	fmt.Fprintln(log, "running", a.spec.Argv)
	return <-a.exit
}

type node struct {
	*testing.T
	*stage
	client  *fake.Clientset
	kubelet *Kubelet
}

func start(t *testing.T, pod *v1.Pod) *node {
	t.Helper()
	n := &node{T: t, stage: &stage{started: make(chan *actor, 10)}, client: fake.NewSimpleClientset()}
	n.kubelet = New(Config{
		Node: "n1", IP: "198.18.0.1", Directory: t.TempDir(), Client: n.client, Runtime: n.stage, Resolver: "search %s\n",
		Images: image.Set{"app": {Entrypoint: []string{"/app"}}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.kubelet.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	pod.Name, pod.Namespace, pod.UID, pod.Spec.NodeName = "p", "n", "uid", "n1"
	if _, err := n.client.CoreV1().Pods("n").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) next() *actor {
	n.Helper()
	select {
	case a := <-n.started:
		return a
	case <-time.After(5 * time.Second):
		n.Fatal("nothing was started")
		return nil
	}
}

func (n *node) eventually(what string, holds func(*v1.Pod) bool) {
	n.Helper()
	var pod *v1.Pod
	for range 500 {
		var err error
		if pod, err = n.client.CoreV1().Pods("n").Get(context.Background(), "p", metav1.GetOptions{}); err == nil && holds(pod) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.Fatalf("not %s: %+v", what, pod.Status)
}

func (n *node) delete(seconds int64) {
	n.Helper()
	ctx, pods := context.Background(), n.client.CoreV1().Pods("n")
	pod, err := pods.Get(ctx, "p", metav1.GetOptions{})
	if err != nil {
		n.Fatal(err)
	}
	now := metav1.Now()
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &now, &seconds
	if _, err := pods.Update(ctx, pod, metav1.UpdateOptions{}); err != nil {
		n.Fatal(err)
	}
}

func (n *node) gone() {
	n.Helper()
	for range 500 {
		if _, err := n.client.CoreV1().Pods("n").Get(context.Background(), "p", metav1.GetOptions{}); apierrors.IsNotFound(err) {
			n.mu.Lock()
			defer n.mu.Unlock()
			if !n.removed {
				n.Error("the network remains")
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.Fatal("the pod remains")
}

func ready(pod *v1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == v1.PodReady {
			return condition.Status == v1.ConditionTrue
		}
	}
	return false
}

func app(args ...string) v1.Container { return v1.Container{Name: "c", Image: "app:v1", Args: args} }

func TestCrashedContainersAreStartedAgain(t *testing.T) {
	n := start(t, &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{app("$(HOSTNAME)")}}})
	first := n.next()
	if argv := fmt.Sprint(first.spec.Argv); argv != "[/app p]" {
		t.Errorf("started %s", argv)
	}
	n.eventually("ready", ready)
	first.exit <- 3
	second := n.next()
	n.eventually("restarted", func(pod *v1.Pod) bool {
		status := pod.Status.ContainerStatuses[0]
		return ready(pod) && status.RestartCount == 1 && status.LastTerminationState.Terminated.ExitCode == 3
	})
	if n.kubelet.Log("n", "p", "c", true) == nil || n.kubelet.Log("n", "p", "other", false) != nil {
		t.Error("the log of the instance before")
	}
	n.delete(30)
	if signal := <-second.signals; signal != syscall.SIGTERM {
		t.Errorf("signal %s", signal)
	}
	second.exit <- 0
	n.gone()
}

func TestContainersThatDoNotEndAreKilledAfterTheirGrace(t *testing.T) {
	n := start(t, &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{app()}}})
	deaf := n.next()
	n.eventually("ready", ready)
	began := time.Now()
	n.delete(1)
	if signal := <-deaf.signals; signal != syscall.SIGTERM {
		t.Errorf("first signal %s", signal)
	}
	if signal := <-deaf.signals; signal != syscall.SIGKILL || time.Since(began) < 900*time.Millisecond {
		t.Errorf("second signal %s after %s", signal, time.Since(began))
	}
	n.gone()
}

func TestInitContainersComeFirst(t *testing.T) {
	first := app("first")
	first.Name = "first"
	n := start(t, &v1.Pod{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, InitContainers: []v1.Container{first}, Containers: []v1.Container{app("second")}}})
	init := n.next()
	if init.spec.Argv[1] != "first" {
		t.Errorf("began with %v", init.spec.Argv)
	}
	select {
	case early := <-n.started:
		t.Errorf("%v did not wait", early.spec.Argv)
	case <-time.After(100 * time.Millisecond):
	}
	init.exit <- 0
	main := n.next()
	main.exit <- 0
	n.eventually("completed", func(pod *v1.Pod) bool { return pod.Status.Phase == v1.PodSucceeded })
	n.delete(0)
	n.gone()
}

func TestWhatCannotBeDoneIsSaid(t *testing.T) {
	unknown := app()
	unknown.Image = "other"
	exec := app()
	exec.LivenessProbe = &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{}}}
	for reason, c := range map[string]v1.Container{"ErrImagePull": unknown, "CreateContainerConfigError": exec} {
		n := start(t, &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{c}}})
		n.eventually(reason, func(pod *v1.Pod) bool {
			return len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].State.Waiting != nil && pod.Status.ContainerStatuses[0].State.Waiting.Reason == reason
		})
		n.delete(0)
		n.gone()
	}
}
