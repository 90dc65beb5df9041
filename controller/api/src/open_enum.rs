//! The macro for enums that keep values they do not know.

/// Defines an enum of strings that keeps unknown values in a last variant `Unknown(String)`.
///
/// ```
/// gwanmun_api::open_enum! {
///     /// A listener's protocol.
///     #[derive(Default)]
///     pub enum Protocol {
///         /// Plaintext HTTP.
///         #[default]
///         Http = "HTTP",
///         /// HTTP over TLS.
///         Https = "HTTPS",
///     }
/// }
/// assert_eq!(Protocol::from("HTTPS"), Protocol::Https);
/// assert_eq!(Protocol::from("SPDY").as_str(), "SPDY");
/// ```
#[macro_export]
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
        $vis enum $name {
            $( $(#[$variant_meta])* $variant, )*
            /// A value this version does not know, as written.
            Unknown(String),
        }

        impl $name {
            /// The values this version knows, as they are written.
            $vis const KNOWN: &'static [&'static str] = &[$($text),*];

            /// The value as it is written.
            $vis fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $text, )*
                    Self::Unknown(text) => text,
                }
            }

            /// Whether this version knows the value.
            $vis fn is_known(&self) -> bool {
                !matches!(self, Self::Unknown(_))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $( $text => Self::$variant, )*
                    other => Self::Unknown(other.to_owned()),
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as ::serde::Deserialize>::deserialize(deserializer)?;
                Ok(Self::from(text.as_str()))
            }
        }
    };
}
