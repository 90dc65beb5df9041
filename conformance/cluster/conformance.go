package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gwanmun.test/conformance/cluster/internal/results"
)

const suite = "TestConformance"

type suiteOptions struct {
	tests, profiles, class, install, passed, report, version string
	update                                                   bool
	parallel                                                 int
	timeout, silence                                         time.Duration
}

func (s *suiteOptions) define() {
	flag.StringVar(&s.tests, "run", "", "names of tests, separated by commas; empty: all that the profiles and the GatewayClass's features ask for")
	flag.StringVar(&s.profiles, "profiles", "GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP,GATEWAY-UDP", "conformance profiles to claim")
	flag.StringVar(&s.class, "gateway-class", "gwanmun", "GatewayClass under test")
	flag.StringVar(&s.install, "install", "", "program that installs what is tested")
	flag.StringVar(&s.passed, "passed", "", "list of the tests that may not fail")
	flag.BoolVar(&s.update, "update", false, "add the tests that pass to the list")
	flag.StringVar(&s.report, "report", ".", "directory for the report, the test stream and the output")
	flag.StringVar(&s.version, "version", "unreleased", "version of Gwanmun that the report names")
	flag.IntVar(&s.parallel, "parallel", 4, "tests at once, of those that may run beside others")
	flag.DurationVar(&s.timeout, "timeout", 50*time.Minute, "after this the suite is ended")
	flag.DurationVar(&s.silence, "silence", 6*time.Minute, "a suite that says nothing for so long is ended; its own longest wait is five minutes")
}

// conformance installs what is tested and runs the suite in the cluster's network.
func conformance(ctx context.Context, o *options) error {
	var list []string
	if o.suite.passed != "" {
		var err error
		if list, err = results.ReadList(o.suite.passed); err != nil {
			return err
		}
	}
	if err := join(o); err != nil {
		return err
	}
	environment := append(os.Environ(),
		"KUBECONFIG="+o.File("pki", "admin.kubeconfig"), "PATH="+o.Binaries+":"+os.Getenv("PATH"), "GWANMUN_IMAGE="+o.images.name)
	if o.suite.install != "" {
		install := exec.CommandContext(ctx, o.suite.install)
		install.Env, install.Stdout, install.Stderr = environment, os.Stderr, os.Stderr
		if err := install.Run(); err != nil {
			return fmt.Errorf("%s: %w", o.suite.install, err)
		}
	}
	if err := os.MkdirAll(o.suite.report, 0o755); err != nil {
		return err
	}
	collected := results.New(suite)
	ended := o.runSuite(ctx, environment, collected)
	collected.Table(os.Stdout)
	fmt.Printf("stream, output and report: %s\n", o.suite.report)
	return o.judge(collected, list, ended)
}

func (o *options) judge(collected *results.Results, list []string, ended error) error {
	if problem := collected.Problem(); problem != "" {
		return fmt.Errorf("the suite did not come to its tests: %s", problem)
	}
	whole := o.suite.tests == ""
	regressions := collected.Regressions(list, whole)
	for _, name := range regressions {
		fmt.Printf("REGRESSION: %s passed before (%s)\n", name, o.suite.passed)
	}
	if fresh := collected.NewlyPassed(list); len(fresh) > 0 && o.suite.passed != "" {
		if o.suite.update {
			if err := results.AddToList(o.suite.passed, fresh); err != nil {
				return err
			}
			fmt.Printf("%d tests added to %s\n", len(fresh), o.suite.passed)
		} else {
			fmt.Printf("passed for the first time (UPDATE=1 adds them to %s): %s\n", o.suite.passed, strings.Join(fresh, " "))
		}
	}
	var watchdog *endedError
	switch {
	case len(regressions) > 0:
		return fmt.Errorf("%d tests that passed before did not pass", len(regressions))
	case errors.As(ended, &watchdog):
		return ended
	case !whole && ended != nil:
		return errors.New("not all of the named tests passed")
	}
	return nil
}

// endedError says that the suite did not end by itself.
type endedError struct{ why string }

func (e *endedError) Error() string { return "the suite was ended: " + e.why }

// runSuite passes the stream on and ends a suite that hangs: some of its clients have no deadline.
func (o *options) runSuite(ctx context.Context, environment []string, collected *results.Results) error {
	stream, err := os.Create(filepath.Join(o.suite.report, "stream.json"))
	if err != nil {
		return err
	}
	defer stream.Close()
	output, err := os.Create(filepath.Join(o.suite.report, "output.txt"))
	if err != nil {
		return err
	}
	defer output.Close()
	command := exec.Command(filepath.Join(o.Binaries, "test2json"), append([]string{"-t", "-p", "conformance"}, o.suiteCommand()...)...)
	command.Env, command.Stderr, command.Dir = environment, output, o.suite.report
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	lines := make(chan []byte)
	go scan(pipe, lines)
	timeout, silence := time.After(o.suite.timeout), time.NewTimer(o.suite.silence)
	var why string
	end := func(reason string) {
		why = reason
		fmt.Fprintf(os.Stderr, "ending the suite: %s\n", reason)
		// The runtime tells where every goroutine is: into the stream with it.
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGQUIT)
		time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) })
	}
	for open := true; open; {
		select {
		case line, more := <-lines:
			if open = more; !more {
				break
			}
			silence.Reset(o.suite.silence)
			_, _ = stream.Write(line)
			if test := collected.Add(line); test != nil {
				fmt.Fprintf(os.Stderr, "%-10s  %s (%.1f s)\n", test.Outcome, test.Name, test.Seconds)
			}
		case <-timeout:
			end(fmt.Sprintf("it took longer than %s", o.suite.timeout))
		case <-silence.C:
			end(fmt.Sprintf("it said nothing for %s", o.suite.silence))
		case <-ctx.Done():
			end("interrupted")
			ctx = context.Background()
		}
	}
	err = command.Wait()
	if why != "" {
		return &endedError{why}
	}
	return err
}

func scan(from io.Reader, to chan<- []byte) {
	defer close(to)
	reader := bufio.NewReader(from)
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) > 0 {
			to <- line[:len(line):len(line)]
		}
		if err != nil {
			return
		}
	}
}

func (o *options) suiteCommand() []string {
	// Anchored: the suite's package has other tests, which need its source tree.
	pattern := "^" + suite + "$"
	names := strings.Split(o.suite.tests, ",")
	command := []string{
		filepath.Join(o.Binaries, "conformance.test"), "-test.v=test2json",
		fmt.Sprintf("-test.timeout=%s", o.suite.timeout), fmt.Sprintf("-test.parallel=%d", o.suite.parallel),
		"--gateway-class=" + o.suite.class, "--conformance-profiles=" + o.suite.profiles,
		"--usable-address=198.19.0.200", "--unusable-address=203.0.113.9",
		"--report-output=" + filepath.Join(o.suite.report, "report.yaml"),
		"--organization=gwanmun", "--project=gwanmun", "--url=https://gwanmun.test", "--version=" + o.suite.version, "--contact=@gwanmun",
	}
	if o.suite.tests != "" {
		pattern += "/^(" + strings.Join(names, "|") + ")$"
		// The next run finds the pods in place.
		command = append(command, "--cleanup-base-resources=false")
	}
	if len(names) == 1 && o.suite.tests != "" {
		command = append(command, "--run-test="+names[0])
	}
	return append(command, "-test.run="+pattern)
}
