//! Why a try came to nothing, and what client and log are told about it.

use crate::{
    cluster::{ConnectError, ConnectFailure},
    telemetry::Flag,
};
use std::borrow::Cow;

/// Why a try came to nothing before its response began.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The upstream closed or reset the connection.
    Closed {
        /// Nothing of the request can have been processed.
        untouched: bool,
    },
    /// No connection.
    Connect(ConnectError),
    /// No endpoint may be chosen.
    NoHealthy,
    /// A circuit breaker is open.
    Overflow,
    /// The time limit of one try.
    PerTry,
    /// The upstream broke the protocol.
    Protocol,
    /// The upstream refused the stream without looking at it.
    Refused,
    /// The time limit of the request.
    RequestTimeout,
    /// The upstream reset the stream.
    Reset,
}

impl Fault {
    /// The flag in the access log.
    pub(crate) fn flag(&self) -> Flag {
        match self {
            Self::Closed { .. } => Flag::Uc,
            Self::Connect(error) => match error.failure {
                ConnectFailure::Overflow => Flag::Uo,
                ConnectFailure::Remote | ConnectFailure::Timeout => Flag::Uf,
            },
            Self::NoHealthy => Flag::Uh,
            Self::Overflow => Flag::Uo,
            Self::PerTry | Self::RequestTimeout => Flag::Ut,
            Self::Protocol => Flag::Upe,
            Self::Refused | Self::Reset => Flag::Ur,
        }
    }

    /// The status the client gets.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::PerTry | Self::RequestTimeout => 504,
            Self::Protocol => 502,
            Self::Closed { .. }
            | Self::Connect(_)
            | Self::NoHealthy
            | Self::Overflow
            | Self::Refused
            | Self::Reset => 503,
        }
    }

    /// Whether it is a circuit breaker: the answer says `x-envoy-overloaded`.
    pub(crate) fn is_overflow(&self) -> bool {
        self.flag() == Flag::Uo
    }

    /// Whether there was no connection at all.
    pub(crate) fn is_connect(&self) -> bool {
        self.flag() == Flag::Uf
    }

    /// The reset reason in Envoy's words.
    fn reason(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "connection termination",
            Self::Connect(error) => error.reset_reason(),
            Self::Overflow => "overflow",
            Self::Protocol => "protocol error",
            Self::Refused => "remote refused stream reset",
            Self::Reset => "remote reset",
            Self::NoHealthy | Self::PerTry | Self::RequestTimeout => "",
        }
    }

    /// The body of the answer; `retried` says whether another try was made before.
    pub(crate) fn body(&self, retried: bool) -> Cow<'static, str> {
        match self {
            Self::NoHealthy => "no healthy upstream".into(),
            Self::PerTry | Self::RequestTimeout => "upstream request timeout".into(),
            Self::Closed { .. }
            | Self::Connect(_)
            | Self::Overflow
            | Self::Protocol
            | Self::Refused
            | Self::Reset => {
                let after = if retried {
                    "retried and the latest reset reason"
                } else {
                    "reset reason"
                };
                let reason = self.reason();
                format!(
                    "upstream connect error or disconnect/reset before headers. {after}: {reason}"
                )
                .into()
            }
        }
    }

    /// The details in the access log.
    pub(crate) fn details(&self) -> Cow<'static, str> {
        match self {
            Self::NoHealthy => "no_healthy_upstream".into(),
            Self::PerTry => "upstream_per_try_timeout".into(),
            Self::RequestTimeout => "response_timeout".into(),
            Self::Connect(error) => format!(
                "upstream_reset_before_response_started{{{}}}",
                error.details()
            )
            .into(),
            Self::Closed { .. } | Self::Overflow | Self::Protocol | Self::Refused | Self::Reset => {
                let reason = self.reason().replace(' ', "_");
                format!("upstream_reset_before_response_started{{{reason}}}").into()
            }
        }
    }
}

/// Why a response was cut off after its head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cut {
    /// The upstream closed or broke the protocol in the middle of the body.
    Protocol,
    /// The upstream reset the stream.
    Reset,
    /// The upgraded connection ended.
    Closed,
    /// A time limit.
    Timeout,
    /// The request's body turned out to be larger than allowed.
    TooLarge,
}

impl From<&Fault> for Cut {
    /// What a failure means once the response's head was passed on.
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Refused | Fault::Reset => Self::Reset,
            Fault::PerTry | Fault::RequestTimeout => Self::Timeout,
            Fault::Closed { .. }
            | Fault::Connect(_)
            | Fault::NoHealthy
            | Fault::Overflow
            | Fault::Protocol => Self::Protocol,
        }
    }
}

impl Cut {
    /// The flag in the access log.
    pub(crate) fn flag(self) -> Option<Flag> {
        match self {
            Self::Protocol => Some(Flag::Upe),
            Self::Reset => Some(Flag::Ur),
            Self::Closed => Some(Flag::Uc),
            Self::Timeout => Some(Flag::Ut),
            Self::TooLarge => None,
        }
    }

    /// The details in the access log.
    pub(crate) fn details(self) -> &'static str {
        match self {
            Self::Protocol => "upstream_reset_after_response_started{protocol_error}",
            Self::Reset => "upstream_reset_after_response_started{remote_reset}",
            Self::Closed => "upstream_reset_after_response_started{connection_termination}",
            Self::Timeout => "response_timeout",
            Self::TooLarge => "request_payload_too_large",
        }
    }
}
