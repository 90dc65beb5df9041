use super::*;
use gwanmun_api::manifest;

fn store(text: &str) -> Store {
    let read = manifest::combine([manifest::read("t.yaml", text, "default")]);
    assert_eq!(read.findings, []);
    let mut store = Store::default();
    for object in read.objects {
        store.apply(object);
    }
    store
}

fn request(host: &str, port: u16) -> BackendRequest<'_> {
    BackendRequest {
        host,
        client_namespace: "istio-system",
        port: Some(port),
        subset: "",
        require_http2: false,
        transport: Transport::Tcp,
        tls: None,
    }
}

/// One line per cluster and endpoint.
fn show(text: &str, requests: &[BackendRequest<'_>]) -> String {
    use std::fmt::Write;
    let store = store(text);
    let mut sink = Sink::default();
    let mut out = String::new();
    for request in requests {
        match cluster(&store, &Options::default(), &mut sink, request) {
            Ok(key) => writeln!(out, "{key}").unwrap(),
            Err(error) => writeln!(out, "error: {error}").unwrap(),
        }
    }
    let translation = sink.finish();
    for resource in translation.resources.values() {
        match resource {
            Resource::Cluster(c) => match &c.discovery {
                Discovery::Dns { hosts, mode } => {
                    let hosts: Vec<_> = hosts
                        .iter()
                        .map(|h| format!("{}:{} x{}", h.host, h.port, h.weight))
                        .collect();
                    writeln!(out, "{} {:?} {mode:?} {hosts:?}", c.key, c.protocol).unwrap();
                }
                Discovery::Endpoints => {
                    writeln!(out, "{} {:?} of {}", c.key, c.protocol, c.source).unwrap();
                }
            },
            Resource::Endpoints(set) => {
                for e in &set.endpoints {
                    let i = &e.identity;
                    writeln!(
                        out,
                        "  {} {:?} x{} [{} {} {} {}]",
                        e.address, e.health, e.weight, i.namespace, i.workload, i.app, i.version
                    )
                    .unwrap();
                }
            }
            Resource::Listener(_)
            | Resource::Chain(_)
            | Resource::Route(_)
            | Resource::L4Route(_)
            | Resource::Secret(_) => {
                panic!("{resource:?}")
            }
        }
    }
    for finding in translation.findings {
        writeln!(out, "{finding}").unwrap();
    }
    out
}

const ECHO: &str = "echo.default.svc.cluster.local";

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports:
  - {name: http, port: 80, targetPort: web}
  - {name: grpc-api, port: 9000}
  - {name: h2c, port: 81, appProtocol: kubernetes.io/h2c}
  - {name: dns, port: 53, protocol: UDP}
---
";

#[test]
fn endpoints_of_all_slices_are_merged_by_port_name_with_their_health() {
    let slices = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: echo-1, labels: {kubernetes.io/service-name: echo}}
addressType: IPv4
ports: [{name: other, port: 1}, {name: http, port: 8080}, {name: dns, protocol: UDP, port: 53}]
endpoints:
- addresses: [10.0.0.2]
  conditions: {ready: true}
  targetRef: {kind: Pod, name: echo-5d-x}
- addresses: [127.0.0.1]
- addresses: [10.0.0.3]
  conditions: {ready: false, serving: true, terminating: true}
- addresses: [10.0.0.4]
  conditions: {ready: false}
- addresses: [10.0.0.5]
  conditions: {ready: false, serving: false, terminating: true}
- addresses: [nonsense]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: echo-2, labels: {kubernetes.io/service-name: echo}}
addressType: IPv6
ports: [{name: http, port: 8080}]
endpoints: [{addresses: ['fd00::2']}, {addresses: ['fd00::2']}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: echo-3, labels: {kubernetes.io/service-name: echo}}
addressType: IPv6
ports: null
endpoints: null
---
apiVersion: v1
kind: Pod
metadata:
  name: echo-5d-x
  labels: {app: echo, version: v1, pod-template-hash: 5d}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: echo-5d, uid: u, controller: true}]
status: {podIP: 10.0.0.2, phase: Running, hostIP: 192.0.2.1}
";
    insta::assert_snapshot!(show(&format!("{SERVICE}{slices}"), &[request(ECHO, 80)]), @r"
    outbound|80||echo.default.svc.cluster.local
    outbound|80||echo.default.svc.cluster.local Http1 of Service default/echo
      10.0.0.2:8080 Healthy x1 [default echo echo v1]
      10.0.0.3:8080 Draining x1 [default   ]
      10.0.0.4:8080 Unhealthy x1 [default   ]
      10.0.0.5:8080 Unhealthy x1 [default   ]
      127.0.0.1:8080 Healthy x1 [default   ]
      [fd00::2]:8080 Healthy x1 [default   ]
    warning GWM0004 EndpointSlice default/echo-1 endpoints[5].addresses[0]: `nonsense` is not an IP address; ignored (t.yaml:30)
    ");
}

