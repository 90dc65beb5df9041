//! Small manifests that tests are made of.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// A part of 127.0.0.0/8 that no other test uses: backends get fixed ports there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network(u8, u8);

impl Network {
    /// Another one.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let base = u16::try_from(std::process::id() % 100).unwrap() * 256;
        loop {
            let [second, third] = (base + NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
            // Above what the examples and the demonstration use.
            let network = Self(100 + second % 150, third);
            if TcpListener::bind((network.address(1).parse::<Ipv4Addr>().unwrap(), 9000)).is_ok() {
                return network;
            }
        }
    }

    /// One of its addresses.
    pub(crate) fn address(self, host: u8) -> String {
        format!("127.{}.{}.{host}", self.0, self.1)
    }
}

/// A Service on port 80 with one endpoint, port 9000 of this address.
pub(crate) fn backend(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  ports: [{{name: http, port: 80, targetPort: 9000}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: 9000}}]
endpoints: [{{addresses: [{address}], targetRef: {{kind: Pod, name: {name}-pod}}}}]
---
"
    )
}

/// A Gateway API Gateway on port 80 and a route of a host to a Service.
pub(crate) fn gateway_api_route(host: &str, service: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: gwanmun
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route}}
spec:
  parentRefs: [{{name: gw}}]
  hostnames: [{host}]
  rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]
---
"
    )
}

/// An Istio Gateway with one plaintext server.
pub(crate) fn istio_gateway(port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: istio-gw}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}]
---
"
    )
}

/// A VirtualService of a host on that Gateway.
pub(crate) fn virtual_service(name: &str, host: &str, service: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [{host}]
  gateways: [istio-gw]
  http: [{{route: [{{destination: {{host: {service}, port: {{number: 80}}}}}}]}}]
---
"
    )
}
