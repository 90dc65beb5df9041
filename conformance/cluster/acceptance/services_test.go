package acceptance

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEveryTypeOfServiceReachesItsPods(t *testing.T) {
	ns := namespace(t)
	container := "ports: [{name: web, containerPort: 8080}], readinessProbe: {httpGet: {path: /healthz, port: web}}"
	apply(t, ns, tool("a", container, "")+"---\n"+tool("b", container, "")+`---
{apiVersion: v1, kind: Service, metadata: {name: internal}, spec: {selector: {app: a}, ports: [{port: 80, targetPort: web}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: ports}, spec: {type: NodePort, selector: {app: a}, ports: [{port: 81, targetPort: 8080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: balanced}, spec: {type: LoadBalancer, selector: {app: b}, ports: [{port: 443, targetPort: 8080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: headless}, spec: {clusterIP: None, selector: {app: b}}}
---
{apiVersion: v1, kind: Service, metadata: {name: nobody}, spec: {selector: {app: none}, ports: [{port: 80}]}}
`)
	ready(t, ns, "a", "b")
	eventually(t, 5*time.Second, func() error {
		if field(t, ns, "service/balanced", ".status.loadBalancer.ingress[0].ip") == "" {
			return fmt.Errorf("no address")
		}
		return nil
	})
	balanced := "http://" + field(t, ns, "service/balanced", ".status.loadBalancer.ingress[0].ip") + ":443"
	internal := "http://" + field(t, ns, "service/internal", ".spec.clusterIP")
	ports := "http://198.18.0.1:" + field(t, ns, "service/ports", ".spec.ports[0].nodePort")
	for address, pod := range map[string]string{internal: "a", ports: "a", balanced: "b"} {
		eventually(t, 5*time.Second, says(address, "pod "+pod))
	}
	// From pods, also to themselves, and by name.
	inside := address(t, ns, "a") + "/fetch?url="
	for target, pod := range map[string]string{
		internal: "a", ports: "a", balanced: "b", address(t, ns, "b"): "b",
		"http://internal": "a", "http://internal." + ns: "a", "http://balanced." + ns + ".svc.cluster.local:443": "b", "http://headless:8080": "b",
	} {
		for range 3 {
			if err := says(inside+url.QueryEscape(target), "pod "+pod)(); err != nil {
				t.Error(err)
			}
		}
	}
	nobody := field(t, ns, "service/nobody", ".spec.clusterIP")
	for _, target := range []string{nobody + ":80", "198.19.0.99:80"} {
		began := time.Now()
		if connection, err := net.DialTimeout("tcp", target, 3*time.Second); err == nil {
			connection.Close()
			t.Errorf("%s takes connections", target)
		} else if took := time.Since(began); took > time.Second {
			t.Errorf("%s refused after %s only: %v", target, took, err)
		}
	}
}

func TestDatagramsComeBackFromWhereTheyWereSent(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, `{apiVersion: v1, kind: Pod, metadata: {name: udp, labels: {app: udp}}, spec: {containers: [{name: main, image: 'registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0', env: [{name: UDP_ECHO_SERVER, value: '1'}, {name: POD_NAME, value: udp}]}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: udp}, spec: {type: LoadBalancer, selector: {app: udp}, ports: [{port: 5300, targetPort: 8080, protocol: UDP}]}}
`)
	ready(t, ns, "udp")
	buffer := make([]byte, 2048)
	eventually(t, 10*time.Second, func() error {
		ip := field(t, ns, "service/udp", ".status.loadBalancer.ingress[0].ip")
		connection, err := net.Dial("udp", net.JoinHostPort(ip, "5300"))
		if err != nil {
			return err
		}
		defer connection.Close()
		_ = connection.SetDeadline(time.Now().Add(time.Second))
		if _, err := connection.Write([]byte("ping")); err != nil {
			return err
		}
		n, err := connection.Read(buffer)
		if err == nil && !strings.Contains(string(buffer[:n]), "udp") {
			err = fmt.Errorf("answer %q", buffer[:n])
		}
		return err
	})
}