#[test]
fn what_does_not_exist_is_an_error_and_adds_nothing() {
    insta::assert_snapshot!(
        show(SERVICE, &[
            request("nobody.default.svc.cluster.local", 80),
            request("example.com", 80),
            request(ECHO, 8080),
            request(ECHO, 53),
            BackendRequest { port: None, ..request(ECHO, 0) },
            BackendRequest { subset: "v1", ..request(ECHO, 80) },
        ]),
        @r"
    error: `nobody.default.svc.cluster.local` does not exist
    error: `example.com` does not exist
    error: `echo.default.svc.cluster.local` has no port 8080
    error: port 53 of `echo.default.svc.cluster.local` is UDP, not TCP
    error: `echo.default.svc.cluster.local` has not exactly one port, so the port must be named
    error: subset `v1` of `echo.default.svc.cluster.local` is not defined by any DestinationRule
    "
    );
}

#[test]
fn http2_by_port_or_by_route_are_clusters_of_their_own() {
    let http2 = |port| BackendRequest {
        require_http2: true,
        ..request(ECHO, port)
    };
    insta::assert_snapshot!(
        show(SERVICE, &[request(ECHO, 80), http2(80), request(ECHO, 9000), http2(9000), request(ECHO, 81)]),
        @r"
    outbound|80||echo.default.svc.cluster.local
    outbound|80||echo.default.svc.cluster.local;h2
    outbound|9000||echo.default.svc.cluster.local
    outbound|9000||echo.default.svc.cluster.local
    outbound|81||echo.default.svc.cluster.local
    outbound|80||echo.default.svc.cluster.local Http1 of Service default/echo
    outbound|80||echo.default.svc.cluster.local;h2 Http2 of Service default/echo
    outbound|81||echo.default.svc.cluster.local Http2 of Service default/echo
    outbound|9000||echo.default.svc.cluster.local Http2 of Service default/echo
    warning GWM0010 Service default/echo spec.ports[0]: port 80 has no endpoints, requests get 503: no EndpointSlice belongs to it (t.yaml:8)
    warning GWM0010 Service default/echo spec.ports[1]: port 9000 has no endpoints, requests get 503: no EndpointSlice belongs to it (t.yaml:9)
    warning GWM0010 Service default/echo spec.ports[2]: port 81 has no endpoints, requests get 503: no EndpointSlice belongs to it (t.yaml:10)
    "
    );
}

#[test]
fn external_names_are_resolved_or_followed() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: out}
spec: {type: ExternalName, externalName: httpbin.org., ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: portless}
spec: {type: ExternalName, externalName: httpbin.org}
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: real.default.svc.cluster.local, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: real}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: loop}
spec: {type: ExternalName, externalName: loop.default.svc.cluster.local, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: real, labels: {kubernetes.io/service-name: real}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.0.0.1]}]
";
    insta::assert_snapshot!(
        show(text, &[
            request("out.default.svc.cluster.local", 80),
            request("portless.default.svc.cluster.local", 443),
            request("alias.default.svc.cluster.local", 80),
            request("loop.default.svc.cluster.local", 80),
        ]),
        @r#"
    outbound|80||out.default.svc.cluster.local
    outbound|443||portless.default.svc.cluster.local
    outbound|80||real.default.svc.cluster.local
    outbound|80||loop.default.svc.cluster.local
    outbound|443||portless.default.svc.cluster.local Http1 Strict ["httpbin.org:443 x1"]
    outbound|80||loop.default.svc.cluster.local Http1 Strict ["loop.default.svc.cluster.local:80 x1"]
    outbound|80||out.default.svc.cluster.local Http1 Strict ["httpbin.org:80 x1"]
    outbound|80||real.default.svc.cluster.local Http1 of Service default/real
      10.0.0.1:8080 Healthy x1 [default   ]
    "#
    );
}

const ENTRIES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: static}
spec:
  hosts: [static.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 9000, name: grpc, protocol: GRPC}]
  endpoints:
  - {address: 192.0.2.2, ports: {http: 8888}, weight: 5, labels: {app: x, version: v2}}
  - {address: 192.0.2.1}
  - {address: name.example.com}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: selected}
spec:
  hosts: [selected.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: vm}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-1, labels: {version: v9}}
