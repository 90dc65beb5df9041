package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func TestCertificatesVerifyAndNameWhomTheyAreFor(t *testing.T) {
	directory := t.TempDir()
	authority, err := NewAuthority(directory)
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Issue(Identity{Name: "admin", User: "admin", Group: "system:masters"}); err != nil {
		t.Fatal(err)
	}
	if err := authority.Issue(Identity{Name: "server", User: "api", IPs: []string{"198.18.0.1"}, Hosts: []string{"kubernetes"}}); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	pem, _ := os.ReadFile(filepath.Join(directory, "ca.crt"))
	roots.AppendCertsFromPEM(pem)
	for name, usage := range map[string]x509.ExtKeyUsage{"admin": x509.ExtKeyUsageClientAuth, "server": x509.ExtKeyUsageServerAuth} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(directory, name+".crt"), filepath.Join(directory, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "admin" && (pair.Leaf.Subject.Organization[0] != "system:masters" || len(pair.Leaf.DNSNames) > 0) {
			t.Errorf("%s: %s", name, pair.Leaf.Subject)
		}
	}
	path, err := Kubeconfig(directory, "host", "admin", "https://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil || config.Host != "https://127.0.0.1:1" || len(config.CertData) == 0 || len(config.CAData) == 0 {
		t.Errorf("%+v, %v", config, err)
	}
}
