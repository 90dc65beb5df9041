// Package dns answers the pods' questions for Services and pods behind headless ones, as CoreDNS does: A records of
// the cluster's domain, from the API; nothing else exists.
package dns

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// Domain is the cluster's.
const Domain = "cluster.local"

// Resolver is what pods have in /etc/resolv.conf; %s is their namespace.
const Resolver = "search %[1]s.svc." + Domain + " svc." + Domain + " " + Domain + "\nnameserver 198.18.0.1\noptions ndots:5\n"

// Seconds an answer may be kept: Services come and go quickly here.
const timeToLive = 1

// Server answers over UDP.
type Server struct {
	Services  corelisters.ServiceLister
	Endpoints discoverylisters.EndpointSliceLister
}

// Serve answers until the context ends.
func (s *Server) Serve(ctx context.Context, socket net.PacketConn) {
	context.AfterFunc(ctx, func() { socket.Close() })
	buffer := make([]byte, 4096)
	for {
		n, from, err := socket.ReadFrom(buffer)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			slog.Warn("dns", "reason", err)
			continue
		}
		if answer := s.answer(buffer[:n]); answer != nil {
			_, _ = socket.WriteTo(answer, from)
		}
	}
}

func (s *Server) answer(question []byte) []byte {
	var query dnsmessage.Message
	if query.Unpack(question) != nil || query.Response || len(query.Questions) != 1 {
		return nil
	}
	asked := query.Questions[0]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, Authoritative: true, RecursionDesired: query.RecursionDesired, RecursionAvailable: true},
		Questions: query.Questions,
	}
	addresses, alias, exists := s.lookUp(strings.ToLower(asked.Name.String()))
	if !exists {
		reply.RCode = dnsmessage.RCodeNameError
	}
	header := dnsmessage.ResourceHeader{Name: asked.Name, Class: dnsmessage.ClassINET, TTL: timeToLive}
	if alias != "" {
		if name, err := dnsmessage.NewName(alias + "."); err == nil {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.CNAMEResource{CNAME: name}})
			header.Name = name
		}
	}
	if asked.Type == dnsmessage.TypeA || asked.Type == dnsmessage.TypeALL {
		for _, address := range addresses {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// lookUp resolves SERVICE.NAMESPACE.svc.DOMAIN and HOST.SERVICE.NAMESPACE.svc.DOMAIN.
func (s *Server) lookUp(name string) (addresses []netip.Addr, alias string, exists bool) {
	inner, ok := strings.CutSuffix(name, ".svc."+Domain+".")
	if !ok {
		return nil, "", false
	}
	parts := strings.Split(inner, ".")
	host := ""
	if len(parts) == 3 {
		host, parts = parts[0], parts[1:]
	}
	if len(parts) != 2 {
		return nil, "", false
	}
	service, err := s.Services.Services(parts[1]).Get(parts[0])
	if err != nil {
		return nil, "", false
	}
	switch {
	case service.Spec.Type == v1.ServiceTypeExternalName && host == "":
		external := strings.ToLower(strings.TrimSuffix(service.Spec.ExternalName, "."))
		if external+"." != name {
			addresses, _, _ = s.lookUp(external + ".")
		}
		return addresses, external, true
	case service.Spec.ClusterIP == v1.ClusterIPNone:
		addresses = s.endpoints(service, host)
		return addresses, "", host == "" || len(addresses) > 0
	case host != "":
		return nil, "", false
	}
	for _, text := range service.Spec.ClusterIPs {
		if address, err := netip.ParseAddr(text); err == nil && address.Is4() {
			addresses = append(addresses, address)
		}
	}
	return addresses, "", true
}

// endpoints are the addresses of those behind a headless Service that are ready, or that have a host name.
func (s *Server) endpoints(service *v1.Service, host string) []netip.Addr {
	slices, err := s.Endpoints.EndpointSlices(service.Namespace).List(labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: service.Name}))
	if err != nil {
		return nil
	}
	var addresses []netip.Addr
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			if ready := endpoint.Conditions.Ready; ready != nil && !*ready {
				continue
			}
			for _, text := range endpoint.Addresses {
				address, err := netip.ParseAddr(text)
				if err != nil || !address.Is4() {
					continue
				}
				named := endpoint.Hostname != nil && *endpoint.Hostname == host
				if host == "" || named || strings.ReplaceAll(text, ".", "-") == host {
					addresses = append(addresses, address)
				}
			}
		}
	}
	return addresses
}