func TestHelmWaitsForWhatItInstalls(t *testing.T) {
	ns := namespace(t)
	chart := t.TempDir()
	for path, text := range map[string]string{
		"Chart.yaml":  "{apiVersion: v2, name: c, version: 1.0.0}\n",
		"values.yaml": "replicas: 2\n",
		"templates/all.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {release: "{{ .Release.Revision }}"}}
    spec:
      containers: [{name: web, image: gwanmun.test/tool, readinessProbe: {httpGet: {path: /healthz, port: 8080}}}]
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}
`,
	} {
		path = filepath.Join(chart, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range [][]string{
		{"install", "r", chart}, {"upgrade", "r", chart, "--set", "replicas=3"}, {"rollback", "r", "1"},
	} {
		began := time.Now()
		if _, err := try("", "helm", append(command, "-n", ns, "--wait", "--timeout", "60s")...); err != nil {
			t.Fatal(err)
		}
		t.Logf("helm %s --wait took %.1f s", command[0], time.Since(began).Seconds())
	}
	if ip := field(t, ns, "service/web", ".status.loadBalancer.ingress[0].ip"); ip == "" {
		t.Error("helm did not wait for the address")
	} else {
		eventually(t, 5*time.Second, says("http://"+ip, "pod web-"))
	}
}

func TestComponentsComeBackWhenTheyAreKilled(t *testing.T) {
	// From inside the network the program still knows its cluster.
	for _, component := range []string{"etcd", "kube-apiserver", "kube-proxy", "node"} {
		if _, err := try("", binary("cluster"), "--state="+os.Getenv("CLUSTER_STATE"), "signal", component); err != nil {
			t.Fatal(err)
		}
		eventually(t, 40*time.Second, func() error {
			_, err := try("", "kubectl", "get", "--raw=/readyz")
			return err
		})
	}
	ns := namespace(t)
	apply(t, ns, tool("p", "", ""))
	ready(t, ns, "p")
	eventually(t, 5*time.Second, says(address(t, ns, "p"), "pod p"))
}

// The suite's own objects come up: with an implementation that only claims to have done everything, the suite gets to
// its tests.
func TestTheSuiteGetsThroughItsSetup(t *testing.T) {
	apply(t, "default", "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: claims}, spec: {controllerName: claims.test/all}}\n")
	condition := func(kind string) string {
		return fmt.Sprintf(`{"type":%q,"status":"True","reason":%q,"message":"","observedGeneration":1,"lastTransitionTime":"2026-01-01T00:00:00Z"}`, kind, kind)
	}
	patch := `{"status":{"conditions":[` + condition("Accepted") + `]}}`
	kubectl(t, "patch", "gatewayclass", "claims", "--subresource=status", "--type=merge", "-p", patch)
	report := t.TempDir()
	suite := exec.Command(binary("cluster"), "--state="+os.Getenv("CLUSTER_STATE"), "--binaries="+os.Getenv("CLUSTER_BINARIES"),
		"--gateway-class=claims", "--run=GatewayObservedGenerationBump", "--report="+report, "--timeout=3m", "conformance")
	if err := suite.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- suite.Wait() }()
	t.Cleanup(func() { _ = suite.Process.Kill() })
	began := time.Now()
	eventually(t, 2*time.Minute, func() error {
		gateways, _ := try("", "kubectl", "get", "gateways", "-n", "gateway-conformance-infra", "-o", "name")
		for gateway := range strings.FieldsSeq(gateways) {
			status := `{"status":{"conditions":[` + condition("Accepted") + "," + condition("Programmed") + `]}}`
			_, _ = try("", "kubectl", "patch", "-n", "gateway-conformance-infra", gateway, "--subresource=status", "--type=merge", "-p", status)
		}
		stream, err := os.ReadFile(filepath.Join(report, "stream.json"))
		if err == nil && !strings.Contains(string(stream), `"Test":"TestConformance/GatewayObservedGenerationBump"`) {
			err = fmt.Errorf("the suite has not begun its test")
		}
		return err
	})
	t.Logf("the suite's setup took %.1f s", time.Since(began).Seconds())
	_ = suite.Process.Signal(os.Interrupt)
	<-done
	kubectl(t, "delete", "namespace", "gateway-conformance-infra", "gateway-conformance-app-backend", "gateway-conformance-web-backend", "--wait=false")
}
