//! The text that Prometheus gets.

use super::*;
use crate::{
    Config, Workload,
    cluster::{Cluster, Endpoint},
    telemetry::{Exchange, Flag, HttpVersion, ResponseFlags},
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

fn telemetry() -> Arc<Telemetry> {
    let config = Config {
        workload: Workload {
            name: "istio-ingressgateway".to_owned(),
            namespace: "istio-system".to_owned(),
            app: "ingress".to_owned(),
            version: "v7".to_owned(),
            cluster: "Kubernetes".to_owned(),
        },
        ..Config::default()
    };
    Telemetry::with_sink(&config, Box::new(std::io::sink())).unwrap()
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::for_test("outbound|9080||reviews.default.svc.cluster.local");
    let mut config = (*cluster.config).clone();
    config.identity = gwanmun_ir::ClusterIdentity {
        service: "reviews.default.svc.cluster.local".to_owned(),
        service_name: "reviews".to_owned(),
        service_namespace: "default".to_owned(),
    };
    cluster.config = Arc::new(config);
    cluster
}

fn endpoint() -> Endpoint {
    let identity = gwanmun_ir::EndpointIdentity {
        workload: "reviews-v1".to_owned(),
        namespace: "default".to_owned(),
        app: "reviews".to_owned(),
        version: "v1".to_owned(),
    };
    let address = SocketAddr::from(([10, 0, 0, 1], 9080));
    Endpoint::new(address, Arc::new(identity), Arc::default())
}

fn metrics(telemetry: &Arc<Telemetry>, cluster: Arc<Cluster>) -> Metrics {
    let clusters: Clusters = Arc::new(
        [(cluster.config.key.clone(), cluster)]
            .into_iter()
            .collect(),
    );
    Metrics::new(
        Arc::clone(telemetry),
        Arc::new(move || Arc::clone(&clusters)),
        Arc::new(Vec::new),
    )
}

fn value(text: &str, starts: &str, contains: &[&str]) -> Option<String> {
    text.lines()
        .find(|line| line.starts_with(starts) && contains.iter().all(|part| line.contains(part)))
        .and_then(|line| line.rsplit(' ').next())
        .map(str::to_owned)
}

/// Two workers that each saw a served, a failed and an unrouted request.
fn after_some_requests() -> String {
    let telemetry = telemetry();
    let cluster = Arc::new(cluster());
    let endpoint = endpoint();
    let address = SocketAddr::from(([127, 0, 0, 1], 8080));
    let listener = telemetry.listener(address);
    let start = Instant::now();
    let served = || Exchange {
        end: start + Duration::from_micros(2500),
        method: Some("GET"),
        version: Some(HttpVersion::Http11),
        status: 200,
        details: Some("via_upstream"),
        bytes_sent: 700,
        cluster: Some(&cluster),
        endpoint: Some(&endpoint),
        tries: 1,
        listener: Some(&listener),
        ..Exchange::new(start, address, address)
    };
    for _ in 0..2 {
        let shard = telemetry.shard();
        shard.record(&served());
        shard.record(&Exchange {
            status: 503,
            flags: ResponseFlags::one(Flag::Urx).with(Flag::Uf),
            details: None,
            endpoint: None,
            tries: 3,
            ..served()
        });
        shard.record(&Exchange {
            status: 404,
            flags: ResponseFlags::one(Flag::Nr),
            details: Some("route_not_found"),
            cluster: None,
            endpoint: None,
            tries: 0,
            ..served()
        });
    }
    listener.opened();
    metrics(&telemetry, Arc::clone(&cluster)).text()
}

#[test]
fn requests_appear_with_istios_full_label_set_summed_over_workers() {
    let text = after_some_requests();
    let labels = "{reporter=\"source\",source_workload=\"istio-ingressgateway\",\
        source_workload_namespace=\"istio-system\",source_principal=\"unknown\",\
        source_app=\"ingress\",source_version=\"v7\",source_cluster=\"Kubernetes\",\
        source_canonical_service=\"ingress\",source_canonical_revision=\"v7\",\
        destination_workload=\"reviews-v1\",destination_workload_namespace=\"default\",\
        destination_principal=\"unknown\",destination_app=\"reviews\",\
        destination_version=\"v1\",\
        destination_service=\"reviews.default.svc.cluster.local\",\
        destination_service_name=\"reviews\",destination_service_namespace=\"default\",\
        destination_cluster=\"unknown\",destination_canonical_service=\"reviews\",\
        destination_canonical_revision=\"v1\",request_protocol=\"http\",response_code=\"200\",\
        grpc_response_status=\"\",response_flags=\"-\",connection_security_policy=\"unknown\"";
    let line = format!("istio_requests_total{labels}}} 2\n");
    assert!(text.contains(&line), "{text}");
}

#[test]
fn histograms_have_envoys_buckets() {
    let text = after_some_requests();
    let of = |name: &str| format!("istio_request_duration_milliseconds_{name}");
    let reviews = ["reviews-v1"];
    assert_eq!(value(&text, &of("count"), &reviews).as_deref(), Some("2"));
    assert_eq!(value(&text, &of("sum"), &reviews).as_deref(), Some("5"));
    for (le, expected) in [("1", "0"), ("5", "2"), ("3600000", "2"), ("+Inf", "2")] {
        let le = format!("le=\"{le}\"");
        let found = value(&text, &of("bucket"), &["reviews-v1", &le]);
        assert_eq!(found.as_deref(), Some(expected), "{le}");
    }
    let bytes = value(&text, "istio_response_bytes_sum", &reviews);
    assert_eq!(bytes.as_deref(), Some("1400"));
}

#[test]
fn events_appear_under_envoys_names() {
    let text = after_some_requests();
    for (starts, contains, expected) in [
        (
            "istio_requests_total",
            &["response_flags=\"URX,UF\""][..],
            "2",
        ),
        (
            "istio_requests_total",
            &["404", "destination_service=\"unknown\""],
            "2",
        ),
        ("istio_build", &["component=\"proxy\""], "1"),
        (
            "envoy_cluster_upstream_rq_total",
            &["outbound|9080||reviews"],
            "8",
        ),
        (
            "envoy_cluster_upstream_rq_completed",
            &["outbound|9080||reviews"],
            "4",
        ),
        (
            "envoy_cluster_upstream_rq{",
            &["response_code=\"503\""],
            "2",
        ),
        (
            "envoy_cluster_upstream_rq{",
            &["response_code_class=\"5xx\""],
            "2",
        ),
        ("envoy_cluster_upstream_rq_retry{", &["outbound"], "4"),
        (
            "envoy_http_downstream_rq{",
            &["response_code_class=\"4xx\""],
            "2",
        ),
        ("envoy_http_no_route", &["outbound_127.0.0.1_8080"], "2"),
        (
            "envoy_listener_downstream_cx_active",
            &["127.0.0.1_8080"],
            "1",
        ),
        ("gwanmun_config_epoch", &[], "0"),
        ("envoy_server_live", &[], "1"),
    ] {
        let found = value(&text, starts, contains);
        assert_eq!(
            found.as_deref(),
            Some(expected),
            "{starts} {contains:?}\n{text}"
        );
    }
}

#[test]
fn clusters_that_were_never_used_have_no_series() {
    let telemetry = telemetry();
    let text = metrics(&telemetry, Arc::new(cluster())).text();
    assert!(!text.contains("reviews"), "{text}");
}
