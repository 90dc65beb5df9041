//! Failed handshakes in the words of OpenSSL's family, which operators search their logs for.

use rustls::{AlertDescription, CertificateError, Error};

/// What Envoy writes between `TLS_error:|` and `:TLS_error_end`.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls has many of these, and most have no counterpart"
)]
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(reason) => {
            let why = certificate(reason);
            format!("268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:{why}")
        }
        Error::AlertReceived(alert) => match alert_name(*alert) {
            Some((number, name)) => {
                format!(
                    "{}:SSL routines:OPENSSL_internal:{name}",
                    268_436_456 + number
                )
            }
            None => error.to_string(),
        },
        Error::InvalidMessage(_) => {
            "268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER".to_owned()
        }
        other => other.to_string(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls has many of these, and most have no counterpart"
)]
fn certificate(reason: &CertificateError) -> String {
    const CHAIN: &str = "verify cert failed: X509_verify_cert: certificate verification error";
    let at = |text: &str| format!("{CHAIN} at depth 0: {text}");
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            at("certificate has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            at("certificate is not yet valid")
        }
        CertificateError::Revoked => at("certificate revoked"),
        CertificateError::UnknownIssuer => at("unable to get local issuer certificate"),
        CertificateError::UnknownRevocationStatus => at("unable to get certificate CRL"),
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => at("CRL has expired"),
        CertificateError::BadSignature => at("certificate signature failure"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            at("unsuitable certificate purpose")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "verify cert failed: verify SAN list".to_owned()
        }
        other => format!("verify cert failed: {other}"),
    }
}

/// The number above 1000 and the name of an alert that the endpoint sent.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls has many of these, and most have no counterpart"
)]
fn alert_name(alert: AlertDescription) -> Option<(u32, &'static str)> {
    let found = match alert {
        AlertDescription::HandshakeFailure => (40, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        AlertDescription::BadCertificate => (42, "SSLV3_ALERT_BAD_CERTIFICATE"),
        AlertDescription::UnsupportedCertificate => (43, "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"),
        AlertDescription::CertificateRevoked => (44, "SSLV3_ALERT_CERTIFICATE_REVOKED"),
        AlertDescription::CertificateExpired => (45, "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        AlertDescription::CertificateUnknown => (46, "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
        AlertDescription::UnknownCA => (48, "TLSV1_ALERT_UNKNOWN_CA"),
        AlertDescription::AccessDenied => (49, "TLSV1_ALERT_ACCESS_DENIED"),
        AlertDescription::ProtocolVersion => (70, "TLSV1_ALERT_PROTOCOL_VERSION"),
        AlertDescription::InsufficientSecurity => (71, "TLSV1_ALERT_INSUFFICIENT_SECURITY"),
        AlertDescription::InternalError => (80, "TLSV1_ALERT_INTERNAL_ERROR"),
        AlertDescription::UnrecognisedName => (112, "TLSV1_ALERT_UNRECOGNIZED_NAME"),
        AlertDescription::CertificateRequired => (116, "TLSV1_ALERT_CERTIFICATE_REQUIRED"),
        AlertDescription::NoApplicationProtocol => (120, "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"),
        _ => return None,
    };
    Some(found)
}
