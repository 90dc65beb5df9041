// Package container runs one process as a container would: in a pod's network namespace, with a root, mounts,
// process ids and a host name of its own, and the rights of its security context.
//
// There is no runtime and no image store. The node's own program is started once more ([Init]), makes the namespaces
// it finds itself in into a container, and becomes the container's command. When it ends nothing is left: its root is
// a tmpfs in a private mount namespace.
package container

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"gwanmun.test/conformance/cluster/internal/thread"
)

// InitCommand is the subcommand of the node's program that calls [Init].
const InitCommand = "container-init"

// Spec is all that a container's process depends on.
type Spec struct {
	// Root is an existing empty directory on the host, where the container's root is mounted.
	Root string
	// Mounts are bind mounts, in order.
	Mounts []Mount
	// Argv is the command: looked up in PATH when its first word has no slash.
	Argv []string
	// Env are the only variables of the process, as NAME=value.
	Env []string
	// Dir is the working directory; empty: the root.
	Dir string
	// Hostname is the pod's name.
	Hostname string
	// Files are small files written into the root, path to content.
	Files map[string]string
	// UID, GID and Groups are the process's user.
	UID, GID int
	Groups   []int
	// ReadOnlyRoot allows writing to volumes only.
	ReadOnlyRoot bool
	// NoNewPrivileges is the opposite of allowPrivilegeEscalation.
	NoNewPrivileges bool
	// Capabilities are numbers of the capabilities that the process may ever have.
	Capabilities []int
}

// Mount binds a file or directory of the host into the container.
type Mount struct {
	Host, Path string
	ReadOnly   bool
}

// Process is a started container.
type Process struct {
	// Pid on the node.
	Pid     int
	command *exec.Cmd
	output  *os.File
}

// Start begins the process. Whoever starts it must call [Process.Wait].
func Start(namespace *os.File, spec Spec) (*Process, error) {
	encoded, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	output, stdout, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	input, instructions, err := os.Pipe()
	if err != nil {
		output.Close()
		return nil, err
	}
	defer input.Close()
	command := exec.Command("/proc/self/exe", InitCommand)
	command.Stdout, command.Stderr, command.ExtraFiles = stdout, stdout, []*os.File{input}
	command.Env = []string{}
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	if err := thread.In(namespace, command.Start); err != nil {
		output.Close()
		instructions.Close()
		return nil, fmt.Errorf("start: %w", err)
	}
	go func() {
		_, _ = instructions.Write(encoded)
		instructions.Close()
	}()
	return &Process{Pid: command.Process.Pid, command: command, output: output}, nil
}

// Wait copies what the process writes until it ends and returns its exit code, 128 and the signal if one killed it.
func (p *Process) Wait(log io.Writer) int {
	_, _ = io.Copy(log, p.output)
	p.output.Close()
	_ = p.command.Wait()
	status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return 255
	case status.Signaled():
		return 128 + int(status.Signal())
	default:
		return status.ExitStatus()
	}
}

// Signal sends a signal to the container's first process, which the kernel ends the others with.
func (p *Process) Signal(signal syscall.Signal) {
	_ = p.command.Process.Signal(signal)
}
