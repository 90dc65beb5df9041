package balancer

import (
	"context"
	"net/netip"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"gwanmun.test/conformance/cluster/internal/network"
)

func service(name string, change func(*v1.Service)) *v1.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n", UID: types.UID(name)},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer},
	}
	if change != nil {
		change(s)
	}
	return s
}

func TestServicesGetTheirAddresses(t *testing.T) {
	other := "other.test/class"
	steps := []struct {
		service *v1.Service
		want    string
	}{
		{service("first", nil), "198.19.0.1"},
		{service("cluster", func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP }), ""},
		{service("foreign", func(s *v1.Service) { s.Spec.LoadBalancerClass = &other }), ""},
		{service("static", func(s *v1.Service) { s.Spec.LoadBalancerIP = "198.19.0.200" }), "198.19.0.200"},
		{service("taken", func(s *v1.Service) { s.Spec.LoadBalancerIP = "198.19.0.200" }), ""},
		{service("outside", func(s *v1.Service) { s.Spec.LoadBalancerIP = "203.0.113.9" }), ""},
		{service("restarted", func(s *v1.Service) {
			s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "198.19.0.77"}}
		}), "198.19.0.77"},
		{service("second", nil), "198.19.0.2"},
		{service("first", func(s *v1.Service) { s.Spec.LoadBalancerIP = "198.19.0.10" }), "198.19.0.10"},
		{service("static", func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP }), ""},
		{service("taken", func(s *v1.Service) { s.Spec.LoadBalancerIP = "198.19.0.200" }), "198.19.0.200"},
	}
	client := fake.NewSimpleClientset()
	b := New(client, network.NewAddresses(netip.MustParsePrefix("198.19.0.0/24"), 1))
	ctx := context.Background()
	for i, step := range steps {
		services := client.CoreV1().Services("n")
		if old, err := services.Get(ctx, step.service.Name, metav1.GetOptions{}); err == nil {
			if len(step.service.Status.LoadBalancer.Ingress) == 0 {
				step.service.Status = old.Status
			}
			_, err = services.Update(ctx, step.service, metav1.UpdateOptions{})
			if err != nil {
				t.Fatal(err)
			}
		} else if _, err := services.Create(ctx, step.service, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := b.sync(ctx, step.service); err != nil {
			t.Fatal(err)
		}
		now, err := services.Get(ctx, step.service.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if ingress := now.Status.LoadBalancer.Ingress; len(ingress) > 0 {
			got = ingress[0].IP
		}
		if got != step.want {
			t.Errorf("step %d, %s: address %q, want %q", i, step.service.Name, got, step.want)
		}
	}
}
