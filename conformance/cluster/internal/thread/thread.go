// Package thread owns the one OS thread that forks containers and enters network namespaces.
//
// Two kernel rules force it. A child's parent-death signal follows the thread that forked it, and a Go runtime ends
// threads as it likes: the forking thread must live as long as the process. And a network namespace belongs to a
// thread: whoever switches must switch back before anything else runs there.
package thread

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

var (
	start sync.Once
	work  = make(chan func())
)

// Do runs f on the thread and returns its error. Calls run one after the other.
func Do(f func() error) error {
	start.Do(func() {
		go func() {
			runtime.LockOSThread()
			for f := range work {
				f()
			}
		}()
	})
	done := make(chan error)
	work <- func() { done <- f() }
	return <-done
}

// In runs f on the thread inside a network namespace. Children started by f stay there.
func In(namespace *os.File, f func() error) error {
	return Do(func() error {
		home, err := Namespace()
		if err != nil {
			return err
		}
		defer home.Close()
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		defer comeHome(home)
		return f()
	})
}

// New makes a network namespace, which lives until the returned file is closed and its last process has ended.
func New() (*os.File, error) {
	var namespace *os.File
	err := Do(func() error {
		home, err := Namespace()
		if err != nil {
			return err
		}
		defer home.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		defer comeHome(home)
		namespace, err = Namespace()
		return err
	})
	return namespace, err
}

// Namespace is the network namespace of the calling thread.
func Namespace() (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
}

// A thread left in a pod's namespace would start the next pod's containers there.
func comeHome(home *os.File) {
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("cannot return to the node's network namespace: %v", err))
	}
}
