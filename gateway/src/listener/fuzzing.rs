//! What must hold for any bytes a connection begins with, and for any certificates and keys. Called
//! by the fuzz targets.

use super::{
    hello::server_name,
    proxy_header::{Parsed, parse},
};
use gwanmun_certs::{Anchors, Certificate, KeyPair, Staple};
use rustls::server::Acceptor;

/// Takes the first byte to say where the rest is cut in two.
fn cut(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((at, rest)) = data.split_first() else {
        return (data, data);
    };
    let at = usize::from(*at) % rest.len().saturating_add(1);
    rest.split_at_checked(at).unwrap_or((rest, b""))
}

/// What is known of a `ClientHello` from its beginning is not changed by what follows, and who ends
/// the TLS sees the server name that the connection was routed by.
pub(crate) fn hello(data: &[u8]) {
    let (first, second) = cut(data);
    let whole = [first, second].concat();
    let known = server_name(&whole);
    if let early @ Some(_) = server_name(first) {
        assert_eq!(early, known, "what follows changes what was known");
    }
    let mut acceptor = Acceptor::default();
    let mut unread = whole.as_slice();
    let accepted = match acceptor.read_tls(&mut unread) {
        Ok(_) => acceptor.accept(),
        Err(_) => return,
    };
    let Ok(Some(accepted)) = accepted else { return };
    let seen = accepted.client_hello().server_name().map(|name| {
        let name = name.to_ascii_lowercase();
        name.strip_suffix('.').map_or(name.clone(), str::to_owned)
    });
    // What is refused here is seen by nobody else.
    if !matches!(known, Some(Err(_))) {
        assert_eq!(known, Some(Ok(seen)), "two readers, two names");
    }
}

/// A PROXY header wants no byte more than it has, and is the same however often it is looked at.
pub(crate) fn proxy(data: &[u8]) {
    let mut known = 0;
    loop {
        let Some(bytes) = data.get(..known) else {
            return;
        };
        match parse(bytes) {
            Ok(Parsed::Missing(missing)) => {
                assert!(missing > 0, "a header wants nothing and is not complete");
                assert!(known + missing <= 64 * 1024, "a header wants too much");
                // The reader may get less than it wants.
                known += if missing > 16 { missing / 2 } else { 1 };
            }
            Ok(Parsed::Complete(Some((client, local)))) => {
                assert_eq!(client.ip(), client.ip().to_canonical());
                assert_eq!(local.ip(), local.ip().to_canonical());
                return;
            }
            Ok(Parsed::Complete(None)) | Err(_) => return,
        }
    }
}

/// Certificates, keys, revocation lists and OCSP responses: read or refused, and what was read is
/// written as it was read. The first byte says what the rest is.
pub(crate) fn certs(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    if kind % 4 == 0 {
        if let Ok(certificate) = Certificate::from_der(rest) {
            looked_at(&certificate);
        }
        return;
    }
    let text = String::from_utf8_lossy(rest);
    let (first, second) = text.split_once('\0').unwrap_or((&text, ""));
    match kind % 4 {
        1 => match KeyPair::parse(first, second) {
            Ok(pair) => {
                pair.chain().iter().for_each(looked_at);
                let _ = pair.chain_warning();
                assert_eq!(pair.certified(None).cert.len(), pair.chain().len());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        },
        2 => match Anchors::parse(first, Some(second)) {
            Ok(anchors) => anchors.certificates().iter().for_each(looked_at),
            Err(error) => assert!(!error.to_string().is_empty()),
        },
        _ => {
            let Ok(chain) = Certificate::parse_chain(first) else {
                return;
            };
            if let Some(leaf) = chain.first()
                && let Ok(staple) = Staple::parse(second, leaf)
            {
                let _ = (staple.is_current(0), staple.is_good());
            }
        }
    }
}

/// Everything that is asked of a certificate.
fn looked_at(certificate: &Certificate) {
    let again = Certificate::parse_chain(&certificate.pem()).unwrap_or_default();
    let again: Vec<_> = again.iter().map(Certificate::der).collect();
    assert_eq!(again, [certificate.der()], "read as it was written");
    let _ = (certificate.title(), certificate.subject_rfc2253());
    let _ = (certificate.extended_key_usages(), certificate.key_hash());
    let _ = (certificate.public_key_info(), certificate.covers("a.test"));
    let _ = certificate.expires_within(0, i64::MAX);
}
