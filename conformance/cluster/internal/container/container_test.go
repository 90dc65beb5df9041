package container

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"gwanmun.test/conformance/cluster/internal/thread"
)

// The test program plays the node's program, and the commands that run in containers.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == InitCommand {
		Init()
	}
	os.Exit(m.Run())
}

// run starts a shell in a container: the shell's libraries come from the host.
func run(t *testing.T, script string, change func(*Spec)) (string, int) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell")
	}
	spec := Spec{
		Root: t.TempDir(), Hostname: "pod", UID: 65532, GID: 65532, Env: []string{"PATH=/bin", "WHO=me"},
		Argv: []string{"sh", "-c", script}, Mounts: []Mount{{Host: shell, Path: "/bin/sh", ReadOnly: true}},
	}
	for _, directory := range []string{"/lib", "/lib64"} {
		if _, err := os.Stat(directory); err == nil {
			spec.Mounts = append(spec.Mounts, Mount{Host: directory, Path: directory, ReadOnly: true})
		}
	}
	if change != nil {
		change(&spec)
	}
	namespace, err := thread.New()
	if err != nil {
		t.Skip("network namespaces cannot be made here: ", err)
	}
	defer namespace.Close()
	process, err := Start(namespace, spec)
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	code := process.Wait(&output)
	return output.String(), code
}

func TestContainersSeeOnlyTheirOwn(t *testing.T) {
	output, code := run(t, `echo $WHO $$; read name </proc/sys/kernel/hostname; echo $name; for f in /* ; do printf '%s ' $f; done`, nil)
	if code != 0 || !strings.HasPrefix(output, "me 1\npod\n") || strings.Contains(output, "/root") || strings.Contains(output, "/home") {
		t.Errorf("exit code %d, output %q", code, output)
	}
}

func TestExitCodesAndSignalsAreReported(t *testing.T) {
	if output, code := run(t, "exit 7", nil); code != 7 {
		t.Errorf("exit code %d, output %q", code, output)
	}
	// The first process of a container cannot kill itself: a child does as well.
	output, code := run(t, `no-such-command`, nil)
	if code != 127 {
		t.Errorf("exit code %d, output %q", code, output)
	}
}

func TestReadOnlyRootsLeaveVolumesWritable(t *testing.T) {
	volume := t.TempDir()
	if err := os.Chmod(volume, 0o777); err != nil {
		t.Fatal(err)
	}
	output, code := run(t, `(echo no >/tmp/x) 2>/dev/null && echo root written; echo yes >/data/x`, func(spec *Spec) {
		spec.ReadOnlyRoot = true
		spec.Mounts = append(spec.Mounts, Mount{Host: volume, Path: "/data"})
	})
	if code != 0 || strings.Contains(output, "root written") {
		t.Errorf("exit code %d, output %q", code, output)
	}
	if content, err := os.ReadFile(volume + "/x"); err != nil || string(content) != "yes\n" {
		t.Errorf("the volume has %q, %v", content, err)
	}
}

func TestRightsAreDropped(t *testing.T) {
	output, code := run(t, `while read name value; do case $name in Uid:|CapEff:|CapBnd:|NoNewPrivs:) echo $name $value;; esac; done </proc/self/status`, func(spec *Spec) {
		spec.NoNewPrivileges = true
	})
	want := "Uid: 65532 65532 65532 65532\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n"
	if code != 0 || strings.ReplaceAll(output, "\t", " ") != want {
		t.Errorf("exit code %d, output %q", code, output)
	}
}

func TestContainersEndBySignal(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	namespace, err := thread.New()
	if err != nil {
		t.Skip(err)
	}
	defer namespace.Close()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	process, err := Start(namespace, Spec{
		Root: t.TempDir(), Hostname: "pod", Env: []string{"PATH=/bin"}, Argv: []string{"sh", "-c", "while :; do :; done"},
		Mounts: []Mount{{Host: shell, Path: "/bin/sh"}, {Host: "/lib", Path: "/lib"}, {Host: "/lib64", Path: "/lib64"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	process.Signal(syscall.SIGKILL)
	if code := process.Wait(&bytes.Buffer{}); code != 137 {
		t.Errorf("exit code %d", code)
	}
}
