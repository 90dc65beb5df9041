//! What a plain YAML scalar means.

use serde_json::{Number, Value};

/// The value of a scalar written without quotes: YAML's core schema, with the octal numbers of
/// YAML 1.1 (`0644`) that `kubectl` reads. `yes`, `no`, `on` and `off` stay text; they become
/// booleans where one is expected.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return Value::String(text.to_owned());
    }
    integer(text)
        .or_else(|| float(text))
        .map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = if let Some(digits) = digits.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = digits.strip_prefix("0o") {
        (8, digits)
    } else if let Some(octal) = digits.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (8, octal)
    } else {
        (10, digits)
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        let value = i64::try_from(-i128::from(value)).ok()?;
        return Some(Number::from(value));
    }
    Some(Number::from(value))
}

fn float(text: &str) -> Option<Number> {
    let valid = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    if !valid || !has_digit {
        return None;
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("False", json!(false)),
            ("yes", json!("yes")),
            ("80", json!(80)),
            ("-1", json!(-1)),
            ("+7", json!(7)),
            ("0x1f", json!(31)),
            ("0644", json!(420)),
            ("0o17", json!(15)),
            ("0", json!(0)),
            ("089", json!(89.0)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("1.2.3.4", json!("1.2.3.4")),
            ("2020-01-01", json!("2020-01-01")),
            (
                "18446744073709551615",
                json!(18_446_744_073_709_551_615_u64),
            ),
            (".inf", json!(".inf")),
            ("-", json!("-")),
            ("1.5s", json!("1.5s")),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }
}
