//! The question: a request in a few words.

use crate::{
    AdminRequest,
    http::{RequestHead, Scheme, h1::HeadLimits, h1::RequestParser},
};
use bytes::BytesMut;
use std::net::IpAddr;

/// A request to explain.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExplainRequest {
    /// Method; empty means `GET`.
    pub method: String,
    /// `http://host[:port]/path?query`, `https://…`, or only a path; for a connection that carries
    /// bytes `tcp://host:port` or `tls://host[:port]`.
    pub url: String,
    /// Port of the listener; absent means the URL's.
    pub port: Option<u16>,
    /// Server name of TLS; absent means the URL's host for `https`.
    pub sni: Option<String>,
    /// Address of the client.
    pub source: Option<IpAddr>,
    /// Fields, e.g. `Host`.
    pub headers: Vec<(String, String)>,
}

/// A URL's parts.
pub(super) struct Target {
    pub(super) tls: bool,
    /// Whether a connection is asked about and no request.
    pub(super) bytes: bool,
    pub(super) authority: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl ExplainRequest {
    /// Reads the parameters of the admin path `/explain`.
    ///
    /// # Errors
    ///
    /// Which parameter is missing or malformed, in one sentence.
    pub fn from_admin(request: &AdminRequest) -> Result<Self, String> {
        let mut question = Self::default();
        for (name, value) in &request.query {
            let malformed = || format!("`{value}` is not a valid {name}");
            match name.as_str() {
                "method" => question.method.clone_from(value),
                "url" => question.url.clone_from(value),
                "port" => question.port = Some(value.parse().map_err(|_ignored| malformed())?),
                "source" => question.source = Some(value.parse().map_err(|_ignored| malformed())?),
                "sni" => question.sni = Some(value.clone()),
                "header" => {
                    let (name, value) = value.split_once(':').ok_or_else(malformed)?;
                    let field = (name.trim().to_owned(), value.trim().to_owned());
                    question.headers.push(field);
                }
                _ => return Err(format!("unknown parameter {name}")),
            }
        }
        if question.url.is_empty() {
            return Err("url is missing".to_owned());
        }
        Ok(question)
    }

    pub(super) fn method(&self) -> &str {
        if self.method.is_empty() {
            "GET"
        } else {
            &self.method
        }
    }

    /// Splits the URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one sentence.
    pub(super) fn target(&self) -> Result<Target, String> {
        let (tls, bytes, rest) = match self.url.split_once("://") {
            Some(("http", rest)) => (self.sni.is_some(), false, rest),
            Some(("https", rest)) => (true, false, rest),
            Some(("tcp", rest)) => (self.sni.is_some(), true, rest),
            Some(("tls", rest)) => (true, true, rest),
            Some((scheme, _)) => {
                return Err(format!("`{scheme}` is none of http, https, tcp and tls"));
            }
            None => (self.sni.is_some(), false, self.url.as_str()),
        };
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(cut).unwrap_or((rest, ""));
        let path = path.split('#').next().unwrap_or_default();
        let path = match path.chars().next() {
            Some('/') => path.to_owned(),
            _ => format!("/{path}"),
        };
        let (host, port) = split_port(authority)
            .ok_or_else(|| format!("`{authority}` is not a host with a port"))?;
        if bytes && !tls && self.port.or(port).is_none() {
            return Err(format!("`{}` says no port", self.url));
        }
        Ok(Target {
            tls,
            bytes,
            authority: authority.to_owned(),
            host: host.to_ascii_lowercase(),
            port: self.port.or(port).unwrap_or(if tls { 443 } else { 80 }),
            path,
        })
    }

    /// The head as the codec reads it from a client.
    ///
    /// # Errors
    ///
    /// The answer that such a head gets from the codec.
    pub(super) fn head(&self, target: &Target) -> Result<RequestHead, crate::http::RequestError> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method(), target.path);
        let named = |(name, _): &(String, String)| name.eq_ignore_ascii_case("host");
        if !self.headers.iter().any(named) {
            text.push_str(&format!("host: {}\r\n", target.authority));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut parser = RequestParser::new(HeadLimits::REQUEST, target.tls);
        let mut buffer = BytesMut::from(text.as_bytes());
        let mut head = parser
            .parse(&mut buffer)?
            .ok_or_else(crate::http::RequestError::codec)?;
        head.set_scheme(if target.tls {
            Scheme::Https
        } else {
            Scheme::Http
        });
        Ok(head)
    }
}

/// Host and port of an authority; nothing when the port is no number.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let bracket = authority.rfind(']').unwrap_or(0);
    match authority.rfind(':').filter(|colon| *colon > bracket) {
        Some(colon) => {
            let (host, port) = authority.split_at_checked(colon)?;
            Some((host, Some(port.strip_prefix(':')?.parse().ok()?)))
        }
        None => Some((authority, None)),
    }
}
