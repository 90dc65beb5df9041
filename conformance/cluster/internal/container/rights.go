package container

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// What container runtimes leave to root when nobody says otherwise.
var defaultCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
	"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

var capabilities = map[string]int{
	"AUDIT_WRITE": unix.CAP_AUDIT_WRITE, "CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE,
	"FOWNER": unix.CAP_FOWNER, "FSETID": unix.CAP_FSETID, "KILL": unix.CAP_KILL, "MKNOD": unix.CAP_MKNOD,
	"NET_ADMIN": unix.CAP_NET_ADMIN, "NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "NET_RAW": unix.CAP_NET_RAW,
	"SETFCAP": unix.CAP_SETFCAP, "SETGID": unix.CAP_SETGID, "SETPCAP": unix.CAP_SETPCAP, "SETUID": unix.CAP_SETUID,
	"SYS_CHROOT": unix.CAP_SYS_CHROOT, "SYS_PTRACE": unix.CAP_SYS_PTRACE,
}

// Secure puts a pod's and its container's security contexts into the spec. user is the image's.
func (s *Spec) Secure(pod *v1.PodSecurityContext, own *v1.SecurityContext, user int) error {
	s.UID, s.GID = user, user
	nonRoot := false
	if pod != nil {
		set(&s.UID, pod.RunAsUser)
		if pod.RunAsUser != nil {
			s.GID = 0
		}
		set(&s.GID, pod.RunAsGroup)
		nonRoot = pod.RunAsNonRoot != nil && *pod.RunAsNonRoot
		for _, group := range pod.SupplementalGroups {
			s.Groups = append(s.Groups, int(group))
		}
		if pod.FSGroup != nil {
			s.Groups = append(s.Groups, int(*pod.FSGroup))
		}
	}
	var add, drop []v1.Capability
	if own != nil {
		set(&s.UID, own.RunAsUser)
		if own.RunAsUser != nil && (pod == nil || pod.RunAsGroup == nil) {
			s.GID = 0
		}
		set(&s.GID, own.RunAsGroup)
		if own.RunAsNonRoot != nil {
			nonRoot = *own.RunAsNonRoot
		}
		s.ReadOnlyRoot = own.ReadOnlyRootFilesystem != nil && *own.ReadOnlyRootFilesystem
		s.NoNewPrivileges = own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation
		if own.Privileged != nil && *own.Privileged {
			return errors.New("privileged containers are not supported")
		}
		if own.Capabilities != nil {
			add, drop = own.Capabilities.Add, own.Capabilities.Drop
		}
	}
	if nonRoot && s.UID == 0 {
		return errors.New("container has runAsNonRoot and image will run as root")
	}
	var err error
	s.Capabilities, err = kept(add, drop)
	return err
}

func kept(add, drop []v1.Capability) ([]int, error) {
	names := slices.Clone(defaultCapabilities)
	for _, name := range drop {
		if name == "ALL" {
			names = nil
			break
		}
		names = slices.DeleteFunc(names, func(other string) bool { return other == strings.TrimPrefix(string(name), "CAP_") })
	}
	for _, name := range add {
		names = append(names, strings.TrimPrefix(string(name), "CAP_"))
	}
	var numbers []int
	for _, name := range names {
		number, ok := capabilities[name]
		if !ok {
			return nil, fmt.Errorf("capability %s is not supported", name)
		}
		if !slices.Contains(numbers, number) {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func set(into *int, from *int64) {
	if from != nil {
		*into = int(*from)
	}
}
