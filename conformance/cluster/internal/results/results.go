// Package results reads the outcome of the conformance suite from its test stream. The suite's report leaves tests
// out, and a run that was killed has none.
package results

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// Outcome is what became of a test.
type Outcome string

// Outcomes. A test that began and has no other is unfinished: the run was ended.
const (
	Passed     Outcome = "pass"
	Failed     Outcome = "fail"
	Skipped    Outcome = "skip"
	Unfinished Outcome = "unfinished"
)

// Test is one test of the suite.
type Test struct {
	Name    string
	Outcome Outcome
	// Seconds it took.
	Seconds float64
	// Reason is the first error of a failed test.
	Reason string
}

// Results collects a stream of test2json.
type Results struct {
	// Suite is the test function whose subtests are the tests.
	Suite string
	tests map[string]*Test
	// outcome of the suite itself.
	outcome Outcome
	setup   string
}

// New collects the subtests of a test function.
func New(suite string) *Results {
	return &Results{Suite: suite, tests: map[string]*Test{}, outcome: Unfinished}
}

type event struct {
	Action, Test, Output string
	Elapsed              float64
}

// Add takes one line of the stream, and returns the test that it ends, if it does.
func (r *Results) Add(line []byte) *Test {
	var e event
	if json.Unmarshal(line, &e) != nil {
		return nil
	}
	rest, inside := strings.CutPrefix(e.Test, r.Suite)
	if !inside {
		return nil
	}
	name := strings.TrimPrefix(rest, "/")
	name, _, deeper := strings.Cut(name, "/")
	if name == "" {
		switch e.Action {
		case "pass", "fail", "skip":
			r.outcome = Outcome(e.Action)
		case "output":
			r.setup = reason(r.setup, e.Output)
		}
		return nil
	}
	test := r.tests[name]
	if test == nil {
		test = &Test{Name: name, Outcome: Unfinished}
		r.tests[name] = test
	}
	switch e.Action {
	case "output":
		test.Reason = reason(test.Reason, e.Output)
	case "pass", "fail", "skip":
		if deeper {
			return nil
		}
		test.Outcome, test.Seconds = Outcome(e.Action), e.Elapsed
		return test
	}
	return nil
}

// reason is the text of the first assertion that failed, as testify prints it: one line, or the one after a colon.
func reason(known, output string) string {
	if strings.HasSuffix(known, ":") {
		return known + " " + strings.TrimSpace(output)
	}
	_, text, found := strings.Cut(output, "Error:")
	if known != "" || !found {
		return known
	}
	return strings.TrimSpace(text)
}

// Read takes a whole stream.
func (r *Results) Read(stream io.Reader) error {
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadBytes('\n')
		r.Add(line)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Tests are all that began, by name.
func (r *Results) Tests() []Test {
	var tests []Test
	for _, name := range slices.Sorted(maps.Keys(r.tests)) {
		tests = append(tests, *r.tests[name])
	}
	return tests
}

// Problem is what kept the suite from its tests, if anything did.
func (r *Results) Problem() string {
	switch {
	case len(r.tests) > 0:
		return ""
	case r.setup != "":
		return r.setup
	default:
		return "no test began"
	}
}

// Table writes one line per test and a sum.
func (r *Results) Table(to io.Writer) {
	count := map[Outcome]int{}
	width := 0
	for _, test := range r.Tests() {
		width = max(width, len(test.Name))
	}
	for _, test := range r.Tests() {
		count[test.Outcome]++
		line := fmt.Sprintf("%-10s  %-*s  %7.1f s", test.Outcome, width, test.Name, test.Seconds)
		if test.Outcome == Failed && test.Reason != "" {
			line += "  " + test.Reason
		}
		fmt.Fprintln(to, line)
	}
	fmt.Fprintf(to, "%d passed, %d failed, %d skipped, %d unfinished\n", count[Passed], count[Failed], count[Skipped], count[Unfinished])
}

// Regressions are the tests of the list that did not pass: of all in a whole run, otherwise of those that began.
func (r *Results) Regressions(list []string, whole bool) []string {
	var out []string
	for _, name := range list {
		test := r.tests[name]
		if test == nil && whole || test != nil && test.Outcome != Passed {
			out = append(out, name)
		}
	}
	return out
}

// NewlyPassed are the tests that passed and are not on the list.
func (r *Results) NewlyPassed(list []string) []string {
	var out []string
	for _, test := range r.Tests() {
		if test.Outcome == Passed && !slices.Contains(list, test.Name) {
			out = append(out, test.Name)
		}
	}
	return out
}

// ReadList reads names, one a line; what follows a # is a remark.
func ReadList(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if name := strings.TrimSpace(line); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// AddToList writes more names to a list, sorted, and keeps the remarks at its top.
func AddToList(path string, more []string) error {
	names, err := ReadList(path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		out.WriteString(line)
	}
	names = append(names, more...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		out.WriteString(name + "\n")
	}
	return os.WriteFile(path, []byte(out.String()), 0o644)
}
