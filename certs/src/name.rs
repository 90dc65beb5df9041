//! Distinguished names as OpenSSL prints them by RFC 2253.

use std::fmt::Write;
use x509_parser::{
    der_parser::asn1_rs::{Any, BmpString, Tag},
    oid_registry::{Oid, asn1_rs::oid},
    prelude::{AttributeTypeAndValue, FromDer, X509Name},
};

/// The name in DER, last component first. An unreadable name is empty.
pub(crate) fn rfc2253(raw: &[u8]) -> String {
    let Ok((_, name)) = X509Name::from_der(raw) else {
        return String::new();
    };
    let parts: Vec<_> = name.iter().collect();
    let shown = parts.iter().rev().map(|part| {
        let mut one: Vec<String> = part.iter().map(attribute).collect();
        one.reverse();
        one.join("+")
    });
    shown.collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type();
    let value = attribute.attr_value();
    match (short_name(kind), text(value)) {
        (Some(name), Some(text)) => format!("{name}={}", escaped(&text)),
        (None, _) => format!("{}={}", kind.to_id_string(), dumped(value)),
        (Some(name), None) => format!("{name}={}", dumped(value)),
    }
}

/// OpenSSL's short names of the attributes that occur in practice.
fn short_name(kind: &Oid<'_>) -> Option<&'static str> {
    let known = [
        (oid!(2.5.4.3), "CN"),
        (oid!(2.5.4.4), "SN"),
        (oid!(2.5.4.5), "serialNumber"),
        (oid!(2.5.4.6), "C"),
        (oid!(2.5.4.7), "L"),
        (oid!(2.5.4.8), "ST"),
        (oid!(2.5.4.9), "street"),
        (oid!(2.5.4.10), "O"),
        (oid!(2.5.4.11), "OU"),
        (oid!(2.5.4.12), "title"),
        (oid!(2.5.4.17), "postalCode"),
        (oid!(2.5.4.41), "name"),
        (oid!(2.5.4.42), "GN"),
        (oid!(2.5.4.43), "initials"),
        (oid!(2.5.4.46), "dnQualifier"),
        (oid!(2.5.4.97), "organizationIdentifier"),
        (oid!(0.9.2342.19200300.100.1.1), "UID"),
        (oid!(0.9.2342.19200300.100.1.25), "DC"),
        (oid!(1.2.840.113549.1.9.1), "emailAddress"),
    ];
    let found = known.iter().find(|(oid, _)| oid == kind);
    found.map(|(_, name)| *name)
}

/// The value as bytes of UTF-8 text; nothing when it is not a string.
fn text(value: &Any<'_>) -> Option<Vec<u8>> {
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => Some(value.data.to_vec()),
        // Latin-1 in practice, as OpenSSL takes it.
        Tag::T61String => Some(
            value
                .data
                .iter()
                .map(|byte| char::from(*byte))
                .collect::<String>()
                .into_bytes(),
        ),
        Tag::BmpString => BmpString::try_from(value.clone())
            .ok()
            .map(|text| text.string().into_bytes()),
        _ => None,
    }
}

/// Escapes what separates, controls and bytes outside ASCII.
fn escaped(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, byte) in text.iter().enumerate() {
        let edge = index == 0 || index + 1 == text.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                shown.push('\\');
                shown.push(char::from(*byte));
            }
            b' ' if edge => shown.push_str("\\ "),
            b'#' if index == 0 => shown.push_str("\\#"),
            0x20..=0x7e => shown.push(char::from(*byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\{byte:02X}");
            }
        }
    }
    shown
}

/// A value without a textual form: `#` and its DER in hexadecimal.
fn dumped(value: &Any<'_>) -> String {
    use x509_parser::der_parser::asn1_rs::ToDer;
    let der = value.to_der_vec().unwrap_or_default();
    format!("#{}", crate::certificate::hex(&der).to_ascii_uppercase())
}
