//! What is accepted as certificate, key and trust anchor, and what is said about the rest.

#![cfg(test)]

use gwanmun_certs::{Anchors, Certificate, KeyPair, Problem, San};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as Key,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};

struct Issued {
    certificate: String,
    key: String,
}

fn authority() -> CertifiedIssuer<'static, Key> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Test Root");
    CertifiedIssuer::self_signed(params, Key::generate().unwrap()).unwrap()
}

fn issue(issuer: &CertifiedIssuer<'static, Key>, names: &[&str]) -> Issued {
    let key = Key::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Issued {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

fn problem(certificates: &str, key: &str) -> String {
    KeyPair::parse(certificates, key).unwrap_err().to_string()
}

#[test]
fn a_chain_and_its_key_agree() {
    let root = authority();
    let issued = issue(&root, &["a.example.com", "*.b.example.com", "192.0.2.7"]);
    let chain = format!("{}{}", issued.certificate, root.pem());
    let pair = KeyPair::parse(&chain, &issued.key).unwrap();
    assert_eq!(pair.chain().len(), 2);
    assert_eq!(pair.chain_warning(), None);
    assert_eq!(
        pair.leaf().names(),
        [
            San::Dns("a.example.com".to_owned()),
            San::Dns("*.b.example.com".to_owned()),
            San::Ip([192, 0, 2, 7].into()),
        ]
    );
    assert_eq!(pair.leaf().fingerprint().len(), 64);
    assert!(pair.leaf().issuer().contains("Test Root"));
    let certified = pair.certified(None);
    assert_eq!(certified.cert.len(), 2);
    assert!(!format!("{pair:?}").contains("PRIVATE"));
}

#[test]
fn names_cover_hosts_as_clients_compare_them() {
    let issued = issue(
        &authority(),
        &["a.example.com", "*.b.example.com", "192.0.2.7"],
    );
    let chain = Certificate::parse_chain(&issued.certificate).unwrap();
    let leaf = chain.first().unwrap();
    for (host, expected) in [
        ("a.example.com", true),
        ("x.b.example.com", true),
        ("192.0.2.7", true),
        ("b.example.com", false),
        ("x.y.b.example.com", false),
        ("192.0.2.8", false),
        ("example.com", false),
        ("", false),
    ] {
        assert_eq!(leaf.covers(host), expected, "{host}");
    }
}

#[test]
fn carriage_returns_text_and_other_blocks_do_not_matter() {
    let issued = issue(&authority(), &["a.example.com"]);
    let certificate = format!(
        "subject=/CN=a\r\n{}",
        issued.certificate.replace('\n', "\r\n")
    );
    let key = format!(
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}",
        issued.key
    );
    KeyPair::parse(&certificate, &key).unwrap();
    let combined = format!("{}{}", issued.key, issued.certificate);
    KeyPair::parse(&combined, &combined).unwrap();
}

#[test]
fn other_key_algorithms_are_accepted() {
    let key = Key::generate_for(&PKCS_ED25519).unwrap();
    let params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    KeyPair::parse(&certificate.pem(), &key.serialize_pem()).unwrap();
}

#[test]
fn errors_name_the_block() {
    let root = authority();
    let a = issue(&root, &["a.example.com"]);
    let b = issue(&root, &["b.example.com"]);
    let garbage = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let line = a.certificate.lines().count() + 1;
    for (certificates, key, expected) in [
        (String::new(), a.key.clone(), "certificate: the text is empty".to_owned()),
        (
            "hello".to_owned(),
            a.key.clone(),
            "certificate: no PEM block `CERTIFICATE` found".to_owned(),
        ),
        (
            format!("{}{garbage}", a.certificate),
            a.key.clone(),
            format!("certificate block 2 (line {line}): malformed base64"),
        ),
        (
            not_der.to_owned(),
            a.key.clone(),
            "certificate block 1 (line 1): malformed X.509 certificate".to_owned(),
        ),
        (
            a.certificate.replace("-----END CERTIFICATE-----", ""),
            a.key.clone(),
            "certificate block 1 (line 1): `-----BEGIN CERTIFICATE-----` has no END line".to_owned(),
        ),
        (
            a.certificate.clone(),
            b.key.clone(),
            "private key: the private key does not belong to the certificate `a.example.com`"
                .to_owned(),
        ),
        (
            format!("{}{}", root.pem(), a.certificate),
            a.key.clone(),
            "private key: the private key belongs to block 2: the leaf certificate must come first"
                .to_owned(),
        ),
        (
            a.certificate.clone(),
            a.certificate.clone(),
            "private key: no PEM block `PRIVATE KEY` found".to_owned(),
        ),
        (
            a.certificate.clone(),
            a.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
            "private key block 1 (line 1): the private key is encrypted; store it without a password"
                .to_owned(),
        ),
        (
            a.certificate.clone(),
            format!("{}{}", a.key, b.key),
            "private key: 2 private keys found, expected one".to_owned(),
        ),
    ] {
        assert_eq!(problem(&certificates, &key), expected);
    }
}

#[test]
fn a_broken_chain_is_a_warning() {
    let a = issue(&authority(), &["a.example.com"]);
    let mut other = CertificateParams::new(Vec::<String>::new()).unwrap();
    other
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Stranger");
    let stranger = other.self_signed(&Key::generate().unwrap()).unwrap();
    let pair = KeyPair::parse(&format!("{}{}", a.certificate, stranger.pem()), &a.key).unwrap();
    let warning = pair.chain_warning().unwrap();
    assert!(warning.contains("block 1 `a.example.com`"), "{warning}");
    assert!(warning.contains("block 2 `Stranger`"), "{warning}");
}

#[test]
fn validity_is_asked_with_the_time() {
    let key = Key::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let pair = KeyPair::parse(&certificate.pem(), &key.serialize_pem()).unwrap();
    let validity = pair.leaf().validity();
    assert!(validity.contains(1_590_000_000));
    assert!(!validity.contains(1_500_000_000));
    assert!(validity.is_over(1_700_000_000));
}

#[test]
fn trust_anchors_count_once_each() {
    let root = authority();
    let anchors = Anchors::parse(&format!("{}{}", root.pem(), root.pem()), None).unwrap();
    assert_eq!(anchors.certificates().len(), 1);
    assert_eq!(anchors.roots().len(), 1);
    let error = Anchors::parse("", None).unwrap_err();
    assert_eq!(*error.problem(), Problem::Empty);
}
