//! Certificates that end: what reports, metrics and the admin interface say.

#![cfg(test)]

mod support;

use gwanmun_ir::{Key, SecretKey, Severity};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use support::{TestGateway, build::*, client::get, eventually, tls::Authority};

const DAY: Duration = Duration::from_secs(86_400);

fn start() -> (TestGateway, SocketAddr, SocketAddr) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let gateway = TestGateway::with(|config| {
        config.admin = Some(any);
        config.metrics = Some(any);
    });
    let admin = gateway.gateway().admin_address().unwrap();
    let metrics = gateway.gateway().metrics_address().unwrap();
    (gateway, admin, metrics)
}

#[test]
fn the_end_of_a_certificate_is_reported_when_it_comes_near_and_when_it_is_there() {
    let (gateway, admin, metrics) = start();
    let authority = Authority::new();
    let now = SystemTime::now();
    let ending = |end: SystemTime| {
        authority.issue_as(&["a.example.com"], |params| params.not_after = end.into())
    };
    let near = now + 30 * DAY + Duration::from_secs(3);
    let (soon, last) = (ending(near), ending(now + Duration::from_secs(4)));
    let fresh = authority.issue(&["a.example.com"]);
    let report = gateway.serve(vec![
        secret("soon", &soon.certificate, &soon.key),
        secret("fresh", &fresh.certificate, &fresh.key),
        anchors("ca", &authority.certificate(), None),
    ]);
    assert_eq!(report.rejected, []);
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    gateway.gateway().on_report(move || {
        count.fetch_add(1, SeqCst);
    });
    let messages = || -> Vec<String> {
        let rejected = gateway.gateway().report().rejected;
        let told = rejected.into_iter().map(|one| {
            assert_eq!(one.severity, Severity::Degraded);
            assert_eq!(
                one.source,
                source(one.key.to_string().split(' ').next_back().unwrap())
            );
            format!("{} {}", one.key, one.message)
        });
        told.collect()
    };
    eventually("it comes near", || messages().len() == 1);
    assert!(messages()[0].contains("soon"), "{:?}", messages());
    assert!(messages()[0].contains("in less than 30 days"));
    eventually("somebody is told", || told.load(SeqCst) == 1);

    let report = gateway.upsert(vec![secret("last", &last.certificate, &last.key)]);
    assert_eq!(report.rejected.len(), 2, "{report:?}");
    eventually("it is there", || {
        messages().iter().any(|text| text.contains(" ended on "))
    });
    eventually("somebody is told", || told.load(SeqCst) >= 2);

    let text = get(metrics, "x", "/metrics").text();
    let line = |secret: &str| {
        let name = "gwanmun_certificate_expiry_timestamp_seconds";
        let label = format!("secret=\"{secret}\"");
        text.lines()
            .find(|line| line.starts_with(name) && line.contains(&label))
            .unwrap_or_else(|| panic!("{text}"))
    };
    let end = near.duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(line("soon").ends_with(&format!(" {end}")), "{text}");
    assert!(line("soon").contains("kind=\"certificate\""), "{text}");
    assert!(line("ca").contains("kind=\"authority\""), "{text}");
    assert!(text.contains("\nenvoy_server_days_until_first_cert_expiring 0\n"));

    let certs = get(admin, "localhost", "/certs").text();
    assert!(certs.contains("ended on"), "{certs}");
    let gone = ["soon", "last"].map(|name| Key::Secret(SecretKey::new(name)));
    assert_eq!(gateway.remove(gone.to_vec()).rejected, []);
}

#[test]
fn the_admin_interface_says_why_a_secret_is_not_used() {
    let (gateway, admin, _) = start();
    let authority = Authority::new();
    let (one, other) = (authority.issue(&["one"]), authority.issue(&["other"]));
    gateway.serve(vec![
        secret("mixed", &one.certificate, &other.key),
        secret("good", &one.certificate, &one.key),
    ]);
    let page: serde_json::Value = get(admin, "localhost", "/certs").text().parse().unwrap();
    let certificates = page["certificates"].as_array().unwrap();
    assert_eq!(certificates.len(), 2);
    let told = certificates.iter().filter_map(|one| one.get("gwanmun"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{page}");
    assert_eq!(told[0]["path"], "mixed");
    let message = told[0]["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("does not belong"), "{message}");
    assert!(!page.to_string().contains("PRIVATE"));
}
