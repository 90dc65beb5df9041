package podstatus

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	now     = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	waiting = Container{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	running = Container{Running: &v1.ContainerStateRunning{}, Started: true}
	ready   = Container{Running: &v1.ContainerStateRunning{}, Started: true, Ready: true}
	crashed = Container{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}, Restarts: 1}
)

func ended(code int32) Container {
	return Container{Terminated: &v1.ContainerStateTerminated{ExitCode: code}}
}

func condition(status v1.PodStatus, kind v1.PodConditionType) v1.PodCondition {
	for _, condition := range status.Conditions {
		if condition.Type == kind {
			return condition
		}
	}
	return v1.PodCondition{}
}

func TestPhases(t *testing.T) {
	for name, c := range map[string]struct {
		init, containers []Container
		phase            v1.PodPhase
		ready            v1.ConditionStatus
	}{
		"waiting":               {nil, []Container{waiting}, v1.PodPending, v1.ConditionFalse},
		"running":               {nil, []Container{running}, v1.PodRunning, v1.ConditionFalse},
		"one of two ready":      {nil, []Container{ready, running}, v1.PodRunning, v1.ConditionFalse},
		"all ready":             {nil, []Container{ready, ready}, v1.PodRunning, v1.ConditionTrue},
		"restarting":            {nil, []Container{crashed}, v1.PodRunning, v1.ConditionFalse},
		"completed":             {nil, []Container{ended(0), ended(0)}, v1.PodSucceeded, v1.ConditionFalse},
		"one failed":            {nil, []Container{ended(0), ended(1)}, v1.PodFailed, v1.ConditionFalse},
		"one ended, one runs":   {nil, []Container{ended(0), ready}, v1.PodRunning, v1.ConditionFalse},
		"initializing":          {[]Container{running}, []Container{waiting}, v1.PodPending, v1.ConditionFalse},
		"initialization failed": {[]Container{ended(1)}, []Container{waiting}, v1.PodFailed, v1.ConditionFalse},
		"initialized":           {[]Container{ended(0)}, []Container{ready}, v1.PodRunning, v1.ConditionTrue},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, InitContainers: make([]v1.Container, len(c.init))}}
		status := Of(pod, Pod{IP: "198.18.1.1", Init: c.init, Containers: c.containers}, now)
		if got := condition(status, v1.PodReady).Status; status.Phase != c.phase || got != c.ready {
			t.Errorf("%s: %s, ready %s; want %s, %s", name, status.Phase, got, c.phase, c.ready)
		}
	}
}

func TestConditionsKeepTheirTimeUntilTheyChange(t *testing.T) {
	pod := &v1.Pod{}
	pod.Status = Of(pod, Pod{Containers: []Container{ready}}, now)
	pod.Status.Conditions = append(pod.Status.Conditions, v1.PodCondition{Type: "gate.test/foreign", Status: v1.ConditionTrue})
	later := metav1.NewTime(now.Add(time.Minute))
	status := Of(pod, Pod{Containers: []Container{running}}, later)
	if at := condition(status, v1.PodReady).LastTransitionTime; !at.Equal(&later) {
		t.Errorf("Ready changed at %s", at)
	}
	if at := condition(status, v1.PodScheduled).LastTransitionTime; !at.Equal(&now) {
		t.Errorf("PodScheduled changed at %s", at)
	}
	if condition(status, "gate.test/foreign").Status != v1.ConditionTrue {
		t.Error("a foreign condition was removed")
	}
}

func TestSidecarsRunAlong(t *testing.T) {
	always := v1.ContainerRestartPolicyAlways
	pod := &v1.Pod{Spec: v1.PodSpec{InitContainers: []v1.Container{{RestartPolicy: &always}}}}
	if status := Of(pod, Pod{Init: []Container{running}, Containers: []Container{ready}}, now); condition(status, v1.PodReady).Status != v1.ConditionFalse {
		t.Error("ready without its sidecar")
	}
	if status := Of(pod, Pod{Init: []Container{ready}, Containers: []Container{ready}}, now); condition(status, v1.PodReady).Status != v1.ConditionTrue {
		t.Error("not ready with its sidecar")
	}
}
