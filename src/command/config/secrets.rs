//! The table of certificates: as configured, or with what a running gateway makes of them.

use crate::table::Table;
use gwanmun_certs::{Certificate, Validity};
use gwanmun_ir::{Resource, Secret, SecretMaterial};
use serde_json::Value;

const HEADER: [&str; 7] = [
    "RESOURCE NAME",
    "TYPE",
    "STATUS",
    "VALID CERT",
    "SERIAL NUMBER",
    "NOT AFTER",
    "NOT BEFORE",
];

/// Certificates, and whether they are valid `now` (seconds since the Unix epoch).
pub(super) fn configured(resources: &[Resource], now: i64) -> Table {
    let mut table = Table::new(&HEADER);
    for resource in resources {
        let Resource::Secret(secret) = resource else {
            continue;
        };
        let (kind, pem) = match &secret.material {
            SecretMaterial::Anchors { certificates, .. } => ("CA", Some(certificates)),
            SecretMaterial::AnchorFiles { .. } => ("CA", None),
            SecretMaterial::KeyPairFiles { .. } => ("Cert Chain", None),
            SecretMaterial::Invalid { .. } => ("-", None),
            SecretMaterial::KeyPair { certificates, .. } => ("Cert Chain", Some(certificates)),
        };
        table.row(secret_row(secret, kind, pem.map(|pem| pem.as_str()), now));
    }
    table
}

fn secret_row(secret: &Secret, kind: &str, pem: Option<&str>, now: i64) -> Vec<String> {
    let certificate = pem.and_then(|pem| Certificate::parse_chain(pem).ok()?.into_iter().next());
    let mut row = vec![secret.key.to_string(), kind.to_owned()];
    let Some(certificate) = certificate else {
        row.extend(["INVALID", "false", "", "", ""].map(str::to_owned));
        return row;
    };
    let Validity {
        not_before,
        not_after,
    } = certificate.validity();
    let time = |seconds: i64| {
        jiff::Timestamp::from_second(seconds)
            .map_or_else(|_| "-".to_owned(), |time| time.to_string())
    };
    row.extend([
        "ACTIVE".to_owned(),
        certificate.validity().contains(now).to_string(),
        certificate.serial().to_owned(),
        time(not_after),
        time(not_before),
    ]);
    row
}

/// Certificates as `/certs` has them: files with what they hold, and below the table what is wrong.
pub(super) fn running(certs: &Value) -> String {
    let mut table = Table::new(&HEADER);
    let mut notes = String::new();
    for entry in list(certs, "certificates") {
        let told = entry.get("gwanmun").unwrap_or(&Value::Null);
        let (kind, first) = match (list(entry, "cert_chain"), list(entry, "ca_cert")) {
            ([first, ..], _) => ("Cert Chain", first),
            ([], [first, ..]) => ("CA", first),
            ([], []) => ("-", &Value::Null),
        };
        let name = [first, told]
            .into_iter()
            .map(|one| string(one, "path"))
            .find(|path| !path.is_empty())
            .unwrap_or("-");
        let problems = list(told, "problems");
        let is_refused = |one: &Value| string(one, "severity") == "refused";
        let refused = problems.iter().any(is_refused);
        let (from, until) = (
            string(first, "valid_from"),
            string(first, "expiration_time"),
        );
        let valid = !refused && is_now(from, until);
        table.row([
            name,
            kind,
            if refused { "INVALID" } else { "ACTIVE" },
            if valid { "true" } else { "false" },
            string(first, "serial_number"),
            until,
            from,
        ]);
        for problem in problems {
            notes.push_str(&format!("{name}: {}\n", string(problem, "message")));
        }
    }
    let gap = if notes.is_empty() { "" } else { "\n" };
    format!("{table}{gap}{notes}")
}

fn is_now(from: &str, until: &str) -> bool {
    let time = |text: &str| text.parse::<jiff::Timestamp>();
    let now = jiff::Timestamp::now();
    matches!((time(from), time(until)), (Ok(from), Ok(until)) if (from..=until).contains(&now))
}

fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    let list = value.get(field).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn string<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_running_gateways_secrets_have_their_state_and_what_is_wrong_below() {
        let certificate = json!({
            "path": "files/a", "serial_number": "0a", "days_until_expiration": "9",
            "valid_from": "2020-01-01T00:00:00Z", "expiration_time": "2090-01-01T00:00:00Z",
        });
        let page = json!({ "certificates": [
            { "ca_cert": [], "cert_chain": [certificate] },
            { "ca_cert": [], "cert_chain": [], "gwanmun": { "path": "files/b", "problems": [
                { "severity": "refused", "message": "cannot read /b: no such file" },
            ]}},
        ]});
        let expected = "\
RESOURCE NAME  TYPE        STATUS   VALID CERT  SERIAL NUMBER  NOT AFTER             NOT BEFORE
files/a        Cert Chain  ACTIVE   true        0a             2090-01-01T00:00:00Z  2020-01-01T00:00:00Z
files/b        -           INVALID  false

files/b: cannot read /b: no such file
";
        assert_eq!(super::running(&page), expected);
    }
}
