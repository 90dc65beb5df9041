//! The verified certificate of a client, and how upstreams are told of it.

use gwanmun_certs::{Certificate, San};
use rustls_pki_types::CertificateDer;
use std::{fmt::Write, sync::OnceLock};

/// The verified certificate of a client.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    certificate: Certificate,
    intermediates: Vec<CertificateDer<'static>>,
    forwarded: OnceLock<Box<str>>,
}

impl ClientCertificate {
    /// Wraps a certificate that was verified with these that came along.
    pub(crate) fn new(
        certificate: Certificate,
        intermediates: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self {
            certificate,
            intermediates,
            forwarded: OnceLock::new(),
        }
    }

    /// The certificate itself.
    pub(crate) fn leaf(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// What came along, to find the way to an anchor.
    pub(crate) fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.intermediates
    }

    /// The element of [`x-forwarded-client-cert`] that stands for it, with what Istio has Envoy
    /// say in Envoy's order: hash, certificate, subject, URI and DNS names. Printable ASCII; no
    /// name can end its value.
    ///
    /// [`x-forwarded-client-cert`]: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
    pub(crate) fn forwarded(&self) -> &str {
        self.forwarded
            .get_or_init(|| forwarded(&self.certificate).into())
    }
}

fn forwarded(certificate: &Certificate) -> String {
    let mut text = format!("Hash={};Cert=\"", certificate.fingerprint());
    for byte in certificate.pem().bytes() {
        // What RFC 3986 leaves unreserved stays.
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte));
            }
            _ => escape(&mut text, byte),
        }
    }
    text.push_str("\";Subject=\"");
    text.push_str(&certificate.subject_rfc2253());
    text.push('"');
    let names = certificate.names();
    let mut uris = names.iter().filter_map(|name| {
        let San::Uri(uri) = name else { return None };
        Some(uri.as_str())
    });
    // Envoy says it without a value, too.
    let first = uris.next().unwrap_or_default();
    for uri in std::iter::once(first).chain(uris) {
        text.push_str(";URI=");
        value(&mut text, uri);
    }
    for name in names {
        if let San::Dns(dns) = name {
            text.push_str(";DNS=");
            value(&mut text, dns);
        }
    }
    text
}

/// A value, in quotes where it has a character that separates.
fn value(text: &mut String, value: &str) {
    let quoted = value.contains([',', ';', '=', '"', '\\', ' ']);
    if quoted {
        text.push('"');
    }
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => escape(text, byte),
        }
    }
    if quoted {
        text.push('"');
    }
}

fn escape(text: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "%{byte:02X}");
}
