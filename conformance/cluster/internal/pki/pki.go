// Package pki makes the keys and certificates of a cluster that lives for a day.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const lifetime = 10 * 365 * 24 * time.Hour

// Authority signs certificates and writes them into its directory.
type Authority struct {
	directory   string
	certificate *x509.Certificate
	key         crypto.Signer
}

// NewAuthority makes a certificate authority: ca.crt, ca.key.
func NewAuthority(directory string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "gwanmun-cluster-ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	a := &Authority{directory: directory, certificate: template, key: key}
	if a.certificate, err = a.sign("ca", template, key); err != nil {
		return nil, err
	}
	return a, nil
}

// Identity says whom a certificate is for.
type Identity struct {
	// Name of the files.
	Name string
	// User and Group are what Kubernetes takes them for.
	User, Group string
	// IPs and Hosts make it a server's.
	IPs, Hosts []string
}

// Issue writes NAME.crt and NAME.key.
func (a *Authority) Issue(identity Identity) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: identity.User},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames: identity.Hosts,
	}
	if identity.Group != "" {
		template.Subject.Organization = []string{identity.Group}
	}
	for _, ip := range identity.IPs {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	if len(identity.IPs)+len(identity.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	_, err = a.sign(identity.Name, template, key)
	return err
}

func (a *Authority) sign(name string, template *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	// Clocks of other machines play no part, but a clock may be set back.
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(lifetime)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", name, err)
	}
	if err := write(filepath.Join(a.directory, name+".crt"), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := write(filepath.Join(a.directory, name+".key"), "PRIVATE KEY", encoded); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// IssueTokenKey writes sa.key and sa.pub, which sign and verify tokens of ServiceAccounts.
func IssueTokenKey(directory string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(directory, "sa.key"), "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)); err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return write(filepath.Join(directory, "sa.pub"), "PUBLIC KEY", public)
}

func write(path, kind string, data []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600)
}

// Kubeconfig writes NAME.kubeconfig into the directory: the identity of NAME.crt, its data inline.
func Kubeconfig(directory, name, identity, server string) (string, error) {
	var files [3][]byte
	for i, file := range []string{"ca.crt", identity + ".crt", identity + ".key"} {
		data, err := os.ReadFile(filepath.Join(directory, file))
		if err != nil {
			return "", err
		}
		files[i] = data
	}
	// []byte is base64 in JSON, which is YAML.
	config, err := json.MarshalIndent(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "gwanmun",
		"clusters": []any{map[string]any{"name": "gwanmun", "cluster": map[string]any{"server": server, "certificate-authority-data": files[0]}}},
		"users":    []any{map[string]any{"name": identity, "user": map[string]any{"client-certificate-data": files[1], "client-key-data": files[2]}}},
		"contexts": []any{map[string]any{"name": "gwanmun", "context": map[string]any{"cluster": "gwanmun", "user": identity}}},
	}, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(directory, name+".kubeconfig")
	return path, os.WriteFile(path, config, 0o600)
}
