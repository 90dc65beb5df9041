//! Scalars with their own grammar: durations, percentages, ports by number or name.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Why a text is not a scalar of its kind.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct InvalidScalar {
    /// The text as written.
    pub text: String,
    /// What it should have been.
    pub expected: &'static str,
}

/// A Gateway API duration ([GEP-2257]): `h`, `m`, `s`, `ms`, up to four times up to five digits.
///
/// Kept as written, so that a bad one degrades its own field: ask [`Duration::millis`].
///
/// [GEP-2257]: https://gateway-api.sigs.k8s.io/geps/gep-2257/
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Duration(pub String);

impl Duration {
    /// The duration in milliseconds.
    ///
    /// # Errors
    /// When the text does not follow the grammar.
    pub fn millis(&self) -> Result<u64, InvalidScalar> {
        let invalid = || InvalidScalar {
            text: self.0.clone(),
            expected: "a duration such as `10s` or `1m30s`",
        };
        let mut rest = self.0.as_str();
        let mut total: u64 = 0;
        let mut parts = 0;
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let (unit, tail) = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
                .into_iter()
                .find_map(|(name, unit)| tail.strip_prefix(name).map(|tail| (unit, tail)))
                .ok_or_else(invalid)?;
            parts += 1;
            if digits == 0 || digits > 5 || parts > 4 {
                return Err(invalid());
            }
            let number: u64 = number.parse().map_err(|_error| invalid())?;
            total += number * unit;
            rest = tail;
        }
        Ok(total)
    }
}

/// A duration as Go and protobuf JSON write them: `1.5s`, `1h30m`, `250ms`, `-1s`.
///
/// Kept as written, so that a bad one degrades its own field: ask [`ProtoDuration::millis`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ProtoDuration(pub String);

impl ProtoDuration {
    /// The duration in nanoseconds, possibly negative.
    ///
    /// # Errors
    /// When the text is not a Go duration.
    pub fn nanos(&self) -> Result<i128, InvalidScalar> {
        parse_go_duration(&self.0).ok_or_else(|| InvalidScalar {
            text: self.0.clone(),
            expected: "a duration such as `10s` or `1.5s`",
        })
    }

    /// The duration in whole milliseconds, rounded up so that a positive one is never 0.
    ///
    /// # Errors
    /// When the text is not a Go duration, or it is negative.
    pub fn millis(&self) -> Result<u64, InvalidScalar> {
        let nanos = self.nanos()?;
        u64::try_from(
            nanos
                .max(-1)
                .saturating_add(if nanos < 0 { -1_000_000 } else { 999_999 })
                / 1_000_000,
        )
        .map_err(|_error| InvalidScalar {
            text: self.0.clone(),
            expected: "a duration of 0 or more",
        })
    }
}

fn parse_go_duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let (number, tail) = rest.split_at(end);
        let (unit, tail) = [
            ("ns", 1_i128),
            ("us", 1_000),
            ("µs", 1_000),
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000),
        ]
        .into_iter()
        .find_map(|(name, unit)| tail.strip_prefix(name).map(|tail| (unit, tail)))?;
        let (value, scale) = decimal(number)?;
        total = total.checked_add(value.checked_mul(unit)?.checked_div(scale)?)?;
        rest = tail;
    }
    Some(sign * total)
}

/// Digits with an optional point as (digits, power of ten): `1.25` is (125, 100).
fn decimal(text: &str) -> Option<(i128, i128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) || digits.len() > 30 {
        return None;
    }
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some((digits.parse().ok()?, scale))
}

/// A number with a fraction, in millionths: `0.1` is 100,000. Never a float.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fixed(pub i64);

impl Fixed {
    /// The value in millionths.
    pub fn millionths(self) -> i64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Fixed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The shortest decimal text that means the number is what the user wrote.
        let number = serde_json::Number::deserialize(deserializer)?;
        parse_millionths(&number.to_string())
            .map(Self)
            .ok_or_else(|| de::Error::custom(format_args!("{number} is out of range")))
    }
}

impl Serialize for Fixed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1_000_000 == 0 {
            return serializer.serialize_i64(self.0 / 1_000_000);
        }
        let text = self.to_string();
        serde_json::from_str::<serde_json::Number>(&text)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let fraction = format!("{:06}", magnitude % 1_000_000);
        let fraction = fraction.trim_end_matches('0');
        write!(f, "{sign}{}", magnitude / 1_000_000)?;
        if fraction.is_empty() {
            Ok(())
        } else {
            write!(f, ".{fraction}")
        }
    }
}

fn parse_millionths(text: &str) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => (-1, mantissa),
        None => (1, mantissa),
    };
    let (digits, scale) = decimal(mantissa)?;
    let power = |exponent: i32| 10_i128.checked_pow(exponent.unsigned_abs());
    let shift = exponent.checked_add(6)?;
    let value = if shift >= 0 {
        digits.checked_mul(power(shift)?)?
    } else {
        digits.checked_div(power(shift)?)?
    };
    i64::try_from(sign * value.checked_div(scale)?).ok()
}

/// A percentage as Istio's `Percent.value` writes it, in parts per million of the whole:
/// `0.1` (percent) is 1,000.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Percent(Fixed);

impl Percent {
    /// Parts per million of the whole; 100 % is 1,000,000.
    pub fn parts_per_million(self) -> i64 {
        self.0.0 / 100
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fixed::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A number or a name, e.g. a Service's `targetPort`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A name.
    String(String),
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = IntOrString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a string")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<IntOrString, E> {
                Ok(IntOrString::Int(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<IntOrString, E> {
                i64::try_from(value)
                    .map(IntOrString::Int)
                    .map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<IntOrString, E> {
                Ok(IntOrString::String(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for IntOrString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::String(value) => serializer.serialize_str(value),
        }
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::String(value) => f.write_str(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_api_durations_follow_gep_2257() {
        for (text, millis) in [
            ("0s", 0),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1h2m3s4ms", 3_723_004),
        ] {
            assert_eq!(Duration(text.into()).millis(), Ok(millis), "{text}");
        }
        for text in ["", "10", "1.5s", "-1s", "100000s", "1s1s1s1s1s", "1d", "s"] {
            assert!(Duration(text.into()).millis().is_err(), "{text}");
        }
    }

    #[test]
    fn proto_durations_are_go_durations() {
        for (text, millis) in [
            ("0s", 0),
            ("1.5s", 1_500),
            ("1h30m", 5_400_000),
            ("0.0001s", 1),
            ("250ms", 250),
            ("0", 0),
        ] {
            assert_eq!(ProtoDuration(text.into()).millis(), Ok(millis), "{text}");
        }
        assert_eq!(ProtoDuration("-1s".into()).nanos(), Ok(-1_000_000_000));
        for text in ["", "10", "1.s.", "-1s", "-1ns", "1d", "."] {
            assert!(ProtoDuration(text.into()).millis().is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_are_parts_per_million() {
        for (text, ppm) in [
            ("0.1", 1_000),
            ("100", 1_000_000),
            ("50.0", 500_000),
            ("1e-3", 10),
            ("33.3333", 333_333),
        ] {
            let percent: Percent = serde_json::from_str(text).unwrap();
            assert_eq!(percent.parts_per_million(), ppm, "{text}");
        }
        assert!(serde_json::from_str::<Percent>("\"x\"").is_err());
        assert_eq!(
            serde_json::to_string(&serde_json::from_str::<Percent>("0.1").unwrap()).unwrap(),
            "0.1"
        );
    }
}
