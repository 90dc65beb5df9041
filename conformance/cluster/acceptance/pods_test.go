package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPodsSeeTheirVolumesAndVariables(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, tool("p", `env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}},
  {name: KEY, valueFrom: {secretKeyRef: {name: s, key: a}}}, {name: BOTH, value: $(POD)-$(KEY)}], envFrom: [{configMapRef: {name: c}}],
  volumeMounts: [{name: s, mountPath: /s}, {name: c, mountPath: /c}, {name: d, mountPath: /d}, {name: e, mountPath: /e}, {name: t, mountPath: /t}]`,
		`volumes: [{name: s, secret: {secretName: s}}, {name: c, configMap: {name: c}}, {name: d, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}},
  {name: e, emptyDir: {}}, {name: t, projected: {sources: [{serviceAccountToken: {path: token, audience: gwanmun, expirationSeconds: 600}}]}}],`))
	// The objects come later than the pod: it waits for them.
	eventually(t, 10*time.Second, func() error {
		if reason := field(t, ns, "pod/p", ".status.containerStatuses[0].state.waiting.message"); !strings.Contains(reason, `"s" not found`) {
			return fmt.Errorf("it waits because %q", reason)
		}
		return nil
	})
	apply(t, ns, "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: one}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {COLOUR: blue}}\n")
	ready(t, ns, "p")
	at := address(t, ns, "p")
	environment := mustGet(t, at+"/env")
	for _, want := range []string{"POD=p\n", "KEY=one\n", "BOTH=p-one\n", "COLOUR=blue\n", "IP=" + strings.TrimSuffix(strings.TrimPrefix(at, "http://"), ":8080") + "\n"} {
		if !strings.Contains(environment, want) {
			t.Errorf("no %q in %s", want, environment)
		}
	}
	for path, want := range map[string]string{"/s/a": "one", "/c/COLOUR": "blue", "/d/labels": `app="p"`, "/t/token": "ey", "/var/run/secrets/kubernetes.io/serviceaccount/namespace": ns} {
		if err := says(at+"/file"+path, want)(); err != nil {
			t.Error(err)
		}
	}
	for kind, object := range map[string]string{"s/a": "secret s -p {\"stringData\":{\"a\":\"two\"}}", "c/COLOUR": "configmap c -p {\"data\":{\"COLOUR\":\"two\"}}"} {
		kubectl(t, append([]string{"patch", "-n", ns}, strings.Fields(object)...)...)
		if took := eventually(t, 5*time.Second, says(at+"/file/"+kind, "two")); took > time.Second {
			t.Errorf("an update of %s took %s", kind, took)
		}
	}
}

func TestReadinessAndLivenessAreProbed(t *testing.T) {
	ns := namespace(t)
	probe := "{httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 2}"
	apply(t, ns, tool("ready", "readinessProbe: "+probe, "")+"---\n"+tool("alive", "livenessProbe: "+probe, "terminationGracePeriodSeconds: 1,")+
		"---\n{apiVersion: v1, kind: Service, metadata: {name: ready}, spec: {selector: {app: ready}, ports: [{port: 80, targetPort: 8080}]}}\n")
	ready(t, ns, "ready", "alive")
	service := "http://" + field(t, ns, "service/ready", ".spec.clusterIP")
	eventually(t, 5*time.Second, says(service, "pod ready"))
	mustGet(t, address(t, ns, "ready")+"/fail")
	eventually(t, 5*time.Second, func() error {
		if _, err := get(service); err == nil {
			return fmt.Errorf("a pod that is not ready gets traffic")
		}
		return nil
	})
	mustGet(t, address(t, ns, "ready")+"/recover")
	eventually(t, 5*time.Second, says(service, "pod ready"))
	mustGet(t, address(t, ns, "alive")+"/fail")
	eventually(t, 10*time.Second, func() error {
		if restarts := field(t, ns, "pod/alive", ".status.containerStatuses[0].restartCount"); restarts != "1" {
			return fmt.Errorf("restarted %s times", restarts)
		}
		return nil
	})
	ready(t, ns, "alive")
	if restarts := field(t, ns, "pod/ready", ".status.containerStatuses[0].restartCount"); restarts != "0" {
		t.Errorf("a pod that was not ready was restarted %s times", restarts)
	}
}

