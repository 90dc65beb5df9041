// Package probe asks containers how they are, as their pod says.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Supported refuses the probes that cannot be made here: a probe that never runs must not look like one that passes.
func Supported(probe *v1.Probe) error {
	switch {
	case probe == nil, probe.HTTPGet != nil, probe.TCPSocket != nil:
		return nil
	case probe.Exec != nil:
		return errors.New("probes by exec are not supported")
	case probe.GRPC != nil:
		return errors.New("probes by gRPC are not supported")
	}
	return errors.New("a probe does nothing")
}

// Once makes one attempt against the pod's address. An answer in time with a status below 400, or a connection, is a
// success.
func Once(ctx context.Context, probe *v1.Probe, container *v1.Container, ip string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(1, probe.TimeoutSeconds))*time.Second)
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		return get(ctx, probe.HTTPGet, container, ip)
	case probe.TCPSocket != nil:
		port, err := Port(container, probe.TCPSocket.Port)
		if err != nil {
			return err
		}
		if probe.TCPSocket.Host != "" {
			ip = probe.TCPSocket.Host
		}
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(ip, port))
		if err != nil {
			return err
		}
		return connection.Close()
	}
	return Supported(probe)
}

// The certificate of a probed server is nobody's business, and a redirect is an answer.
var client = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func get(ctx context.Context, action *v1.HTTPGetAction, container *v1.Container, ip string) error {
	port, err := Port(container, action.Port)
	if err != nil {
		return err
	}
	scheme := "http"
	if action.Scheme == v1.URISchemeHTTPS {
		scheme = "https"
	}
	if action.Host != "" {
		ip = action.Host
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(ip, port)+"/", nil)
	if err != nil {
		return err
	}
	if request.URL, err = request.URL.Parse(action.Path); err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/1.36")
	for _, header := range action.HTTPHeaders {
		if http.CanonicalHeaderKey(header.Name) == "Host" {
			request.Host = header.Value
		} else {
			request.Header.Add(header.Name, header.Value)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", response.StatusCode)
	}
	return nil
}

// Port finds the number of a named port.
func Port(container *v1.Container, port intstr.IntOrString) (string, error) {
	if port.Type == intstr.Int {
		return port.String(), nil
	}
	for _, declared := range container.Ports {
		if declared.Name == port.StrVal {
			return strconv.Itoa(int(declared.ContainerPort)), nil
		}
	}
	if _, err := strconv.ParseUint(port.StrVal, 10, 16); err == nil {
		return port.StrVal, nil
	}
	return "", fmt.Errorf("container %s has no port named %s", container.Name, port.StrVal)
}

// Verdict counts results of one probe until one outweighs the other.
type Verdict struct {
	success, failure int32
	passed           int32
	failed           int32
}

// NewVerdict takes the thresholds of a probe.
func NewVerdict(probe *v1.Probe) *Verdict {
	failure := probe.FailureThreshold
	if failure == 0 {
		failure = 3
	}
	return &Verdict{success: max(1, probe.SuccessThreshold), failure: failure}
}

// Add counts a result and returns the verdict, if there is one: good says which.
func (v *Verdict) Add(err error) (good, decided bool) {
	if err == nil {
		v.passed, v.failed = v.passed+1, 0
		return true, v.passed >= v.success
	}
	v.passed, v.failed = 0, v.failed+1
	return false, v.failed >= v.failure
}

// Period is the time between two attempts.
func Period(probe *v1.Probe) time.Duration {
	if probe.PeriodSeconds == 0 {
		return 10 * time.Second
	}
	return time.Duration(probe.PeriodSeconds) * time.Second
}
