//! The combinations, and the rules that say how each must end.

use std::{collections::BTreeSet, fmt};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub(super) enum $name { $($(#[$each])* $variant,)* }

        impl $name {
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word,)* })
            }
        }
    };
}

words! {
    /// What policy A is. Each has a port of its own, which it shares with policy B: HTTP that
    /// demands certificates of B's authority.
    Kind {
        /// Istio, MUTUAL.
        Mutual = "istio-mutual",
        /// Istio, OPTIONAL_MUTUAL.
        Optional = "istio-optional",
        /// Istio, MUTUAL with `insecureSkipVerify`.
        Unverified = "istio-unverified",
        /// Istio, SIMPLE.
        Simple = "istio-simple",
        /// Istio, PASSTHROUGH to a server that asks for nothing.
        Passthrough = "istio-passthrough",
        /// Istio, MUTUAL with bytes inside.
        Tcp = "istio-tls-tcp",
        /// Gateway API, `frontend.default`.
        Default = "gateway-default",
        /// Gateway API, `frontend.perPort`, whose `default` is B's authority.
        PerPort = "gateway-per-port",
        /// Gateway API, `AllowInsecureFallback`.
        Insecure = "gateway-insecure",
    }
}

words! {
    /// The server name a client sends.
    Sni {
        Missing = "none",
        /// `a.example.com`.
        A = "a",
        /// A name that `*.wild.example.com`, which is A's, covers.
        Wild = "wild",
        /// `b.example.com`.
        B = "b",
        /// Of no policy.
        Unknown = "unknown",
        /// A's in capital letters.
        Upper = "upper",
        /// A's with a dot at its end.
        Dot = "dot",
    }
}

words! {
    /// The host of the request.
    Host {
        /// That of the server name; A's where there is none.
        Own = "own",
        /// The other policy's.
        Other = "other",
        /// Of no policy.
        Unknown = "unknown",
        /// The own one with a port.
        Port = "port",
        /// `GET https://OTHER/` with the own one in the field Host.
        Absolute = "absolute",
    }
}

words! {
    /// The certificate a client shows when it is asked.
    Shown {
        Nothing = "none",
        A = "a",
        B = "b",
        /// Of A's authority.
        Expired = "expired",
        /// Its own issuer, with the subject that both authorities have.
        SelfSigned = "self",
        /// Of A's authority, which takes it back before the connection.
        Revoked = "revoked",
        /// Of A's authority, for servers.
        Usage = "usage",
    }
}

words! {
    /// The session a client offers to resume.
    Ticket {
        Nothing = "none",
        /// Of the same server name, got with the right certificate.
        Own = "own",
        /// Of the other policy, got with its certificate.
        Other = "other",
        /// Of A, got with a certificate of an authority that is not trusted any more.
        Removed = "ca-removed",
        /// Of A, got with a certificate that has been revoked.
        Revoked = "revoked",
    }
}

words! {
    /// The protocols a client offers.
    Offer {
        Nothing = "none",
        Http1 = "h1",
        Http2 = "h2",
        Unknown = "unknown",
    }
}

/// One combination.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) sni: Sni,
    pub(super) host: Host,
    pub(super) shown: Shown,
    pub(super) ticket: Ticket,
    pub(super) offer: Offer,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<18}{:<8}{:<9}{:<8}{:<11}{:<8}",
            self.kind, self.sni, self.host, self.shown, self.ticket, self.offer
        )
    }
}

/// How a combination ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// No policy takes the server name: the connection ends without a word of TLS.
    Reset,
    /// The handshake is refused.
    Refused,
    /// A request was answered.
    Answered {
        status: u16,
        /// The backend that answered; nothing when it was the gateway.
        backend: Option<String>,
        resumed: bool,
        /// Negotiated protocol.
        alpn: &'static str,
        /// Whom `x-forwarded-client-cert` named to the backend: `-` nobody, `forged` what the
        /// client wrote itself.
        client: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("reset"),
            Self::Refused => f.write_str("refused"),
            Self::Answered {
                status,
                backend,
                resumed,
                alpn,
                client,
            } => {
                let backend = backend.as_deref().unwrap_or("-");
                let session = if *resumed { "resumed" } else { "new" };
                write!(
                    f,
                    "{status} {backend:<8}{session:<8}{alpn:<5}client {client}"
                )
            }
        }
    }
}

/// All combinations that are tried, once each.
pub(super) fn all() -> BTreeSet<Row> {
    Kind::ALL.iter().flat_map(|kind| of(*kind)).collect()
}

fn of(kind: Kind) -> Vec<Row> {
    let plain = Row {
        kind,
        sni: Sni::A,
        host: Host::Own,
        shown: Shown::Nothing,
        ticket: Ticket::Nothing,
        offer: Offer::Http1,
    };
    let mut rows = Vec::new();
    // Who is let in under which name.
    for (sni, shown) in product(Sni::ALL, Shown::ALL) {
        rows.push(Row {
            sni,
            shown,
            ..plain
        });
    }
    // Whose hosts can be reached under which name.
    for (sni, host) in product(&[Sni::A, Sni::Wild, Sni::B], Host::ALL) {
        let row = Row {
            sni,
            host,
            shown: right(sni),
            ..plain
        };
        rows.push(row);
        if host != Host::Absolute {
            rows.push(Row {
                offer: Offer::Http2,
                ..row
            });
        }
    }
    // What tickets are worth.
    let who = [Shown::Nothing, Shown::A, Shown::B];
    for ((sni, ticket), shown) in product(&product(&[Sni::A, Sni::B], Ticket::ALL), &who) {
        if sni == Sni::B && matches!(ticket, Ticket::Removed | Ticket::Revoked) {
            continue;
        }
        let row = Row {
            sni,
            ticket,
            shown,
            offer: Offer::Http2,
            ..plain
        };
        rows.push(row);
        rows.push(Row {
            host: Host::Other,
            ..row
        });
    }
    // What the protocol changes: nothing.
    for ((sni, offer), own) in product(&product(Sni::ALL, Offer::ALL), &[false, true]) {
        let shown = if own { right(sni) } else { Shown::Nothing };
        if offer != Offer::Http2 || !by_openssl(sni) {
            rows.push(Row {
                sni,
                offer,
                shown,
                ..plain
            });
        }
    }
    rows
}

