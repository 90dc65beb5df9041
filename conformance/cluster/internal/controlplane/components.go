// Package controlplane runs the programs of a Kubernetes cluster as they are, with the flags that suit one machine.
package controlplane

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"gwanmun.test/conformance/cluster/internal/network"
	"gwanmun.test/conformance/cluster/internal/pki"
)

// Node is the name of the only one.
const Node = "n1"

// Server is the API server's address inside the cluster.
var Server = "https://" + netip.AddrPortFrom(network.Node, 6443).String()

// Component is one program of the cluster.
type Component struct {
	Name string
	Argv []string
}

// Layout says where things are.
type Layout struct {
	// Binaries holds the programs, State all that is written.
	Binaries, State string
}

// File is a path below the state.
func (l Layout) File(parts ...string) string {
	return filepath.Join(append([]string{l.State}, parts...)...)
}

// Prepare writes keys, certificates and configuration.
func (l Layout) Prepare() error {
	for _, directory := range []string{"pki", "logs", "kubelet"} {
		if err := os.MkdirAll(l.File(directory), 0o755); err != nil {
			return err
		}
	}
	directory := l.File("pki")
	authority, err := pki.NewAuthority(directory)
	if err != nil {
		return err
	}
	node := network.Node.String()
	for _, identity := range []pki.Identity{
		{Name: "apiserver", User: "kube-apiserver", IPs: []string{node, network.APIService.String(), "127.0.0.1"}, Hosts: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"}},
		{Name: "kubelet-server", User: "system:node:" + Node, Group: "system:nodes", IPs: []string{node}, Hosts: []string{Node}},
		{Name: "apiserver-kubelet-client", User: "apiserver-kubelet-client", Group: "system:masters"},
		{Name: "admin", User: "admin", Group: "system:masters"},
		// The node also assigns load balancer addresses and answers DNS: more than a node may.
		{Name: "kubelet", User: "process-kubelet", Group: "system:masters"},
		{Name: "controller-manager", User: "system:kube-controller-manager"},
		{Name: "scheduler", User: "system:kube-scheduler"},
		{Name: "proxy", User: "system:kube-proxy"},
	} {
		if err := authority.Issue(identity); err != nil {
			return err
		}
	}
	for _, name := range []string{"admin", "kubelet", "controller-manager", "scheduler", "proxy"} {
		if _, err := pki.Kubeconfig(directory, name, name, Server); err != nil {
			return err
		}
	}
	if err := pki.IssueTokenKey(directory); err != nil {
		return err
	}
	return os.WriteFile(l.File("pki", "proxy.yaml"), []byte(l.proxyConfig()), 0o600)
}

// Programs lists what runs, in the order of starting.
func (l Layout) Programs() []Component {
	node := network.Node.String()
	key := func(name string) string { return l.File("pki", name) }
	program := func(name string, flags ...string) Component {
		return Component{Name: name, Argv: append([]string{filepath.Join(l.Binaries, name)}, flags...)}
	}
	return []Component{
		program("etcd",
			"--name=etcd", "--data-dir="+l.File("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=etcd=http://127.0.0.1:2380"),
		program("kube-apiserver",
			"--etcd-servers=http://127.0.0.1:2379",
			"--bind-address="+node, "--advertise-address="+node, "--secure-port=6443",
			"--service-cluster-ip-range="+network.Services.String(),
			"--tls-cert-file="+key("apiserver.crt"), "--tls-private-key-file="+key("apiserver.key"), "--client-ca-file="+key("ca.crt"),
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local", "--service-account-key-file="+key("sa.pub"), "--service-account-signing-key-file="+key("sa.key"),
			"--authorization-mode=RBAC", "--anonymous-auth=true",
			"--kubelet-client-certificate="+key("apiserver-kubelet-client.crt"), "--kubelet-client-key="+key("apiserver-kubelet-client.key"), "--kubelet-certificate-authority="+key("ca.crt"),
			"--kubelet-preferred-address-types=InternalIP",
			// Nothing would take the taint away: the node lifecycle controller is off.
			"--disable-admission-plugins=TaintNodesByCondition",
			"--profiling=false", "--enable-priority-and-fairness=false"),
		program("kube-controller-manager",
			"--kubeconfig="+key("controller-manager.kubeconfig"), "--authorization-kubeconfig="+key("controller-manager.kubeconfig"), "--authentication-skip-lookup=true",
			"--bind-address=127.0.0.1", "--leader-elect=false",
			// Without it the controllers may not do all that they do: kube-root-ca.crt would be missing.
			"--use-service-account-credentials=true",
			"--controllers="+strings.Join(controllers, ","),
			"--service-account-private-key-file="+key("sa.key"), "--root-ca-file="+key("ca.crt"),
			"--concurrent-gc-syncs=20", "--kube-api-qps=200", "--kube-api-burst=400"),
		program("kube-scheduler",
			"--kubeconfig="+key("scheduler.kubeconfig"), "--authorization-kubeconfig="+key("scheduler.kubeconfig"), "--authentication-skip-lookup=true",
			"--bind-address=127.0.0.1", "--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400"),
		program("kube-proxy", "--config="+key("proxy.yaml")),
	}
}

// Every controller but those for clouds, disks, certificates of nodes and the health of nodes.
var controllers = []string{
	"clusterrole-aggregation-controller", "cronjob-controller", "daemonset-controller", "deployment-controller",
	"disruption-controller", "endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller",
	"garbage-collector-controller", "horizontal-pod-autoscaler-controller", "job-controller", "namespace-controller",
	"pod-garbage-collector-controller", "replicaset-controller", "resourcequota-controller",
	"root-ca-certificate-publisher-controller", "serviceaccount-controller", "serviceaccount-token-controller",
	"statefulset-controller", "ttl-after-finished-controller", "validatingadmissionpolicy-status-controller",
}

func (l Layout) proxyConfig() string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %s
clientConnection: {kubeconfig: %s, qps: 200, burst: 400}
detectLocalMode: ClusterCIDR
clusterCIDR: %s
nftables: {minSyncPeriod: 5ms, syncPeriod: 30s}
# The limits are the machine's: a namespace cannot set them.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nodePortAddresses: [primary]
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
`, Node, l.File("pki", "proxy.kubeconfig"), network.Pods)
}
