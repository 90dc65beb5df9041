//! Certification authorities, and certificates that they sign.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use std::fmt::Write as _;

/// A certification authority. All of them have the same name.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Identity {
    /// The certificate as PEM.
    pub(crate) certificate: String,
    /// The key as PEM.
    pub(crate) key: String,
}

impl Authority {
    /// One with a key of its own.
    pub(crate) fn new() -> Self {
        let mut params = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A ConfigMap with its certificate.
    pub(crate) fn config_map(&self, name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  ca.crt: |\n{}---\n",
            indented(&self.pem())
        )
    }

    /// A certificate for a server with these names: hosts, and identities as URIs.
    pub(crate) fn server(&self, names: &[&str]) -> Identity {
        let mut params = named("server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = names
            .iter()
            .map(|name| {
                let value = (*name).try_into().unwrap();
                if name.contains("://") {
                    SanType::URI(value)
                } else {
                    SanType::DnsName(value)
                }
            })
            .collect();
        self.sign(&params)
    }

    /// A certificate for a client, without names but the subject's.
    pub(crate) fn client(&self) -> Identity {
        let mut params = named("client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// A certificate for a client that was valid once.
    pub(crate) fn expired_client(&self) -> Identity {
        let mut params = named("client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Identity {
    /// A Secret with both.
    pub(crate) fn secret(&self, name: &str) -> String {
        let mut text = format!(
            "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: {name}}}\nstringData:\n"
        );
        for (entry, pem) in [("tls.crt", &self.certificate), ("tls.key", &self.key)] {
            _ = write!(text, "  {entry}: |\n{}", indented(pem));
        }
        text + "---\n"
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
