package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// enter replaces this process by a command in the cluster's network.
func enter(o *options, command []string) error {
	if len(command) == 0 {
		return errors.New("exec what?")
	}
	if err := join(o); err != nil {
		return err
	}
	if err := os.Setenv("KUBECONFIG", o.File("pki", "admin.kubeconfig")); err != nil {
		return err
	}
	if err := os.Setenv("PATH", o.Binaries+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", program, syscall.Exec(program, command, os.Environ()))
}

// join moves the calling goroutine, for good, into the cluster's network.
func join(o *options) error {
	pid, err := running(o)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	namespace, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"))
	if err != nil {
		return err
	}
	defer namespace.Close()
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the cluster's network: %w", err)
	}
	return nil
}

// send sends a signal to a component.
func send(o *options, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("signal which component?")
	}
	number := 9
	if len(arguments) > 1 {
		var err error
		if number, err = strconv.Atoi(arguments[1]); err != nil {
			return err
		}
	}
	first, err := running(o)
	if err != nil {
		return err
	}
	inside, err := os.ReadFile(o.File("run", arguments[0]+".pid"))
	if err != nil {
		return fmt.Errorf("no component %s", arguments[0])
	}
	pid, err := outside(first, string(inside))
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.Signal(number))
}

// outside finds the process that has this number inside the cluster.
func outside(first int, inside string) (int, error) {
	space := func(pid string) string {
		link, _ := os.Readlink(filepath.Join("/proc", pid, "ns/pid"))
		return link
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || space(entry.Name()) != space(strconv.Itoa(first)) {
			continue
		}
		status, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "status"))
		for line := range strings.Lines(string(status)) {
			numbers, ok := strings.CutPrefix(line, "NSpid:")
			fields := strings.Fields(numbers)
			if ok && len(fields) > 1 && fields[len(fields)-1] == inside {
				return pid, nil
			}
		}
	}
	return 0, fmt.Errorf("process %s of the cluster is gone", inside)
}
