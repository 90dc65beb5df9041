// Package podstatus computes a pod's status from what its containers do.
package podstatus

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Container is the state of one container. Exactly one of Waiting, Running and Terminated is set.
type Container struct {
	Name, Image string
	Waiting     *v1.ContainerStateWaiting
	Running     *v1.ContainerStateRunning
	Terminated  *v1.ContainerStateTerminated
	// Last is how the instance before this one ended.
	Last     *v1.ContainerStateTerminated
	Restarts int32
	// Started and Ready are the results of the probes.
	Started, Ready bool
}

// Pod is what is known of a pod.
type Pod struct {
	IP, HostIP       string
	Started          metav1.Time
	Init, Containers []Container
}

// Of is the status of a pod. Conditions that did not change keep their time; foreign ones are kept.
func Of(pod *v1.Pod, state Pod, now metav1.Time) v1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.HostIP, status.HostIPs = state.HostIP, []v1.HostIP{{IP: state.HostIP}}
	status.StartTime = &state.Started
	status.ObservedGeneration = pod.Generation
	if state.IP != "" {
		status.PodIP, status.PodIPs = state.IP, []v1.PodIP{{IP: state.IP}}
	}
	status.InitContainerStatuses = statuses(pod, state.Init)
	status.ContainerStatuses = statuses(pod, state.Containers)
	initialized := true
	for _, container := range state.Init {
		initialized = initialized && initDone(pod, container)
	}
	ready := initialized
	for _, container := range append(sidecars(pod, state.Init), state.Containers...) {
		ready = ready && container.Ready
	}
	status.Phase = phase(pod, state, initialized)
	finished := status.Phase == v1.PodSucceeded || status.Phase == v1.PodFailed
	ready = ready && !finished
	reason := ""
	if !ready {
		reason = "ContainersNotReady"
	}
	if status.Phase == v1.PodSucceeded {
		reason = "PodCompleted"
	}
	for _, condition := range []struct {
		kind   v1.PodConditionType
		holds  bool
		reason string
	}{
		{v1.PodScheduled, true, ""},
		{v1.PodReadyToStartContainers, state.IP != "", ""},
		{v1.PodInitialized, initialized, ""},
		{v1.ContainersReady, ready, reason},
		{v1.PodReady, ready, reason},
	} {
		set(&status, condition.kind, condition.holds, condition.reason, pod.Generation, now)
	}
	return status
}

func statuses(pod *v1.Pod, containers []Container) []v1.ContainerStatus {
	var out []v1.ContainerStatus
	for _, container := range containers {
		started := container.Started
		out = append(out, v1.ContainerStatus{
			Name:                 container.Name,
			Image:                container.Image,
			ImageID:              "process://" + container.Image,
			ContainerID:          "process://" + string(pod.UID) + "/" + container.Name,
			Ready:                container.Ready,
			Started:              &started,
			RestartCount:         container.Restarts,
			State:                v1.ContainerState{Waiting: container.Waiting, Running: container.Running, Terminated: container.Terminated},
			LastTerminationState: v1.ContainerState{Terminated: container.Last},
		})
	}
	return out
}

// Sidecar says whether an init container runs along with the others.
func Sidecar(container *v1.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == v1.ContainerRestartPolicyAlways
}

func sidecars(pod *v1.Pod, init []Container) []Container {
	var out []Container
	for i, container := range init {
		if Sidecar(&pod.Spec.InitContainers[i]) {
			out = append(out, container)
		}
	}
	return out
}

func initDone(pod *v1.Pod, container Container) bool {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == container.Name && Sidecar(&pod.Spec.InitContainers[i]) {
			return container.Started
		}
	}
	return container.Terminated != nil && container.Terminated.ExitCode == 0
}

func phase(pod *v1.Pod, state Pod, initialized bool) v1.PodPhase {
	if !initialized {
		for _, container := range state.Init {
			if container.Terminated != nil && container.Terminated.ExitCode != 0 && pod.Spec.RestartPolicy == v1.RestartPolicyNever {
				return v1.PodFailed
			}
		}
		return v1.PodPending
	}
	finished, failed, begun := true, false, false
	for _, container := range state.Containers {
		finished = finished && container.Terminated != nil
		failed = failed || container.Terminated != nil && container.Terminated.ExitCode != 0
		begun = begun || container.Waiting == nil || container.Restarts > 0
	}
	switch {
	case finished && failed:
		return v1.PodFailed
	case finished:
		return v1.PodSucceeded
	case begun:
		return v1.PodRunning
	default:
		return v1.PodPending
	}
}

func set(status *v1.PodStatus, kind v1.PodConditionType, holds bool, reason string, generation int64, now metav1.Time) {
	value := v1.ConditionFalse
	if holds {
		value = v1.ConditionTrue
	}
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		if condition.Type != kind {
			continue
		}
		if condition.Status != value {
			condition.Status, condition.LastTransitionTime = value, now
		}
		condition.Reason, condition.ObservedGeneration = reason, generation
		return
	}
	status.Conditions = append(status.Conditions, v1.PodCondition{Type: kind, Status: value, Reason: reason, LastTransitionTime: now, ObservedGeneration: generation})
}
