// One GET over TLS with crypto/tls, twice on sessions of one cache; prints how each went.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	address, name, authority, version, alpn, certificate, key :=
		os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6], os.Args[7]
	pem, err := os.ReadFile(authority)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	number := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[version]
	config := &tls.Config{
		RootCAs: roots, ServerName: name, MinVersion: number, MaxVersion: number,
		NextProtos: []string{alpn}, ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	if certificate != "-" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		check(err)
		config.Certificates = []tls.Certificate{pair}
	}
	for range 2 {
		connection, err := tls.Dial("tcp", address, config)
		check(err)
		state := connection.ConnectionState()
		status := "h2"
		if state.NegotiatedProtocol == "h2" {
			// The server's settings.
			_, err = io.ReadFull(connection, make([]byte, 9))
			check(err)
		} else {
			fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name)
			answer, err := io.ReadAll(connection)
			check(err)
			text := string(answer)
			status = strings.Split(text, " ")[1] + " " + text[strings.LastIndex(text, "\n")+1:]
		}
		session := "new"
		if state.DidResume {
			session = "resumed"
		}
		protocol := state.NegotiatedProtocol
		if protocol == "" {
			protocol = "-"
		}
		fmt.Println(version, protocol, session, status)
		connection.Close()
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
