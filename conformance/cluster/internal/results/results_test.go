package results

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const stream = `
{"Action":"start","Package":"conformance"}
{"Action":"run","Test":"TestOther"}
{"Action":"pass","Test":"TestOther","Elapsed":1}
{"Action":"run","Test":"TestConformance"}
not JSON
{"Action":"run","Test":"TestConformance/Good"}
{"Action":"run","Test":"TestConformance/Good/first_part"}
{"Action":"pass","Test":"TestConformance/Good/first_part","Elapsed":1}
{"Action":"pass","Test":"TestConformance/Good","Elapsed":2.5}
{"Action":"run","Test":"TestConformance/Bad"}
{"Action":"output","Test":"TestConformance/Bad/part","Output":"        \tError:      \tno answer\n"}
{"Action":"output","Test":"TestConformance/Bad/part","Output":"        \tError:      \tlater\n"}
{"Action":"fail","Test":"TestConformance/Bad/part","Elapsed":1}
{"Action":"fail","Test":"TestConformance/Bad","Elapsed":3}
{"Action":"skip","Test":"TestConformance/Left","Elapsed":0}
{"Action":"run","Test":"TestConformance/Hangs"}
{"Action":"pass","Test":"TestConformance/Hangs/part","Elapsed":0}`

func read(t *testing.T, text string) *Results {
	t.Helper()
	r := New("TestConformance")
	if err := r.Read(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOutcomesAreThoseOfTheTestsNotOfTheirParts(t *testing.T) {
	r := read(t, stream)
	want := []Test{
		{"Bad", Failed, 3, "no answer"},
		{"Good", Passed, 2.5, ""},
		{"Hangs", Unfinished, 0, ""},
		{"Left", Skipped, 0, ""},
	}
	if got := r.Tests(); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	var table strings.Builder
	r.Table(&table)
	if !strings.HasSuffix(table.String(), "1 passed, 1 failed, 1 skipped, 1 unfinished\n") {
		t.Error(table.String())
	}
}

func TestWhatOncePassedMayNotFail(t *testing.T) {
	r := read(t, stream)
	list := []string{"Bad", "Good", "Hangs", "Left", "Absent"}
	if got := r.Regressions(list, false); !slices.Equal(got, []string{"Bad", "Hangs", "Left"}) {
		t.Errorf("of some: %v", got)
	}
	if got := r.Regressions(list, true); !slices.Equal(got, []string{"Bad", "Hangs", "Left", "Absent"}) {
		t.Errorf("of all: %v", got)
	}
	if got := r.NewlyPassed([]string{"Bad"}); !slices.Equal(got, []string{"Good"}) {
		t.Errorf("newly passed: %v", got)
	}
}

func TestASetupThatFailsSaysWhy(t *testing.T) {
	r := read(t, `{"Action":"output","Test":"TestConformance","Output":"\tError:  \tReceived unexpected error:\n"}
{"Action":"output","Test":"TestConformance","Output":"\t\tno GatewayClass\n"}
{"Action":"fail","Test":"TestConformance","Elapsed":1}`)
	if r.Problem() != "Received unexpected error: no GatewayClass" {
		t.Error(r.Problem())
	}
	if problem := read(t, "").Problem(); problem != "no test began" {
		t.Error(problem)
	}
	if problem := read(t, stream).Problem(); problem != "" {
		t.Error(problem)
	}
}

func TestListsGrowSortedAndKeepTheirRemarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte("# What it is.\nB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := AddToList(path, []string{"C", "A", "B"}); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "# What it is.\nA\nB\nC\n" {
		t.Errorf("%q", text)
	}
	names, err := ReadList(path)
	if err != nil || !slices.Equal(names, []string{"A", "B", "C"}) {
		t.Errorf("%v, %v", names, err)
	}
}
