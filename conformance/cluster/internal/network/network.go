// Package network connects pods: one bridge, one network namespace and one veth pair per pod.
//
// A pod's address is a /32 and everything it sends goes to the node, also what is meant for its neighbour: kube-proxy
// translates addresses on the node and has to see the answers too.
package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gwanmun.test/conformance/cluster/internal/thread"
)

// Addresses of the cluster, all from the range for benchmarks (RFC 2544): Kubernetes refuses loopback and link-local
// endpoints.
var (
	Node          = netip.MustParseAddr("198.18.0.1")
	Pods          = netip.MustParsePrefix("198.18.0.0/16")
	LoadBalancers = netip.MustParsePrefix("198.19.0.0/24")
	Services      = netip.MustParsePrefix("198.20.0.0/16")
	APIService    = netip.MustParseAddr("198.20.0.1")
)

const bridge = "cni0"

// SetUpNode makes the bridge and the routes of the calling process's network namespace.
func SetUpNode() error {
	if err := up("lo"); err != nil {
		return err
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = bridge
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
		return fmt.Errorf("add bridge: %w", err)
	}
	if err := addAddress(bridge, netip.PrefixFrom(Node, Pods.Bits())); err != nil {
		return err
	}
	if err := up(bridge); err != nil {
		return err
	}
	// Without redirects off, the kernel tells pods shortcuts to each other, which they keep after the pod is gone.
	for name, value := range map[string]string{
		"ipv4/ip_forward":                         "1",
		"ipv4/conf/all/send_redirects":            "0",
		"ipv4/conf/default/send_redirects":        "0",
		"ipv4/conf/" + bridge + "/send_redirects": "0",
	} {
		if err := Sysctl("net/"+name, value); err != nil {
			return err
		}
	}
	// A bridge that filters translates addresses itself, before routing, and then drops what a pod sends to itself
	// through a Service. Optional: the setting exists only where the kernel can do it at all.
	_ = Sysctl("net/bridge/bridge-nf-call-iptables", "0")
	// Connections without keep-alive must not fill the table of translated connections. Optional: only some kernels
	// have the setting.
	_ = Sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "5")
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	// An address that kube-proxy does not (or no longer) translate refuses at once instead of timing out.
	for _, prefix := range []netip.Prefix{LoadBalancers, Services} {
		route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(prefix), Src: Node.AsSlice(), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("route %s: %w", prefix, err)
		}
	}
	return nil
}

// Pod is the network of one pod.
type Pod struct {
	// Namespace is open for as long as the pod lives; containers are started in it.
	Namespace *os.File
	// IP is the pod's address.
	IP   netip.Addr
	host string
}

// AddPod makes the network of the pod with this uid. Sysctls are those of the pod's security context.
func AddPod(uid string, ip netip.Addr, sysctls map[string]string) (*Pod, error) {
	namespace, err := thread.New()
	if err != nil {
		return nil, err
	}
	pod := &Pod{Namespace: namespace, IP: ip, host: hostLink(uid)}
	if err := pod.connect(); err != nil {
		pod.Remove()
		return nil, fmt.Errorf("pod network: %w", err)
	}
	if err := thread.In(namespace, func() error { return configure(ip, sysctls) }); err != nil {
		pod.Remove()
		return nil, fmt.Errorf("pod network: %w", err)
	}
	return pod, nil
}

// Remove takes the pod off the bridge. Processes that still run keep a namespace without a way out.
func (p *Pod) Remove() {
	if link, err := netlink.LinkByName(p.host); err == nil {
		_ = netlink.LinkDel(link)
	}
	p.Namespace.Close()
}

func (p *Pod) connect() error {
	node, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MasterIndex = p.host, node.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.Namespace.Fd())}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}
	return up(p.host)
}

// configure runs in the pod's namespace.
func configure(ip netip.Addr, sysctls map[string]string) error {
	if err := up("lo"); err != nil {
		return err
	}
	if err := addAddress("eth0", netip.PrefixFrom(ip, 32)); err != nil {
		return err
	}
	if err := up("eth0"); err != nil {
		return err
	}
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	gateway := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: Node.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
	if err := netlink.RouteAdd(gateway); err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	for name, value := range sysctls {
		if err := Sysctl(strings.ReplaceAll(name, ".", "/"), value); err != nil {
			return err
		}
	}
	return nil
}

// Sysctl writes a setting, named with slashes, of the calling thread's namespace.
func Sysctl(name, value string) error {
	if strings.Contains(name, "..") || !strings.HasPrefix(name, "net/") {
		return fmt.Errorf("sysctl %s is not one of a network namespace", name)
	}
	if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("sysctl %s: %w", name, err)
	}
	return nil
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

func addAddress(name string, prefix netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(prefix)}); err != nil {
		return fmt.Errorf("address of %s: %w", name, err)
	}
	return nil
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 32)}
}

// hostLink names the node's end of a pod's veth pair: at most 15 characters.
func hostLink(uid string) string {
	short := strings.ReplaceAll(uid, "-", "")
	return "v" + short[:min(12, len(short))]
}
