//! Certificates for the demonstration, as Secret manifests, and a ConfigMap with their authority: made
//! on every start, never kept.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Namespace and name of each Secret, and the host it is for.
const SECRETS: [(&str, &str, &str); 9] = [
    ("istio-system", "httpbin-credential", "httpbin.example.com"),
    ("istio-system", "store-credential", "store.example.com"),
    ("istio-system", "catalog-credential", "catalog.example.com"),
    (
        "istio-system",
        "webapp-credential-mtls",
        "webapp.example.com",
    ),
    ("default", "foo-example-com-cert", "foo.example.com"),
    (
        "default",
        "wildcard-example-com-cert",
        "*.wildcard.example.com",
    ),
    ("default", "clients-example-com-cert", "clients.example.com"),
    (
        "default",
        "terminated-example-com-cert",
        "terminated.example.com",
    ),
    ("default", "secure-svc-cert", "secure.example.com"),
];

/// Writes the Secrets below `directory`; gives the path of the certification authority's
/// certificate, for `curl --cacert`.
pub(super) fn write(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
        .distinguished_name
        .push(DnType::CommonName, "Gwanmun demonstration");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let mut manifest = String::new();
    for (namespace, name, host) in SECRETS {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        manifest.push_str(&secret(
            namespace,
            name,
            [&certificate.pem(), &key.serialize_pem(), &authority.pem()],
        ));
    }
    manifest.push_str(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: example-ca\n  namespace: default\n\
         data:\n  ca.crt: |\n{}",
        block(&authority.pem())
    ));
    fs::write(directory.join("secrets.yaml"), manifest)?;
    let path = directory.join("ca.crt");
    fs::write(&path, authority.pem())?;
    Ok(path)
}

/// A Secret manifest with its content as text.
fn secret(namespace: &str, name: &str, [certificate, key, authority]: [&str; 3]) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata:\n  name: {name}\n  namespace: {namespace}\n\
         stringData:\n  tls.crt: |\n{}  tls.key: |\n{}  ca.crt: |\n{}---\n",
        block(certificate),
        block(key),
        block(authority)
    )
}

fn block(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