func TestContainersEndAndComeBack(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, tool("crashes", "", "")+"---\n"+tool("good", "args: [exit, '0']", "restartPolicy: Never,")+"---\n"+
		tool("bad", "args: [exit, '3']", "restartPolicy: Never,")+"---\n"+strings.Replace(tool("unknown", "", ""), "gwanmun.test/tool", "other.test/none", 1)+"---\n"+
		tool("init", "", "initContainers: [{name: first, image: gwanmun.test/tool, args: [exit, '0']}],"))
	ready(t, ns, "crashes", "init")
	_, _ = get(address(t, ns, "crashes") + "/exit?code=7")
	for object, want := range map[string]string{
		"pod/crashes .status.containerStatuses[0].lastState.terminated.exitCode": "7",
		"pod/good .status.phase": "Succeeded",
		"pod/bad .status.phase":  "Failed",
		"pod/bad .status.containerStatuses[0].state.terminated.exitCode":    "3",
		"pod/unknown .status.containerStatuses[0].state.waiting.reason":     "ErrImagePull",
		"pod/init .status.initContainerStatuses[0].state.terminated.reason": "Completed",
	} {
		name, path, _ := strings.Cut(object, " ")
		eventually(t, 10*time.Second, func() error {
			if got := field(t, ns, name, path); got != want {
				return fmt.Errorf("%s is %q, not %q", object, got, want)
			}
			return nil
		})
	}
	ready(t, ns, "crashes")
	for arguments, want := range map[string]string{"good": "ending with 0", "crashes": "serving on", "crashes --previous": "serving on"} {
		if log := kubectl(t, append([]string{"logs", "-n", ns}, strings.Fields(arguments)...)...); !strings.Contains(log, want) {
			t.Errorf("log of %s: %q", arguments, log)
		}
	}
	began := time.Now()
	kubectl(t, "delete", "pods", "-n", ns, "--all", "--timeout=20s")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("deletion took %s", took)
	}
}

func TestSecurityContextsHold(t *testing.T) {
	ns := namespace(t)
	hardened := "securityContext: {runAsUser: 1234, runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}, env: [{name: LISTEN, value: ':80'}]"
	apply(t, ns, tool("low", hardened, "securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '0'}]},")+"---\n"+tool("refused", hardened, "")+"---\n"+
		tool("root", "securityContext: {runAsUser: 0, runAsNonRoot: true}", ""))
	ready(t, ns, "low")
	status := mustGet(t, "http://"+field(t, ns, "pod/low", ".status.podIP")+"/file/proc/self/status")
	for _, want := range []string{"Uid:\t1234\t", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in %s", want, status)
		}
	}
	eventually(t, 10*time.Second, func() error {
		if log, err := try("", "kubectl", "logs", "-n", ns, "refused", "--previous"); err != nil || !strings.Contains(log, "permission denied") {
			return fmt.Errorf("port 80 without the sysctl: %q, %v", log, err)
		}
		if reason := field(t, ns, "pod/root", ".status.containerStatuses[0].state.waiting.reason"); reason != "CreateContainerConfigError" {
			return fmt.Errorf("root, which must not be: %q", reason)
		}
		return nil
	})
}

func TestRolesAreEnforced(t *testing.T) {
	ns := namespace(t)
	kubectl(t, "create", "serviceaccount", "reader", "-n", ns)
	list := func() (string, error) {
		return try("", "kubectl", "get", "pods", "-n", ns, "--token="+kubectl(t, "create", "token", "reader", "-n", ns), "--server=https://198.18.0.1:6443", "--kubeconfig=/dev/null", "--insecure-skip-tls-verify")
	}
	if out, err := list(); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("without a role: %q, %v", out, err)
	}
	kubectl(t, "create", "rolebinding", "reader", "-n", ns, "--clusterrole=view", "--serviceaccount="+ns+":reader")
	eventually(t, 5*time.Second, func() error {
		_, err := list()
		return err
	})
}
