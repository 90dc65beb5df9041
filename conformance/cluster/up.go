package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gwanmun.test/conformance/cluster/internal/pki"
)

// A cluster that is not ready by then will not be.
const bootTimeout = 90 * time.Second

// up starts the cluster in the background and waits until it is ready.
func up(ctx context.Context, o *options) error {
	began := time.Now()
	if pid, err := running(o); err == nil {
		fmt.Fprintf(os.Stderr, "the cluster runs already (process %d)\n", pid)
		fmt.Printf("export KUBECONFIG=%s\n", o.File("kubeconfig"))
		return nil
	}
	if os.Getuid() != 0 {
		return errors.New("namespaces need root: run it as root or with sudo")
	}
	if err := os.RemoveAll(o.State); err != nil {
		return err
	}
	if err := os.MkdirAll(o.File("run"), 0o755); err != nil {
		return err
	}
	if err := o.Prepare(); err != nil {
		return err
	}
	// A socket belongs to the namespace it was made in: through this one, the host reaches the API server.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	kubeconfig, err := pki.Kubeconfig(o.File("pki"), "host", "admin", "https://"+listener.Addr().String())
	if err != nil {
		return err
	}
	if err := os.Rename(kubeconfig, o.File("kubeconfig")); err != nil {
		return err
	}
	process, err := daemon(o, listener.(*net.TCPListener))
	if err != nil {
		return err
	}
	if err := waitReady(ctx, o, process); err != nil {
		logs := o.File("logs")
		_ = syscall.Kill(process.Process.Pid, syscall.SIGKILL)
		return fmt.Errorf("%w (see %s)", err, logs)
	}
	fmt.Fprintf(os.Stderr, "ready after %.1f s\n", time.Since(began).Seconds())
	fmt.Printf("export KUBECONFIG=%s\n", o.File("kubeconfig"))
	return nil
}

func daemon(o *options, listener *net.TCPListener) (*exec.Cmd, error) {
	entrance, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer entrance.Close()
	log, err := os.Create(o.File("logs", "cluster.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command("/proc/self/exe", append(os.Args[1:len(os.Args)-1:len(os.Args)-1], "run")...)
	command.Args[0] = "gwanmun-cluster"
	command.Stdout, command.Stderr, command.ExtraFiles = log, log, []*os.File{entrance}
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	identity := fmt.Sprintf("%d %s", command.Process.Pid, startTime(command.Process.Pid))
	return command, os.WriteFile(o.File("run", "cluster.pid"), []byte(identity), 0o644)
}

func waitReady(ctx context.Context, o *options, process *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	timeout := time.After(bootTimeout)
	for {
		if _, err := os.Stat(o.File("run", "ready")); err == nil {
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(o.File("logs", "cluster.log"))
			return fmt.Errorf("the cluster ended: %w\n%s", err, bytes.TrimSpace(text))
		case <-timeout:
			return fmt.Errorf("the cluster is not ready after %s", bootTimeout)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// down ends the cluster: its first process takes all others with it, the kernel their namespaces and what is in them.
func down(o *options) error {
	if pid, err := running(o); err == nil {
		_ = syscall.Kill(pid, syscall.SIGTERM)
		for began := time.Now(); alive(pid); time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			if time.Since(began) > 20*time.Second {
				return fmt.Errorf("process %d does not end", pid)
			}
		}
	}
	if _, err := os.Stat(o.File("pki")); err == nil || os.IsNotExist(err) && empty(o.State) {
		return os.RemoveAll(o.State)
	}
	return fmt.Errorf("%s is not a cluster's", o.State)
}

func empty(directory string) bool {
	entries, err := os.ReadDir(directory)
	return err != nil || len(entries) == 0
}

// running returns the process id of the cluster's first process.
func running(o *options) (int, error) {
	text, err := os.ReadFile(o.File("run", "cluster.pid"))
	if err != nil {
		return 0, errors.New("no cluster runs: make cluster")
	}
	number, start, _ := strings.Cut(string(text), " ")
	pid, err := strconv.Atoi(number)
	// Numbers come back: the same one started at another time is someone else.
	if err != nil || !alive(pid) || startTime(pid) != start {
		return 0, errors.New("no cluster runs: make cluster")
	}
	return pid, nil
}

// alive holds until the last thread has ended: the first process of a namespace ends after all others there.
func alive(pid int) bool {
	fields := statFields(pid)
	if len(fields) < 20 {
		return false
	}
	state, threads := fields[0], fields[17]
	return state != "X" && (state != "Z" || threads != "1" && threads != "0")
}

// startTime is a process's, in the kernel's ticks since boot.
func startTime(pid int) string {
	fields := statFields(pid)
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// statFields are those of /proc/PID/stat after the name, which may contain anything.
func statFields(pid int) []string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}
