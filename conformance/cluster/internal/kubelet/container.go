package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gwanmun.test/conformance/cluster/internal/container"
	"gwanmun.test/conformance/cluster/internal/environ"
	"gwanmun.test/conformance/cluster/internal/image"
	"gwanmun.test/conformance/cluster/internal/network"
	"gwanmun.test/conformance/cluster/internal/podlog"
	"gwanmun.test/conformance/cluster/internal/probe"
)

// A crashed container comes back at once the first time, then ever later.
const (
	firstBackOff = 500 * time.Millisecond
	maxBackOff   = 30 * time.Second
)

// runContainer starts a container again and again, as the policy says, until it is done or the pod ends.
func (p *pod) runContainer(own *instance, policy v1.RestartPolicy) {
	defer func() {
		p.mu.Lock()
		own.log.Close()
		p.mu.Unlock()
	}()
	var backOff time.Duration
	for {
		began := time.Now()
		process, problem := p.start(own)
		if problem != nil {
			p.change(func() {
				own.state.Running, own.state.Terminated = nil, nil
				own.state.Waiting = problem
			})
			if !p.pause(time.Second) {
				return
			}
			continue
		}
		code := p.watch(own, process)
		if time.Since(began) > 10*maxBackOff {
			backOff = 0
		}
		if p.deleting() || policy == v1.RestartPolicyNever || policy == v1.RestartPolicyOnFailure && code == 0 {
			return
		}
		logger(p.get()).Info("container ended and is started again", "container", own.spec.Name, "exitCode", code)
		p.change(func() {
			own.state.Last, own.state.Terminated = own.state.Terminated, nil
			own.state.Waiting = &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: fmt.Sprintf("back-off %s", backOff)}
			own.state.Restarts++
			own.log.Close()
			own.previous, own.log = own.log, &podlog.Log{}
		})
		if !p.pause(backOff) {
			p.change(func() { own.state.Terminated, own.state.Waiting = own.state.Last, nil })
			return
		}
		backOff = min(max(2*backOff, firstBackOff), maxBackOff)
	}
}

// start makes the process, or says what it waits for.
func (p *pod) start(own *instance) (Process, *v1.ContainerStateWaiting) {
	found, ok := p.kubelet.Images.Find(own.spec.Image)
	if !ok {
		return nil, &v1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "this cluster has no image " + image.Repository(own.spec.Image)}
	}
	spec, err := p.spec(own.spec, found)
	if err != nil {
		return nil, &v1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: err.Error()}
	}
	process, err := p.network.Start(spec)
	if err != nil {
		return nil, &v1.ContainerStateWaiting{Reason: "RunContainerError", Message: err.Error()}
	}
	p.change(func() {
		own.process = process
		own.state.Waiting, own.state.Terminated = nil, nil
		own.state.Running = &v1.ContainerStateRunning{StartedAt: metav1.Now()}
	})
	select {
	case <-p.stopping: // and its signal may have been sent a moment too early
		process.Signal(syscall.SIGTERM)
	default:
	}
	return process, nil
}

// watch probes a process until it ends.
func (p *pod) watch(own *instance, process Process) int {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.probe(ctx, own, process)
	}()
	began := metav1.Now()
	p.mu.Lock()
	log := own.log
	p.mu.Unlock()
	code := process.Wait(log)
	cancel()
	<-done
	reason := "Error"
	if code == 0 {
		reason = "Completed"
	}
	p.change(func() {
		own.process = nil
		own.state.Running, own.state.Ready, own.state.Started = nil, false, false
		own.state.Terminated = &v1.ContainerStateTerminated{ExitCode: int32(code), Reason: reason, StartedAt: began, FinishedAt: metav1.Now()}
	})
	return code
}

// change alters the pod's state and has its status written.
func (p *pod) change(f func()) {
	p.mu.Lock()
	f()
	p.mu.Unlock()
	p.poke()
}

// spec says all about the process. What this node cannot do is an error: nothing is left out silently.
func (p *pod) spec(own *v1.Container, found image.Image) (container.Spec, error) {
	for _, probed := range []*v1.Probe{own.StartupProbe, own.ReadinessProbe, own.LivenessProbe} {
		if err := probe.Supported(probed); err != nil {
			return container.Spec{}, err
		}
	}
	if hooks := own.Lifecycle; hooks != nil && (hooks.PostStart != nil || hooks.PreStop != nil && hooks.PreStop.Sleep == nil) {
		return container.Spec{}, fmt.Errorf("lifecycle hooks other than preStop.sleep are not supported")
	}
	subject := p.subject()
	object := subject.Pod
	env, err := environ.Of(p.kubelet, subject, own, append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "HOSTNAME=" + object.Name,
		"KUBERNETES_SERVICE_HOST=" + network.APIService.String(), "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_SERVICE_PORT_HTTPS=443",
	}, found.Env...))
	if err != nil {
		return container.Spec{}, err
	}
	root, err := p.root(own.Name)
	if err != nil {
		return container.Spec{}, err
	}
	spec := container.Spec{
		Root: root, Dir: own.WorkingDir, Hostname: object.Name, Env: environ.List(env),
		Files: map[string]string{
			"/etc/hosts":       fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", subject.PodIP, object.Name),
			"/etc/resolv.conf": fmt.Sprintf(p.kubelet.Resolver, object.Namespace),
			"/etc/passwd":      "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n",
			"/etc/group":       "root:x:0:\nnonroot:x:65532:\n",
		},
	}
	if err := spec.Secure(object.Spec.SecurityContext, own.SecurityContext, found.User); err != nil {
		return container.Spec{}, err
	}
	command := found.Entrypoint
	if len(own.Command) > 0 {
		command = own.Command
	}
	for _, word := range append(command[:len(command):len(command)], own.Args...) {
		spec.Argv = append(spec.Argv, environ.Expand(word, env))
	}
	for path, host := range found.Files {
		spec.Mounts = append(spec.Mounts, container.Mount{Host: host, Path: path, ReadOnly: true})
	}
	for _, mount := range own.VolumeMounts {
		host, err := p.mountSource(mount, env)
		if err != nil {
			return container.Spec{}, err
		}
		spec.Mounts = append(spec.Mounts, container.Mount{Host: host, Path: mount.MountPath, ReadOnly: mount.ReadOnly})
	}
	return spec, nil
}