spec: {address: 192.0.2.9, labels: {app: vm, version: v1}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-2}
spec: {address: 192.0.2.8, labels: {app: other}}
---
apiVersion: v1
kind: Pod
metadata: {name: vm-pod, labels: {app: vm}}
status: {podIP: 10.9.9.9}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dns}
spec:
  hosts: [dns.example.com, other.example.com]
  resolution: DNS
  ports: [{number: 443, name: https, protocol: HTTPS}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dns-endpoints}
spec:
  hosts: [www.example.com]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: us.example.com, ports: {http: 8080}}, {address: eu.example.com, weight: 3}, {address: 'unix:///x'}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: logical}
spec:
  hosts: [logical.example.com]
  resolution: DNS_ROUND_ROBIN
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: none}
spec:
  hosts: [none.example.com, '*.wild.example.com']
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: private}
spec:
  hosts: [private.example.com]
  exportTo: ['.']
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
";

#[test]
fn service_entries_are_static_or_resolved() {
    insta::assert_snapshot!(
        show(ENTRIES, &[
            request("static.example.com", 80),
            request("static.example.com", 9000),
            request("selected.example.com", 80),
            request("DNS.example.com", 443),
            request("www.example.com", 80),
            request("logical.example.com", 80),
            request("none.example.com", 80),
            request("*.wild.example.com", 80),
            request("private.example.com", 80),
            request("dns.example.com", 80),
        ]),
        @r#"
    outbound|80||static.example.com
    outbound|9000||static.example.com
    outbound|80||selected.example.com
    outbound|443||dns.example.com
    outbound|80||www.example.com
    outbound|80||logical.example.com
    outbound|80||none.example.com
    outbound|80||*.wild.example.com
    error: `private.example.com` does not exist
    error: `dns.example.com` has no port 80
    outbound|443||dns.example.com Http1 Strict ["dns.example.com:443 x1"]
    outbound|80||*.wild.example.com Http1 of ServiceEntry default/none
    outbound|80||logical.example.com Http1 Logical ["logical.example.com:80 x1"]
    outbound|80||none.example.com Http1 Strict ["none.example.com:80 x1"]
    outbound|80||selected.example.com Http1 of ServiceEntry default/selected
    outbound|80||static.example.com Http1 of ServiceEntry default/static
    outbound|80||www.example.com Http1 Strict ["us.example.com:8080 x1", "eu.example.com:80 x3"]
    outbound|9000||static.example.com Http2 of ServiceEntry default/static
      10.9.9.9:80 Healthy x1 [default vm-pod vm ]
      192.0.2.9:80 Healthy x1 [default vm-1 vm v9]
      192.0.2.1:8080 Healthy x1 [default   ]
      192.0.2.2:8888 Healthy x5 [default  x v2]
      192.0.2.1:9000 Healthy x1 [default   ]
      192.0.2.2:9000 Healthy x5 [default  x v2]
    warning GWM0004 ServiceEntry default/dns-endpoints spec.endpoints[2].address: `unix:///x` is neither a DNS name nor an IP address; ignored (t.yaml:53)
    warning GWM0004 ServiceEntry default/static spec.endpoints[2].address: `name.example.com` is not an IP address, which endpoints that are not resolved by DNS need; ignored (t.yaml:12)
    warning GWM0009 ServiceEntry default/none spec.resolution: `*.wild.example.com` cannot be resolved by DNS; it has no endpoints (t.yaml:66)
    warning GWM0009 ServiceEntry default/none spec.resolution: resolution NONE has no meaning at a gateway; the host is resolved by DNS (t.yaml:66)
    "#
    );
}

#[test]
fn a_service_selects_workload_entries_too() {
    let text = "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm}
spec: {address: 192.0.2.9, labels: {app: echo}, ports: {http: 8081}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: elsewhere, namespace: other}
spec: {address: 192.0.2.7, labels: {app: echo}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: named}
spec: {address: vm.example.com, labels: {app: echo}}
";
    insta::assert_snapshot!(show(&format!("{SERVICE}{text}"), &[request(ECHO, 80)]), @r"
    outbound|80||echo.default.svc.cluster.local
    outbound|80||echo.default.svc.cluster.local Http1 of Service default/echo
      192.0.2.9:8081 Healthy x1 [default vm echo ]
    warning GWM0004 WorkloadEntry default/named spec.address: `vm.example.com` is not an IP address, which endpoints that are not resolved by DNS need; ignored (t.yaml:27)
    ");
}

#[test]
fn a_clients_own_service_entry_wins_and_private_ones_are_told_apart() {
    let text = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: a}
spec: {hosts: [x.example.com], exportTo: ['.'], resolution: DNS, ports: [{number: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: b, namespace: b}
spec: {hosts: [x.example.com], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 192.0.2.1}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: b2, namespace: b}
spec: {hosts: [x.example.com], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 192.0.2.2}]}
";
    let from = |client_namespace| BackendRequest {
        client_namespace,
        ..request("x.example.com", 80)
    };
    insta::assert_snapshot!(show(text, &[from("c"), from("b"), from("a"), from("a")]), @r#"
    outbound|80||x.example.com
    outbound|80||x.example.com
    outbound|80||x.example.com;client=a
    outbound|80||x.example.com;client=a
    outbound|80||x.example.com Http1 of ServiceEntry b/b
    outbound|80||x.example.com;client=a Http1 Strict ["x.example.com:80 x1"]
      192.0.2.1:80 Healthy x1 [b   ]
      192.0.2.2:80 Healthy x1 [b   ]
    "#);
}

