package kubelet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gwanmun.test/conformance/cluster/internal/environ"
	"gwanmun.test/conformance/cluster/internal/podlog"
	"gwanmun.test/conformance/cluster/internal/podstatus"
	"gwanmun.test/conformance/cluster/internal/volume"
)

type pod struct {
	kubelet *Kubelet
	volumes *volume.Volumes
	poked   chan struct{}
	// running counts the goroutines of containers; stopping is closed when they shall end.
	running  sync.WaitGroup
	stopping chan struct{}
	started  metav1.Time

	mu         sync.Mutex
	object     *v1.Pod
	ip         netip.Addr
	network    Network
	init       []*instance
	containers []*instance
}

// instance is a container of the pod, over all its restarts. Guarded by the pod's lock.
type instance struct {
	spec     *v1.Container
	state    podstatus.Container
	process  Process
	log      *podlog.Log
	previous *podlog.Log
}

func newPod(kubelet *Kubelet, object *v1.Pod) *pod {
	p := &pod{
		kubelet: kubelet, object: object, started: metav1.Now(),
		poked: make(chan struct{}, 1), stopping: make(chan struct{}),
		volumes: &volume.Volumes{Directory: filepath.Join(kubelet.Directory, string(object.UID), "volumes"), Source: kubelet},
	}
	add := func(containers []v1.Container, reason string) (out []*instance) {
		for i := range containers {
			out = append(out, &instance{spec: &containers[i], log: &podlog.Log{}, state: podstatus.Container{
				Name: containers[i].Name, Image: containers[i].Image, Waiting: &v1.ContainerStateWaiting{Reason: reason},
			}})
		}
		return out
	}
	p.init = add(object.Spec.InitContainers, "PodInitializing")
	p.containers = add(object.Spec.Containers, cmp.Or(map[bool]string{true: "PodInitializing"}[len(p.init) > 0], "ContainerCreating"))
	return p
}

func (p *pod) poke() {
	select {
	case p.poked <- struct{}{}:
	default:
	}
}

func (p *pod) get() *v1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.object
}

func (p *pod) update(object *v1.Pod) {
	p.mu.Lock()
	p.object = object
	p.mu.Unlock()
	p.poke()
}

func (p *pod) deleting() bool { return p.get().DeletionTimestamp != nil }

func (p *pod) subject() environ.Subject {
	p.mu.Lock()
	defer p.mu.Unlock()
	subject := environ.Subject{Pod: p.object, HostIP: p.kubelet.IP}
	if p.ip.IsValid() {
		subject.PodIP = p.ip.String()
	}
	return subject
}

func (p *pod) log(container string, previous bool) *podlog.Log {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, instance := range p.all() {
		if instance.spec.Name == container || container == "" {
			if previous {
				return instance.previous
			}
			return instance.log
		}
	}
	return nil
}

func (p *pod) all() []*instance { return append(p.init[:len(p.init):len(p.init)], p.containers...) }

// run is the pod's life.
func (p *pod) run() {
	if p.prepare() {
		p.running.Go(p.startContainers)
	}
	for !p.deleting() {
		if err := p.volumes.Sync(p.subject(), time.Now()); err != nil {
			logger(p.get()).Warn("volumes are not up to date", "reason", err)
		}
		p.writeStatus()
		p.wait(10 * time.Second)
	}
	p.terminate()
	p.remove()
}

// prepare makes the network and the volumes, however long it takes for them to be possible. It says whether the
// containers may start.
func (p *pod) prepare() bool {
	for !p.deleting() {
		err := p.makeNetwork()
		if err == nil {
			err = p.volumes.Sync(p.subject(), time.Now())
		}
		if err == nil {
			return true
		}
		p.mu.Lock()
		for _, instance := range p.containers {
			instance.state.Waiting.Message = err.Error()
		}
		p.mu.Unlock()
		p.writeStatus()
		p.wait(time.Second)
	}
	return false
}

func (p *pod) makeNetwork() error {
	if p.network != nil {
		return nil
	}
	object := p.get()
	if object.Spec.HostNetwork {
		return errors.New("hostNetwork is not supported")
	}
	sysctls := map[string]string{}
	if context := object.Spec.SecurityContext; context != nil {
		for _, sysctl := range context.Sysctls {
			sysctls[sysctl.Name] = sysctl.Value
		}
	}
	ip, err := p.kubelet.address()
	if err != nil {
		return err
	}
	network, err := p.kubelet.Runtime.AddNetwork(string(object.UID), ip, sysctls)
	if err != nil {
		p.kubelet.Addresses.Free(ip)
		return err
	}
	p.mu.Lock()
	p.ip, p.network = ip, network
	p.mu.Unlock()
	return nil
}

