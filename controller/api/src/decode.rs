//! Turns a JSON value into a typed one, remembering where it is.
//!
//! What `serde_json` alone does not say: the path of the value that has the wrong type, and every
//! field that no struct asks for, with the known field it resembles.

use crate::UnknownField;
use serde::{
    Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
        VariantAccess, Visitor,
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Value};
use std::{cell::RefCell, fmt};

/// What was noticed on the way.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Path of the innermost value that failed.
    failed_at: RefCell<Option<String>>,
    /// Fields that no struct asked for.
    unknown: RefCell<Vec<UnknownField>>,
}

impl Notes {
    /// The fields that no struct asked for, in the order they are written.
    pub(crate) fn into_unknown(self) -> Vec<UnknownField> {
        self.unknown.into_inner()
    }

    /// The path of the value that failed; empty when it is the whole.
    pub(crate) fn failed_at(&self) -> String {
        self.failed_at.borrow().clone().unwrap_or_default()
    }
}

/// A path, as a list that lives on the stack.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root(&'a str),
    Field(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Field(Path::Root(""), name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Deserialises one value.
pub(crate) struct Decoder<'a> {
    value: Value,
    path: Path<'a>,
    notes: &'a Notes,
}

impl<'a> Decoder<'a> {
    /// A decoder for `value`, which stands at `prefix` (empty for the top).
    pub(crate) fn new(value: Value, prefix: &'a str, notes: &'a Notes) -> Self {
        Self {
            value,
            path: Path::Root(prefix),
            notes,
        }
    }

    /// Visits the value. `known` are the fields of the struct that is being read, if it is one.
    fn visit<'de, V: Visitor<'de>>(
        self,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Self { value, path, notes } = self;
        let result = match value {
            Value::Object(fields) => visitor.visit_map(Fields {
                entries: fields.into_iter(),
                current: None,
                known,
                path: &path,
                notes,
            }),
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.into_iter(),
                index: 0,
                path: &path,
                notes,
            }),
            scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                scalar.deserialize_any(visitor)
            }
        };
        note_failure(result, &path, notes)
    }
}

/// Remembers the path of the innermost failure: the first one on the way out.
fn note_failure<T>(result: Result<T, Error>, path: &Path<'_>, notes: &Notes) -> Result<T, Error> {
    result.inspect_err(|_| {
        let mut failed_at = notes.failed_at.borrow_mut();
        if failed_at.is_none() {
            *failed_at = Some(path.to_string());
        }
    })
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // A list is not a struct written without names.
        if self.value.is_array() {
            let Self { path, notes, .. } = self;
            let error = Error::custom("invalid type: sequence, expected an object");
            return note_failure(Err(error), &path, notes);
        }
        self.visit(Some(fields), visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    /// `yes`, `no`, `on` and `off` are booleans to `kubectl`, which reads YAML 1.1.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = match self.value.as_str() {
            Some("yes" | "Yes" | "YES" | "on" | "On" | "ON") => Value::Bool(true),
            Some("no" | "No" | "NO" | "off" | "Off" | "OFF") => Value::Bool(false),
            _ => self.value,
        };
        Self { value, ..self }.visit(None, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Self { value, path, notes } = self;
        let (name, content) = match value {
            Value::String(name) => (name, None),
            Value::Object(fields) if fields.len() == 1 => match fields.into_iter().next() {
                Some((name, content)) => (name, Some(content)),
                None => (String::new(), None),
            },
            Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_) => {
                let error = Error::custom("invalid type: expected a name");
                return note_failure(Err(error), &path, notes);
            }
        };
        let access = Variant {
            name: &name,
            content,
            path: &path,
            notes,
        };
        note_failure(visitor.visit_enum(access), &path, notes)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}

