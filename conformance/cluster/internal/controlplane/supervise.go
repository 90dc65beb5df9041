package controlplane

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"gwanmun.test/conformance/cluster/internal/thread"
)

// Supervisor keeps components running. A component that ends is started again, so that a test may kill any of them.
type Supervisor struct {
	layout Layout
}

// NewSupervisor runs nothing yet.
func NewSupervisor(layout Layout) *Supervisor { return &Supervisor{layout: layout} }

// Keep starts a component, and again whenever it ends, until ctx ends; then it is stopped. Its process id is in
// run/NAME.pid, its output in logs/NAME.log.
func (s *Supervisor) Keep(ctx context.Context, component Component) error {
	log, err := os.OpenFile(s.layout.File("logs", component.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	go func() {
		defer log.Close()
		for ctx.Err() == nil {
			if err := s.once(ctx, component, log); ctx.Err() == nil {
				slog.Warn("component ended and is started again", "component", component.Name, "reason", err)
				time.Sleep(200 * time.Millisecond)
			}
		}
	}()
	return nil
}

func (s *Supervisor) once(ctx context.Context, component Component, log *os.File) error {
	command := exec.CommandContext(ctx, component.Argv[0], component.Argv[1:]...)
	command.Stdout, command.Stderr = log, log
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 3 * time.Second
	// A group of its own, so that an interrupt at the terminal goes to the supervisor alone.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := thread.Do(command.Start); err != nil {
		return err
	}
	pid := s.layout.File("run", component.Name+".pid")
	if err := os.WriteFile(pid, []byte(strconv.Itoa(command.Process.Pid)), 0o644); err != nil {
		slog.Warn("process id was not written", "component", component.Name, "reason", err)
	}
	if err := command.Wait(); err != nil {
		return err
	}
	return fmt.Errorf("it ended by itself")
}
