//! Typed user resources: Gateway API, Istio, core; and the manifest reader.
//!
//! Conventions, for every module that describes a resource:
//! - The type of a kind ([`Body`]'s variants) is the object without `apiVersion`, `kind`,
//!   `metadata` and `status`: mostly one field `spec`.
//! - Structs are `#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]` with
//!   `#[serde(rename_all = "camelCase", default)]`; every field of the CRD is there.
//! - `Option` only where unset differs from zero, `Vec` and `BTreeMap` otherwise. `null` counts as
//!   unset everywhere: [`Object::from_value`] removes it before the types see it.
//! - Enums are open ([`open_enum!`]): an unknown value is kept, and reported by translation.
//! - A one-of is a struct of `Option`s, not an enum, so that translation can say "both are set".
//!   Never `#[serde(flatten)]`, `untagged` or `deny_unknown_fields`: they hide unknown fields
//!   from the reader, which reports every field that no struct asks for.
//! - Numbers that may be fractions are [`Percent`] or [`Fixed`], never floats.
//!
//! Start at [`Object::from_value`], [`manifest::read`] and [`Kind`].

#[macro_use]
mod open_enum;

pub mod core;
pub mod gateway_api;
pub mod istio;
pub mod manifest;

mod decode;
mod kind;
mod meta;
mod object;
mod scalar;

pub use kind::{Body, Kind, Typed};
pub use meta::{Meta, OwnerReference};
pub use object::{FieldLines, Object, ObjectKey, Origin, ParseError, UnknownField};
pub use scalar::{Duration, Fixed, IntOrString, InvalidScalar, Percent, ProtoDuration};
