package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestHTTPProbesJudgeByStatus(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/redirect":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case r.URL.Path == "/good" && r.URL.RawQuery == "full=1" && r.Header.Get("X") == "y" && r.Host == "h.test":
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	for scheme, server := range map[v1.URIScheme]*httptest.Server{v1.URISchemeHTTP: httptest.NewServer(handler), v1.URISchemeHTTPS: httptest.NewTLSServer(handler)} {
		defer server.Close()
		host, port, _ := net.SplitHostPort(server.Listener.Addr().String())
		for path, good := range map[string]bool{"/good?full=1": true, "/bad": false, "/redirect": true} {
			p := &v1.Probe{ProbeHandler: v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{
				Path: path, Port: intstr.Parse(port), Scheme: scheme,
				HTTPHeaders: []v1.HTTPHeader{{Name: "X", Value: "y"}, {Name: "host", Value: "h.test"}},
			}}}
			if err := Once(context.Background(), p, &v1.Container{}, host); (err == nil) != good {
				t.Errorf("%s %s: %v", scheme, path, err)
			}
		}
	}
}

func TestTCPProbesConnect(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	container := &v1.Container{Ports: []v1.ContainerPort{{Name: "web", ContainerPort: int32(port)}}}
	p := &v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromString("web")}}}
	if err := Once(context.Background(), p, container, "127.0.0.1"); err != nil {
		t.Error(err)
	}
	listener.Close()
	if err := Once(context.Background(), p, container, "127.0.0.1"); err == nil {
		t.Error("a closed port answers")
	}
}

func TestVerdictsNeedTheirThresholds(t *testing.T) {
	failure := errors.New("no")
	verdict := NewVerdict(&v1.Probe{SuccessThreshold: 2, FailureThreshold: 3})
	var got []string
	for _, result := range []error{nil, nil, failure, failure, nil, failure, failure, failure} {
		good, decided := verdict.Add(result)
		switch {
		case !decided:
			got = append(got, "-")
		case good:
			got = append(got, "good")
		default:
			got = append(got, "bad")
		}
	}
	if want := "- good - - - - - bad"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestWhatCannotBeProbedIsRefused(t *testing.T) {
	for _, handler := range []v1.ProbeHandler{{Exec: &v1.ExecAction{}}, {GRPC: &v1.GRPCAction{}}, {}} {
		if Supported(&v1.Probe{ProbeHandler: handler}) == nil {
			t.Errorf("%+v is accepted", handler)
		}
	}
	if _, err := Port(&v1.Container{}, intstr.FromString("none")); err == nil {
		t.Error("a port without a number")
	}
}