#[test]
fn no_object_is_seen_by_whom_it_is_not_exported_to() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: echo, annotations: {networking.istio.io/exportTo: '., b'}}
spec: {ports: [{port: 80}]}
";
    let from = |client_namespace| BackendRequest {
        client_namespace,
        ..request(ECHO, 80)
    };
    let out = show(text, &[from("a"), from("b"), from("default")]);
    let lines: Vec<&str> = out.lines().take(3).collect();
    assert_eq!(
        lines,
        [
            "error: `echo.default.svc.cluster.local` does not exist",
            "outbound|80||echo.default.svc.cluster.local",
            "outbound|80||echo.default.svc.cluster.local",
        ]
    );
}

const REVIEWS: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}, {name: v3, labels: {version: v3}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reviews-pods, labels: {kubernetes.io/service-name: reviews}}
addressType: IPv4
ports: [{name: http, port: 9080}]
endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: reviews-v1}}]
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v1, labels: {app: reviews, version: v1}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reviews-by-hand, labels: {kubernetes.io/service-name: reviews, version: v2}}
addressType: IPv4
ports: [{name: http, port: 9082}]
endpoints: [{addresses: [127.0.0.1]}]
";

#[test]
fn subsets_go_by_the_labels_of_pods_or_of_hand_written_slices() {
    let subset = |subset| BackendRequest {
        subset,
        ..request("reviews.default.svc.cluster.local", 9080)
    };
    insta::assert_snapshot!(
        show(REVIEWS, &[subset("v1"), subset("v2"), subset("v3"), subset("v4")]),
        @r"
    outbound|9080|v1|reviews.default.svc.cluster.local
    outbound|9080|v2|reviews.default.svc.cluster.local
    outbound|9080|v3|reviews.default.svc.cluster.local
    error: subset `v4` of `reviews.default.svc.cluster.local` is not defined by any DestinationRule
    outbound|9080|v1|reviews.default.svc.cluster.local Http1 of Service default/reviews
    outbound|9080|v2|reviews.default.svc.cluster.local Http1 of Service default/reviews
    outbound|9080|v3|reviews.default.svc.cluster.local Http1 of Service default/reviews
      10.0.0.1:9080 Healthy x1 [default reviews-v1 reviews v1]
      127.0.0.1:9082 Healthy x1 [default   v2]
    warning GWM0010 Service default/reviews spec.ports[0]: port 9080 has no endpoints, requests get 503: no endpoint has the labels of subset `v3` (t.yaml:5)
    ");
}

#[test]
fn one_port_number_may_carry_both_transports() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {ports: [{name: tcp, port: 53, targetPort: 5353}, {name: udp, port: 53, protocol: UDP, targetPort: 5354}, {name: web, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: echo-1, labels: {kubernetes.io/service-name: echo}}
addressType: IPv4
ports: [{name: tcp, port: 5353}, {name: udp, port: 5354, protocol: UDP}]
endpoints: [{addresses: [10.0.0.1]}]
";
    let udp = |port| BackendRequest {
        transport: Transport::Udp,
        ..request(ECHO, port)
    };
    insta::assert_snapshot!(show(text, &[request(ECHO, 53), udp(53), udp(80), udp(81)]), @r"
    outbound|53||echo.default.svc.cluster.local
    outbound|53||echo.default.svc.cluster.local;udp
    error: port 80 of `echo.default.svc.cluster.local` is TCP, not UDP
    error: `echo.default.svc.cluster.local` has no port 81
    outbound|53||echo.default.svc.cluster.local Http1 of Service default/echo
    outbound|53||echo.default.svc.cluster.local;udp Http1 of Service default/echo
      10.0.0.1:5353 Healthy x1 [default   ]
      10.0.0.1:5354 Healthy x1 [default   ]
    ");
}
