//! Field names the gateway itself looks at, as numbers.
//!
//! A name is classified once, when its field is received; from then on lookups compare numbers.

use http::HeaderName;

macro_rules! known {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// A field name with a number of its own, or the group it belongs to.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u8)]
        pub(crate) enum Known {
            /// No number: fields of this kind are told apart by their name.
            Other,
            /// Starts with `x-envoy-` and has no number of its own.
            EnvoyOther,
            /// The field was removed.
            Gone,
            $($(#[$doc])* #[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl Known {
            /// How many values there are.
            pub(crate) const COUNT: usize = [
                Self::Other, Self::EnvoyOther, Self::Gone, $(Self::$variant,)*
            ].len();

            /// The name in lower case; empty for groups.
            pub(crate) const fn text(self) -> &'static str {
                match self {
                    Self::Other | Self::EnvoyOther | Self::Gone => "",
                    $(Self::$variant => $text,)*
                }
            }

            /// The name and what stands between it and the value; empty for groups.
            pub(super) const fn prefix(self) -> &'static str {
                match self {
                    Self::Other | Self::EnvoyOther | Self::Gone => "",
                    $(Self::$variant => concat!($text, ": "),)*
                }
            }

            /// The name as the `http` crate has it; nothing for groups.
            pub(crate) fn header_name(self) -> Option<HeaderName> {
                match self {
                    Self::Other | Self::EnvoyOther | Self::Gone => None,
                    $(Self::$variant => {
                        const NAME: HeaderName = HeaderName::from_static($text);
                        Some(NAME)
                    })*
                }
            }

            /// Every name that has a number.
            #[cfg(test)]
            pub(crate) const NAMED: &'static [Self] = &[$(Self::$variant,)*];
        }
    };
}

known! {
    Accept = "accept",
    Authorization = "authorization",
    Connection = "connection",
    ContentLength = "content-length",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Expect = "expect",
    GrpcMessage = "grpc-message",
    GrpcStatus = "grpc-status",
    GrpcTimeout = "grpc-timeout",
    Host = "host",
    Http2Settings = "http2-settings",
    KeepAlive = "keep-alive",
    Location = "location",
    Origin = "origin",
    ProxyConnection = "proxy-connection",
    Server = "server",
    SetCookie = "set-cookie",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    XEnvoyAttemptCount = "x-envoy-attempt-count",
    XEnvoyExpectedTimeout = "x-envoy-expected-rq-timeout-ms",
    XEnvoyExternalAddress = "x-envoy-external-address",
    XEnvoyMaxRetries = "x-envoy-max-retries",
    XEnvoyOriginalHost = "x-envoy-original-host",
    XEnvoyOriginalPath = "x-envoy-original-path",
    XEnvoyOverloaded = "x-envoy-overloaded",
    XEnvoyRetryOn = "x-envoy-retry-on",
    XEnvoyServiceTime = "x-envoy-upstream-service-time",
    XForwardedClientCert = "x-forwarded-client-cert",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XRequestId = "x-request-id",
}

impl Known {
    /// The number of a name in lower case, by its length and first byte.
    #[inline]
    pub(crate) fn classify(name: &[u8]) -> Self {
        let Some(first) = name.first() else {
            return Self::Other;
        };
        let guess = match (name.len(), first) {
            (2, b't') => Self::Te,
            (4, b'h') => Self::Host,
            (4, b'd') => Self::Date,
            (6, b'a') => Self::Accept,
            (6, b'c') => Self::Cookie,
            (6, b'e') => Self::Expect,
            (6, b'o') => Self::Origin,
            (6, b's') => Self::Server,
            (7, b't') => Self::Trailer,
            (7, b'u') => Self::Upgrade,
            (8, b'l') => Self::Location,
            (10, b'c') => Self::Connection,
            (10, b'k') => Self::KeepAlive,
            (10, b's') => Self::SetCookie,
            (10, b'u') => Self::UserAgent,
            (11, b'g') => Self::GrpcStatus,
            (12, b'c') => Self::ContentType,
            (12, b'g') => {
                if name == b"grpc-timeout" {
                    Self::GrpcTimeout
                } else {
                    Self::GrpcMessage
                }
            }
            (12, b'x') => Self::XRequestId,
            (13, b'a') => Self::Authorization,
            (14, b'c') => Self::ContentLength,
            (14, b'h') => Self::Http2Settings,
            (15, b'x') => Self::XForwardedFor,
            (16, b'p') => Self::ProxyConnection,
            (17, b't') => Self::TransferEncoding,
            (17, b'x') => Self::XForwardedProto,
            (23, b'x') if name == Self::XForwardedClientCert.text().as_bytes() => {
                return Self::XForwardedClientCert;
            }
            (9.., b'x') if name.starts_with(b"x-envoy-") => return Self::envoy(name),
            _ => return Self::Other,
        };
        if name == guess.text().as_bytes() {
            guess
        } else if name.starts_with(b"x-envoy-") {
            Self::EnvoyOther
        } else {
            Self::Other
        }
    }

    /// Every number whose name starts with `x-envoy-`.
    pub(crate) const ENVOY: [Self; 10] = [
        Self::EnvoyOther,
        Self::XEnvoyAttemptCount,
        Self::XEnvoyExpectedTimeout,
        Self::XEnvoyExternalAddress,
        Self::XEnvoyMaxRetries,
        Self::XEnvoyOriginalHost,
        Self::XEnvoyOriginalPath,
        Self::XEnvoyOverloaded,
        Self::XEnvoyRetryOn,
        Self::XEnvoyServiceTime,
    ];

    /// The number of a name that starts with `x-envoy-`.
    fn envoy(name: &[u8]) -> Self {
        Self::ENVOY
            .into_iter()
            .find(|known| known.text().as_bytes() == name)
            .unwrap_or(Self::EnvoyOther)
    }

    /// The number as an index.
    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(u8::from(self))
    }

    /// Whether the name starts with `x-envoy-`.
    #[inline]
    pub(crate) fn is_envoy(self) -> bool {
        Self::ENVOY.contains(&self)
    }
}

impl From<Known> for u8 {
    #[expect(
        clippy::as_conversions,
        reason = "the only way to read a fieldless enum's number"
    )]
    fn from(known: Known) -> Self {
        known as Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_classified_as_itself() {
        for known in Known::NAMED {
            assert_eq!(Known::classify(known.text().as_bytes()), *known);
            assert_eq!(known.is_envoy(), known.text().starts_with("x-envoy-"));
            assert_eq!(known.header_name().unwrap(), known.text());
        }
    }

    #[test]
    fn other_names_have_no_number() {
        for name in [
            "",
            "x",
            "hosts",
            "date2",
            "x-request-ie",
            "grpc-tineout",
            "x-envoyx-foo",
        ] {
            assert_eq!(Known::classify(name.as_bytes()), Known::Other, "{name}");
        }
        for name in [
            "x-envoy-",
            "x-envoy-foo",
            "x-envoy-1",
            "x-envoy-12345",
            "x-envoy-1234567",
        ] {
            let expected = if name.len() > 8 {
                Known::EnvoyOther
            } else {
                Known::Other
            };
            assert_eq!(Known::classify(name.as_bytes()), expected, "{name}");
        }
    }
}
