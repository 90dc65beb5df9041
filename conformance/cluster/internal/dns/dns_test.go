package dns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func TestServicesHaveNames(t *testing.T) {
	no, host := false, "host"
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: "n"} }
	slice := &discovery.EndpointSlice{ObjectMeta: meta("headless-1"), Endpoints: []discovery.Endpoint{
		{Addresses: []string{"198.18.1.1"}, Hostname: &host},
		{Addresses: []string{"198.18.1.2"}},
		{Addresses: []string{"198.18.1.3"}, Conditions: discovery.EndpointConditions{Ready: &no}},
	}}
	slice.Labels = map[string]string{discovery.LabelServiceName: "headless"}
	client := fake.NewSimpleClientset(
		&v1.Service{ObjectMeta: meta("web"), Spec: v1.ServiceSpec{ClusterIP: "198.20.0.5", ClusterIPs: []string{"198.20.0.5"}}},
		&v1.Service{ObjectMeta: meta("headless"), Spec: v1.ServiceSpec{ClusterIP: v1.ClusterIPNone}},
		&v1.Service{ObjectMeta: meta("alias"), Spec: v1.ServiceSpec{Type: v1.ServiceTypeExternalName, ExternalName: "web.n.svc.cluster.local"}},
		slice,
	)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	factory := informers.NewSharedInformerFactory(client, 0)
	server := &Server{Services: factory.Core().V1().Services().Lister(), Endpoints: factory.Discovery().V1().EndpointSlices().Lister()}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(ctx, socket)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
	for name, want := range map[string][]string{
		"web.n.svc.cluster.local.":           {"198.20.0.5"},
		"WEB.n.svc.cluster.local.":           {"198.20.0.5"},
		"alias.n.svc.cluster.local.":         {"198.20.0.5"},
		"headless.n.svc.cluster.local.":      {"198.18.1.1", "198.18.1.2"},
		"host.headless.n.svc.cluster.local.": {"198.18.1.1"},
		"other.n.svc.cluster.local.":         nil,
		"example.com.":                       nil,
	} {
		got, err := resolver.LookupHost(ctx, name)
		slices.Sort(got)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want)
		}
	}
	if n := len(fmt.Sprintf(Resolver, "n")); n == 0 {
		t.Error("no resolver")
	}
}