// startContainers runs the init containers one after the other, then all the others at once.
func (p *pod) startContainers() {
	for _, instance := range p.init {
		if podstatus.Sidecar(instance.spec) {
			p.running.Go(func() { p.runContainer(instance, v1.RestartPolicyAlways) })
			if !p.waitFor(func() bool { return instance.state.Started }) {
				return
			}
			continue
		}
		policy := v1.RestartPolicyOnFailure
		if p.get().Spec.RestartPolicy == v1.RestartPolicyNever {
			policy = v1.RestartPolicyNever
		}
		p.runContainer(instance, policy)
		p.mu.Lock()
		done := instance.state.Terminated != nil && instance.state.Terminated.ExitCode == 0
		p.mu.Unlock()
		if !done {
			return
		}
	}
	for _, instance := range p.containers {
		p.running.Go(func() { p.runContainer(instance, p.get().Spec.RestartPolicy) })
	}
}

// waitFor polls a condition under the pod's lock until it holds or the pod ends.
func (p *pod) waitFor(condition func() bool) bool {
	for {
		p.mu.Lock()
		holds := condition()
		p.mu.Unlock()
		if holds {
			return true
		}
		if !p.pause(20 * time.Millisecond) {
			return false
		}
	}
}

// pause says whether the pod still runs after a while.
func (p *pod) pause(length time.Duration) bool {
	select {
	case <-p.stopping:
		return false
	case <-time.After(length):
		return true
	}
}

func (p *pod) wait(most time.Duration) {
	select {
	case <-p.poked:
	case <-time.After(most):
	}
}

// writeStatus tells the API server what has changed.
func (p *pod) writeStatus() {
	p.mu.Lock()
	object := p.object
	state := podstatus.Pod{HostIP: p.kubelet.IP, Started: p.started}
	if p.ip.IsValid() {
		state.IP = p.ip.String()
	}
	for _, instance := range p.init {
		state.Init = append(state.Init, instance.state)
	}
	for _, instance := range p.containers {
		state.Containers = append(state.Containers, instance.state)
	}
	status := podstatus.Of(object, state, metav1.Now())
	p.mu.Unlock()
	if equality.Semantic.DeepEqual(status, object.Status) {
		return
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": object.UID}, "status": status})
	if err != nil {
		logger(object).Error("status cannot be encoded", "reason", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// A strategic patch would merge lists: podIPs of an earlier life would stay.
	written, err := p.kubelet.Client.CoreV1().Pods(object.Namespace).Patch(ctx, object.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	switch {
	case err == nil:
		p.mu.Lock()
		// Do not undo what the watch has told since.
		if p.object == object {
			p.object = written
		}
		p.mu.Unlock()
	case !apierrors.IsNotFound(err) && !apierrors.IsConflict(err):
		logger(object).Warn("status was not written", "reason", err)
		time.AfterFunc(time.Second, p.poke)
	}
}

// terminate asks the containers to end, waits as long as the pod grants them and then kills them.
func (p *pod) terminate() {
	grace := 30 * time.Second
	if seconds := p.get().DeletionGracePeriodSeconds; seconds != nil {
		grace = time.Duration(*seconds) * time.Second
	}
	close(p.stopping)
	ended := make(chan struct{})
	go func() {
		p.running.Wait()
		close(ended)
	}()
	deadline := time.After(grace)
	go p.stopProcesses(ended)
	for {
		p.writeStatus()
		select {
		case <-ended:
			return
		case <-deadline:
			p.kill()
			deadline = time.After(100 * time.Millisecond) // what was forked meanwhile
		case <-p.poked:
			// Deleted again with less grace.
			if seconds := p.get().DeletionGracePeriodSeconds; seconds != nil && *seconds == 0 {
				p.kill()
			}
		}
	}
}

// stopProcesses lets preStop hooks pass before it sends the signal.
func (p *pod) stopProcesses(ended <-chan struct{}) {
	var wait time.Duration
	for _, instance := range p.all() {
		if hook := instance.spec.Lifecycle; hook != nil && hook.PreStop != nil && hook.PreStop.Sleep != nil {
			wait = max(wait, time.Duration(hook.PreStop.Sleep.Seconds)*time.Second)
		}
	}
	select {
	case <-ended:
	case <-time.After(wait):
		p.signal(syscall.SIGTERM)
	}
}

func (p *pod) kill() { p.signal(syscall.SIGKILL) }

func (p *pod) signal(signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, instance := range p.all() {
		if instance.process != nil {
			instance.process.Signal(signal)
		}
	}
}

// remove leaves nothing of the pod, here and in the API.
func (p *pod) remove() {
	p.mu.Lock()
	object, network, ip := p.object, p.network, p.ip
	p.mu.Unlock()
	if network != nil {
		network.Remove()
	}
	if err := os.RemoveAll(filepath.Dir(p.volumes.Directory)); err != nil {
		logger(object).Warn("files remain", "reason", err)
	}
	zero := int64(0)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := p.kubelet.Client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &object.UID}})
		cancel()
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			break
		}
		logger(object).Warn("not deleted yet", "reason", err)
		time.Sleep(time.Second)
	}
	if p.kubelet.Addresses != nil && ip.IsValid() {
		p.kubelet.Addresses.Free(ip)
	}
	p.kubelet.forget(p)
}

func (p *pod) root(container string) (string, error) {
	directory := filepath.Join(p.kubelet.Directory, string(p.get().UID), "roots", container)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return "", fmt.Errorf("root: %w", err)
	}
	return directory, nil
}
