//! What of a request decides its endpoint, in a cluster that hashes.

use crate::{
    cluster::{Cluster, source_key},
    http::RequestHead,
};
use gwanmun_ir::{HashCookie, HashKey};
use std::{fmt::Write as _, net::IpAddr};

/// What decides a request's endpoint.
#[derive(Default)]
pub(crate) struct Affinity {
    /// What is hashed; nothing where the cluster does not hash or the request lacks it.
    pub(crate) key: Option<Box<[u8]>>,
    /// A `set-cookie` for the response: the request came without the cookie.
    pub(crate) set_cookie: Option<Box<str>>,
}

/// What decides the endpoint of a request from `client`.
pub(crate) fn of(cluster: &Cluster, head: &RequestHead, client: IpAddr) -> Affinity {
    let Some(hash) = &cluster.config.hash else {
        return Affinity::default();
    };
    let key = match hash {
        HashKey::Cookie(cookie) => return of_cookie(cookie, head),
        HashKey::Header(name) => head.header_joined(name).map(|value| Box::from(&*value)),
        HashKey::Query(name) => head
            .query()
            .and_then(|query| parameter(query, name))
            .map(|value| Box::from(value.as_bytes())),
        HashKey::SourceIp => Some(source_key(client)),
    };
    Affinity {
        key,
        set_cookie: None,
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .trim_start_matches('?')
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn of_cookie(cookie: &HashCookie, head: &RequestHead) -> Affinity {
    if let Some(value) = cookie_value(head, &cookie.name) {
        return Affinity {
            key: Some(value),
            set_cookie: None,
        };
    }
    let Some(ttl) = cookie.ttl_seconds else {
        return Affinity::default();
    };
    let value = format!("{:016x}", fastrand::u64(..));
    let mut text = format!("{}=\"{value}\"", cookie.name);
    // Writing to a string cannot fail.
    if ttl > 0 {
        let _ = write!(text, "; Max-Age={ttl}");
    }
    if !cookie.path.is_empty() {
        let _ = write!(text, "; Path={}", cookie.path);
    }
    for (name, value) in &cookie.attributes {
        let _ = if value.is_empty() {
            write!(text, "; {name}")
        } else {
            write!(text, "; {name}={value}")
        };
    }
    text.push_str("; HttpOnly");
    Affinity {
        key: Some(value.into_bytes().into()),
        set_cookie: Some(text.into()),
    }
}

/// The value of the first cookie of this name, without the quotes around it.
fn cookie_value(head: &RequestHead, name: &str) -> Option<Box<[u8]>> {
    head.fields().values("cookie").find_map(|line| {
        line.split(|&byte| byte == b';').find_map(|pair| {
            let pair = pair.trim_ascii();
            let at = pair.iter().position(|&byte| byte == b'=')?;
            let (key, value) = pair.split_at_checked(at)?;
            let value = value.get(1..)?;
            let bare = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""))
                .unwrap_or(value);
            (key == name.as_bytes() && !bare.is_empty()).then(|| bare.into())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(hash: HashKey, target: &str, headers: &[(&str, &str)]) -> Affinity {
        let mut cluster = Cluster::for_test("a");
        let mut config = (*cluster.config).clone();
        config.hash = Some(hash);
        cluster.config = config.into();
        let head = RequestHead::test("GET", target, headers);
        of(&cluster, &head, [192, 0, 2, 1].into())
    }

    fn cookie(ttl_seconds: Option<u64>) -> HashKey {
        HashKey::Cookie(HashCookie {
            name: "user".to_owned(),
            path: "/a".to_owned(),
            ttl_seconds,
            attributes: vec![("SameSite".to_owned(), "Strict".to_owned())],
        })
    }

    #[test]
    fn the_key_is_what_the_policy_names() {
        let header = || HashKey::Header("x-user".to_owned());
        let query = || HashKey::Query("user".to_owned());
        for (hash, target, headers, key) in [
            (
                header(),
                "/",
                &[("x-user", "jason")][..],
                Some(&b"jason"[..]),
            ),
            (header(), "/", &[][..], None),
            (query(), "/?a=b&user=jason&user=b", &[][..], Some(b"jason")),
            (query(), "/?users=jason", &[][..], None),
            (HashKey::SourceIp, "/", &[][..], Some(&[192, 0, 2, 1])),
            (
                cookie(None),
                "/",
                &[("cookie", "a=b; user=\"x\"")][..],
                Some(b"x"),
            ),
            (
                cookie(Some(0)),
                "/",
                &[("cookie", "user=x")][..],
                Some(b"x"),
            ),
            (cookie(None), "/", &[("cookie", "users=x")][..], None),
        ] {
            let affinity = asked(hash.clone(), target, headers);
            assert_eq!(
                affinity.key.as_deref(),
                key,
                "{hash:?} {target} {headers:?}"
            );
            assert_eq!(affinity.set_cookie, None);
        }
    }

    #[test]
    fn a_cookie_is_generated_where_it_may_be() {
        for (ttl, age) in [(0, ""), (60, "; Max-Age=60")] {
            let affinity = asked(cookie(Some(ttl)), "/", &[("cookie", "other=x")]);
            let value = String::from_utf8(affinity.key.unwrap().into()).unwrap();
            let expected = format!("user=\"{value}\"{age}; Path=/a; SameSite=Strict; HttpOnly");
            assert_eq!(affinity.set_cookie.as_deref(), Some(expected.as_str()));
        }
    }
}
