// Package balancer gives Services of type LoadBalancer their addresses, as a cloud does. kube-proxy brings the traffic.
package balancer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"gwanmun.test/conformance/cluster/internal/network"
)

// Class is the loadBalancerClass that is served, beside none.
const Class = "gwanmun.test/process-cluster"

// Balancer hands out addresses of one pool.
type Balancer struct {
	client kubernetes.Interface
	pool   *network.Addresses
	held   map[types.UID]netip.Addr
}

// New serves the Services that the client sees.
func New(client kubernetes.Interface, pool *network.Addresses) *Balancer {
	return &Balancer{client: client, pool: pool, held: map[types.UID]netip.Addr{}}
}

// Run keeps addresses until the context ends.
func (b *Balancer) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(b.client, 0)
	informer := factory.Core().V1().Services().Informer()
	// Handlers run one after the other: the balancer has no lock.
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { b.observe(ctx, object) },
		UpdateFunc: func(_, object any) { b.observe(ctx, object) },
		DeleteFunc: func(object any) {
			if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = tombstone.Obj
			}
			if service, ok := object.(*v1.Service); ok {
				b.release(service.UID)
			}
		},
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	return nil
}

func (b *Balancer) observe(ctx context.Context, object any) {
	service, ok := object.(*v1.Service)
	if !ok {
		return
	}
	for attempt := range 5 {
		err := b.sync(ctx, service)
		if err == nil || ctx.Err() != nil {
			return
		}
		slog.Warn("load balancer address was not written", "service", service.Namespace+"/"+service.Name, "reason", err)
		time.Sleep(time.Duration(attempt) * 100 * time.Millisecond)
	}
}

// sync gives, keeps or takes back the address of a Service.
func (b *Balancer) sync(ctx context.Context, service *v1.Service) error {
	if !served(service) {
		if _, holds := b.held[service.UID]; !holds {
			return nil
		}
		b.release(service.UID)
		return b.write(ctx, service, nil)
	}
	address, reason := b.address(service)
	if reason != "" {
		slog.Info("load balancer address is pending", "service", service.Namespace+"/"+service.Name, "reason", reason)
		return b.write(ctx, service, nil)
	}
	mode := v1.LoadBalancerIPModeVIP
	return b.write(ctx, service, []v1.LoadBalancerIngress{{IP: address.String(), IPMode: &mode}})
}

func served(service *v1.Service) bool {
	class := service.Spec.LoadBalancerClass
	return service.Spec.Type == v1.ServiceTypeLoadBalancer && service.DeletionTimestamp == nil && (class == nil || *class == Class)
}

// address is the one that the Service asks for, or the one it has, or any.
func (b *Balancer) address(service *v1.Service) (address netip.Addr, pending string) {
	held, holds := b.held[service.UID]
	if text := service.Spec.LoadBalancerIP; text != "" {
		wanted, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Addr{}, err.Error()
		}
		if holds && held == wanted {
			return held, ""
		}
		if !b.pool.Claim(wanted) {
			return netip.Addr{}, fmt.Sprintf("%s is taken or not in the pool", wanted)
		}
		b.release(service.UID)
		b.held[service.UID] = wanted
		return wanted, ""
	}
	if holds {
		return held, ""
	}
	// After a restart: what the status says is still so.
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if old, err := netip.ParseAddr(ingress.IP); err == nil && b.pool.Claim(old) {
			b.held[service.UID] = old
			return old, ""
		}
	}
	address, err := b.pool.Take()
	if err != nil {
		return netip.Addr{}, err.Error()
	}
	b.held[service.UID] = address
	return address, ""
}

func (b *Balancer) release(service types.UID) {
	if address, holds := b.held[service]; holds {
		b.pool.Free(address)
		delete(b.held, service)
	}
}

func (b *Balancer) write(ctx context.Context, service *v1.Service, ingress []v1.LoadBalancerIngress) error {
	now := service.Status.LoadBalancer.Ingress
	if len(now) == len(ingress) && (len(now) == 0 || now[0].IP == ingress[0].IP) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": ingress}}})
	if err != nil {
		return err
	}
	_, err = b.client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
