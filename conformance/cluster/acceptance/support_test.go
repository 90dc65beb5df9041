// Package acceptance tests a cluster that runs, with the tools that people use: `make cluster-test`.
package acceptance

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv("CLUSTER_STATE") == "" {
		fmt.Println("skipped: make cluster-test starts a cluster and runs these tests in its network")
		return
	}
	os.Exit(m.Run())
}

// namespace is one of the test's own, deleted behind it.
func namespace(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("test-%d", rand.Uint32())
	kubectl(t, "create", "namespace", name)
	t.Cleanup(func() { _, _ = try("", "kubectl", "delete", "namespace", name, "--wait=false") })
	// Pods are refused until the namespace has it.
	eventually(t, 10*time.Second, func() error {
		_, err := try("", "kubectl", "get", "serviceaccount", "default", "-n", name)
		return err
	})
	return name
}

func try(input, name string, arguments ...string) (string, error) {
	command := exec.Command(name, arguments...)
	command.Stdin = strings.NewReader(input)
	var out, problem bytes.Buffer
	command.Stdout, command.Stderr = &out, &problem
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, strings.TrimSpace(problem.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

func kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := try("", "kubectl", arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func apply(t *testing.T, namespace, manifests string) {
	t.Helper()
	if _, err := try(manifests, "kubectl", "apply", "-n", namespace, "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, and returns how long it took.
func eventually(t *testing.T, most time.Duration, condition func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := condition()
		took := time.Since(began)
		if err == nil {
			return took
		}
		if took > most {
			t.Fatalf("not after %s: %v", most, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var client = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(url string) (string, error) {
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, bytes.TrimSpace(body))
	}
	return string(body), err
}

func mustGet(t *testing.T, url string) string {
	t.Helper()
	body, err := get(url)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// says checks what a server answers.
func says(url, want string) func() error {
	return func() error {
		body, err := get(url)
		if err == nil && !strings.Contains(body, want) {
			err = fmt.Errorf("%s answers %q, not %q", url, body, want)
		}
		return err
	}
}

func field(t *testing.T, namespace, object, path string) string {
	t.Helper()
	return kubectl(t, "get", "-n", namespace, object, "-o", "jsonpath={"+path+"}")
}

func binary(name string) string { return filepath.Join(os.Getenv("CLUSTER_BINARIES"), name) }

// tool is a pod of the tool image with more of a container's and of a pod's fields, as YAML in one line each.
func tool(name, container, spec string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: %[1]s, labels: {app: %[1]s}}, spec: {%[3]s containers: [{name: main, image: 'gwanmun.test/tool:1', %[2]s}]}}\n", name, container, spec)
}

func ready(t *testing.T, namespace string, pods ...string) {
	t.Helper()
	for _, pod := range pods {
		kubectl(t, "wait", "-n", namespace, "--for=condition=Ready", "pod/"+pod, "--timeout=30s")
	}
}

func address(t *testing.T, namespace, pod string) string {
	t.Helper()
	return "http://" + field(t, namespace, "pod/"+pod, ".status.podIP") + ":8080"
}