func (p *pod) mountSource(mount v1.VolumeMount, env map[string]string) (string, error) {
	sub := mount.SubPath
	if mount.SubPathExpr != "" {
		sub = environ.Expand(mount.SubPathExpr, env)
	}
	if sub == "" {
		return p.volumes.Path(mount.Name), nil
	}
	if !filepath.IsLocal(sub) {
		return "", fmt.Errorf("volume %s: subPath %q leaves it", mount.Name, sub)
	}
	path := filepath.Join(p.volumes.Path(mount.Name), sub)
	if _, err := os.Stat(path); os.IsNotExist(err) {
		if err := os.MkdirAll(path, 0o777); err != nil {
			return "", err
		}
	}
	return path, nil
}

// probe keeps Started and Ready up to date and ends containers that are no longer alive, until ctx ends.
func (p *pod) probe(ctx context.Context, own *instance, process Process) {
	if startup := own.spec.StartupProbe; startup != nil {
		passed := false
		p.poll(ctx, own, startup, func(good bool) bool {
			if passed = good; !good {
				p.endUnhealthy(ctx, own, process, "startup")
			}
			return false
		})
		if !passed {
			return
		}
	}
	p.change(func() { own.state.Started = true })
	liveness := make(chan struct{})
	go func() {
		defer close(liveness)
		if own.spec.LivenessProbe == nil {
			return
		}
		p.poll(ctx, own, own.spec.LivenessProbe, func(good bool) bool {
			if !good {
				p.endUnhealthy(ctx, own, process, "liveness")
			}
			return good
		})
	}()
	if own.spec.ReadinessProbe == nil {
		p.settle(ctx, process)
		if ctx.Err() == nil {
			p.change(func() { own.state.Ready = true })
		}
	} else {
		p.poll(ctx, own, own.spec.ReadinessProbe, func(good bool) bool {
			p.mu.Lock()
			same := own.state.Ready == good
			p.mu.Unlock()
			if !same {
				p.change(func() { own.state.Ready = good })
			}
			return true
		})
	}
	<-liveness
}

// settle waits until the process has opened a socket, or long enough: an endpoint that is not there yet answers
// nobody, and no traffic is better than refused traffic. Never tied to declared ports, which are but information.
func (p *pod) settle(ctx context.Context, process Process) {
	deadline := time.Now().Add(p.kubelet.Settle)
	for ctx.Err() == nil && time.Now().Before(deadline) && !listening(process.ID()) {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// listening says whether anything in the process's network namespace waits for traffic.
func listening(pid int) bool {
	for name, state := range map[string]string{"tcp": " 0A ", "tcp6": " 0A ", "udp": " 07 ", "udp6": " 07 "} {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err == nil && bytes.Contains(table, []byte(state)) {
			return true
		}
	}
	return false
}

// poll makes attempts until ctx ends or a verdict is not to be followed by another.
func (p *pod) poll(ctx context.Context, own *instance, probed *v1.Probe, verdict func(good bool) bool) {
	results := probe.NewVerdict(probed)
	wait := time.Duration(probed.InitialDelaySeconds) * time.Second
	passed, eager := false, time.Now().Add(wait+10*time.Second)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := probe.Once(ctx, probed, own.spec, p.subject().PodIP)
		if ctx.Err() != nil {
			return
		}
		good, decided := results.Add(err)
		if decided {
			passed = passed || good
			if !verdict(good) {
				return
			}
		}
		wait = probe.Period(probed)
		if !passed && probed == own.spec.ReadinessProbe && time.Now().Before(eager) {
			// A pod that comes up is ready as soon as it can be, not a period later.
			wait = min(wait, 50*time.Millisecond)
		}
	}
}

// endUnhealthy stops a process that failed its probe: politely first.
func (p *pod) endUnhealthy(ctx context.Context, own *instance, process Process, kind string) {
	logger(p.get()).Info("container is not healthy and is stopped", "container", own.spec.Name, "probe", kind)
	grace := 30 * time.Second
	if seconds := p.get().Spec.TerminationGracePeriodSeconds; seconds != nil {
		grace = time.Duration(*seconds) * time.Second
	}
	process.Signal(syscall.SIGTERM)
	select {
	case <-ctx.Done():
	case <-time.After(grace):
		process.Signal(syscall.SIGKILL)
	}
}
