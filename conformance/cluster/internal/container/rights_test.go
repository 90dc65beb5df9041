package container

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

func pointer[T any](value T) *T { return &value }

func TestContainersContextWinsOverThePods(t *testing.T) {
	var spec Spec
	pod := &v1.PodSecurityContext{RunAsUser: pointer[int64](1000), RunAsGroup: pointer[int64](2000), FSGroup: pointer[int64](3000)}
	own := &v1.SecurityContext{RunAsUser: pointer[int64](1001), ReadOnlyRootFilesystem: pointer(true), AllowPrivilegeEscalation: pointer(false)}
	if err := spec.Secure(pod, own, 65532); err != nil {
		t.Fatal(err)
	}
	if spec.UID != 1001 || spec.GID != 2000 || !slices.Equal(spec.Groups, []int{3000}) {
		t.Errorf("user %d, group %d, groups %v", spec.UID, spec.GID, spec.Groups)
	}
	if !spec.ReadOnlyRoot || !spec.NoNewPrivileges {
		t.Errorf("read-only root %v, no new privileges %v", spec.ReadOnlyRoot, spec.NoNewPrivileges)
	}
}

func TestImagesUserHoldsWithoutAContext(t *testing.T) {
	var spec Spec
	if err := spec.Secure(nil, nil, 65532); err != nil {
		t.Fatal(err)
	}
	if spec.UID != 65532 || spec.GID != 65532 {
		t.Errorf("user %d, group %d", spec.UID, spec.GID)
	}
}

func TestRootIsRefusedWhereItMustNotRun(t *testing.T) {
	var spec Spec
	if spec.Secure(&v1.PodSecurityContext{RunAsNonRoot: pointer(true)}, nil, 0) == nil {
		t.Error("root runs in spite of runAsNonRoot")
	}
}

func TestCapabilities(t *testing.T) {
	for _, c := range []struct {
		name      string
		add, drop []v1.Capability
		want      []int
	}{
		{"all dropped", nil, []v1.Capability{"ALL"}, nil},
		{"all but one dropped", []v1.Capability{"NET_BIND_SERVICE"}, []v1.Capability{"ALL"}, []int{unix.CAP_NET_BIND_SERVICE}},
		{"added beyond the defaults", []v1.Capability{"CAP_NET_ADMIN"}, []v1.Capability{"ALL"}, []int{unix.CAP_NET_ADMIN}},
	} {
		got, err := kept(c.add, c.drop)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	if _, err := kept([]v1.Capability{"NO_SUCH"}, nil); err == nil {
		t.Error("an unknown capability was ignored")
	}
}