struct Fields<'a> {
    entries: <Map<String, Value> as IntoIterator>::IntoIter,
    current: Option<(String, Value)>,
    known: Option<&'static [&'static str]>,
    path: &'a Path<'a>,
    notes: &'a Notes,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        for (name, value) in self.entries.by_ref() {
            if let Some(known) = self.known
                && !known.contains(&name.as_str())
            {
                self.notes.unknown.borrow_mut().push(UnknownField {
                    field: Path::Field(self.path, &name).to_string(),
                    did_you_mean: resembling(&name, known),
                });
                continue;
            }
            let key = seed.deserialize(name.as_str().into_deserializer())?;
            self.current = Some((name, value));
            return Ok(Some(key));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (name, value) = self
            .current
            .take()
            .ok_or_else(|| Error::custom("a value was asked for before its name"))?;
        seed.deserialize(Decoder {
            value,
            path: Path::Field(self.path, &name),
            notes: self.notes,
        })
    }
}

struct Items<'a> {
    items: std::vec::IntoIter<Value>,
    index: usize,
    path: &'a Path<'a>,
    notes: &'a Notes,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        let path = Path::Item(self.path, self.index);
        self.index += 1;
        seed.deserialize(Decoder {
            value,
            path,
            notes: self.notes,
        })
        .map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Variant<'a> {
    name: &'a str,
    content: Option<Value>,
    path: &'a Path<'a>,
    notes: &'a Notes,
}

impl<'a> Variant<'a> {
    fn content(self) -> Decoder<'a> {
        Decoder {
            value: self.content.unwrap_or(Value::Null),
            path: Path::Field(self.path, self.name),
            notes: self.notes,
        }
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name = seed.deserialize(self.name.into_deserializer())?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(Error::custom("expected a name only")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.content())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.content().deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.content().visit(Some(fields), visitor)
    }
}

/// The known name that was probably meant.
fn resembling(name: &str, known: &[&str]) -> Option<String> {
    let squeeze = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let wanted = squeeze(name);
    known
        .iter()
        .map(|candidate| {
            let distance = strsim::osa_distance(&wanted, &squeeze(candidate));
            (distance, *candidate)
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().min(name.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, Deserialize, Eq, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    struct Rule {
        path_prefix: String,
        ports: Vec<u16>,
        enabled: bool,
        labels: BTreeMap<String, String>,
        free: Value,
        inner: Option<Box<Self>>,
        rules: Vec<Self>,
    }

    fn decode(value: Value) -> (Result<Rule, String>, Vec<String>) {
        let notes = Notes::default();
        let result = Rule::deserialize(Decoder::new(value, "", &notes))
            .map_err(|error| format!("{}: {error}", notes.failed_at()));
        let unknown = notes
            .into_unknown()
            .into_iter()
            .map(|unknown| format!("{} {:?}", unknown.field, unknown.did_you_mean))
            .collect();
        (result, unknown)
    }

    #[test]
    fn unknown_fields_are_found_at_any_depth_and_never_in_open_maps() {
        let (result, unknown) = decode(json!({
            "labels": {"anything": "goes"},
            "free": {"any": [{"thing": 1}]},
            "rules": [{}, {"inner": {"pathPrefx": "/", "zzz": 1}, "path_prefix": "/"}],
        }));
        assert!(result.is_ok());
        assert_eq!(
            unknown,
            [
                "rules[1].inner.pathPrefx Some(\"pathPrefix\")",
                "rules[1].inner.zzz None",
                "rules[1].path_prefix Some(\"pathPrefix\")",
            ]
        );
    }

    #[test]
    fn a_wrong_type_names_its_path() {
        for (value, expected) in [
            (json!({"rules": [{"ports": [1, "x"]}]}), "rules[0].ports[1]"),
            (json!({"rules": [{"ports": [70000]}]}), "rules[0].ports[0]"),
            (json!({"inner": []}), "inner"),
            (json!({"labels": {"a": 1}}), "labels.a"),
            (json!([]), ""),
        ] {
            let error = decode(value).0.unwrap_err();
            let (path, _) = error.split_once(": ").unwrap();
            assert_eq!(path, expected, "{error}");
        }
    }

    #[test]
    fn yaml_1_1_booleans_are_booleans_where_one_is_expected() {
        assert!(decode(json!({"enabled": "yes"})).0.unwrap().enabled);
        assert!(decode(json!({"enabled": "true"})).0.is_err());
        assert_eq!(
            decode(json!({"pathPrefix": "on"})).0.unwrap().path_prefix,
            "on"
        );
    }
}