/// Whether only `openssl s_client` sends such a name.
pub(super) fn by_openssl(sni: Sni) -> bool {
    matches!(sni, Sni::Upper | Sni::Dot)
}

fn product<A: Copy, B: Copy>(left: &[A], right: &[B]) -> Vec<(A, B)> {
    let pairs = left.iter().flat_map(|a| right.iter().map(|b| (*a, *b)));
    pairs.collect()
}

/// The certificate that the policy of this name wants to see.
pub(super) fn right(sni: Sni) -> Shown {
    if sni == Sni::B { Shown::B } else { Shown::A }
}

/// A policy of a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Policy {
    A,
    B,
}

/// What the rules say. They are few, and written here a second time on purpose.
pub(super) fn expected(row: &Row) -> Outcome {
    // 1. The server name alone chooses the policy, whatever its case and dot. None is the default.
    let policy = match row.sni {
        Sni::Missing | Sni::Unknown => return Outcome::Reset,
        Sni::B => Policy::B,
        Sni::A | Sni::Wild | Sni::Upper | Sni::Dot => Policy::A,
    };
    // 2. What is passed through is the server's business.
    if policy == Policy::A && row.kind == Kind::Passthrough {
        return served("through", false, "-", "forged");
    }
    // 3. A session is resumed under the policy that began it while what it trusts is the same.
    //    Then the client is who it was.
    let resumed = is_resumed(row, policy);
    let identity = if resumed {
        known(row.kind, policy, right(row.sni))
    } else if asks(row.kind, policy) {
        // 4. Otherwise who is asked must show what the policy wants.
        match admitted(row, policy) {
            Some(identity) => identity,
            None => return Outcome::Refused,
        }
    } else {
        "-"
    };
    // 5. Bytes are bytes: their server sees what the client wrote.
    if policy == Policy::A && row.kind == Kind::Tcp {
        return served("a", resumed, "-", "forged");
    }
    let alpn = match row.offer {
        Offer::Nothing | Offer::Unknown => "-",
        Offer::Http1 => "h1",
        Offer::Http2 => "h2",
    };
    // 6. A connection serves the hosts of its own policy.
    match row.host {
        Host::Own | Host::Port => {
            let backend = if policy == Policy::A { "a" } else { "b" };
            served(backend, resumed, alpn, identity)
        }
        Host::Other | Host::Absolute => answered(421, resumed, alpn),
        Host::Unknown => answered(404, resumed, alpn),
    }
}

fn served(backend: &str, resumed: bool, alpn: &'static str, client: &str) -> Outcome {
    Outcome::Answered {
        status: 200,
        backend: Some(backend.to_owned()),
        resumed,
        alpn,
        client: client.to_owned(),
    }
}

fn answered(status: u16, resumed: bool, alpn: &'static str) -> Outcome {
    Outcome::Answered {
        status,
        backend: None,
        resumed,
        alpn,
        client: "-".to_owned(),
    }
}

fn asks(kind: Kind, policy: Policy) -> bool {
    policy == Policy::B || kind != Kind::Simple
}

/// Whether a policy verifies whom it asks.
fn verifies(kind: Kind, policy: Policy) -> bool {
    policy == Policy::B || !matches!(kind, Kind::Simple | Kind::Insecure | Kind::Unverified)
}

/// What upstreams learn of a client who has shown a good certificate.
fn known(kind: Kind, policy: Policy, shown: Shown) -> &'static str {
    match (verifies(kind, policy), shown) {
        (true, Shown::A) => "a",
        (true, Shown::B) => "b",
        (true, Shown::Revoked) => "revoked",
        _ => "-",
    }
}

fn is_resumed(row: &Row, policy: Policy) -> bool {
    match row.ticket {
        Ticket::Nothing | Ticket::Other => false,
        Ticket::Own => true,
        // Where nobody is verified, no authority was removed.
        Ticket::Removed | Ticket::Revoked => !verifies(row.kind, policy),
    }
}

/// As whom a client is served in a full handshake; nothing when it is refused.
fn admitted(row: &Row, policy: Policy) -> Option<&'static str> {
    let name = known(row.kind, policy, row.shown);
    if !verifies(row.kind, policy) {
        let missing = row.kind == Kind::Unverified && row.shown == Shown::Nothing;
        return (!missing).then_some("-");
    }
    match (policy, row.shown) {
        (Policy::A, Shown::Nothing) => (row.kind == Kind::Optional).then_some("-"),
        // The Gateway API has no revocation lists.
        (Policy::A, Shown::Revoked) => {
            matches!(row.kind, Kind::Default | Kind::PerPort).then_some(name)
        }
        (Policy::A, Shown::A) | (Policy::B, Shown::B) => Some(name),
        _ => None,
    }
}
