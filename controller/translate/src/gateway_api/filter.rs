//! Filters of rules and backends.
//!
//! A filter that cannot be applied is never skipped: whoever asks gets a [`Refusal`] and answers
//! the rule's requests with an error.

use super::status::Reason;
use gwanmun_api::gateway_api::{
    FilterType, GrpcRouteFilter, HeaderFilter, HttpHeader, HttpRouteFilter, PathModifier,
    PathModifierType, RequestRedirectFilter, UrlRewriteFilter,
};
use gwanmun_ir::{
    Filter, HeaderEdit, HeaderEdits, HeaderValue, HostRewrite, Hostname, PathRewrite, Redirect,
    RedirectPath, RedirectPort, UrlRewrite,
};

/// Filters in the data plane's form.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub(super) filters: Vec<Filter>,
    /// The answer in place of a backend's.
    pub(super) redirect: Option<Redirect>,
}

/// Why a filter cannot be applied.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// Index of the filter.
    pub(super) index: usize,
    pub(super) message: String,
}

/// Where filters stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Whether they are a backend's and not the rule's.
    pub(super) backend: bool,
    /// Whether all the rule's matches are path prefixes, so that one can be replaced.
    pub(super) prefix: bool,
}

type Refused = (Reason, String);

/// Translates filters.
pub(super) fn compile(filters: &[HttpRouteFilter], place: Place) -> Result<Compiled, Refusal> {
    let mut compiled = Compiled::default();
    for (index, filter) in filters.iter().enumerate() {
        add(&mut compiled, filter, place).map_err(|(reason, message)| Refusal {
            reason,
            index,
            message,
        })?;
    }
    Ok(compiled)
}

/// A GRPCRoute's filters as an HTTPRoute would have them.
pub(super) fn of_grpc(filters: &[GrpcRouteFilter]) -> Vec<HttpRouteFilter> {
    filters
        .iter()
        .map(|filter| HttpRouteFilter {
            filter_type: filter.filter_type.clone(),
            request_header_modifier: filter.request_header_modifier.clone(),
            response_header_modifier: filter.response_header_modifier.clone(),
            request_mirror: filter.request_mirror.clone(),
            request_redirect: None,
            url_rewrite: None,
            cors: None,
            external_auth: None,
            extension_ref: filter.extension_ref.clone(),
        })
        .collect()
}

fn add(compiled: &mut Compiled, filter: &HttpRouteFilter, place: Place) -> Result<(), Refused> {
    let missing = || unsupported(format!("filter {} has no settings", filter.filter_type));
    match &filter.filter_type {
        FilterType::RequestHeaderModifier => {
            let settings = filter
                .request_header_modifier
                .as_ref()
                .ok_or_else(missing)?;
            compiled
                .filters
                .push(Filter::RequestHeaders(edits(settings)?));
        }
        FilterType::ResponseHeaderModifier => {
            let settings = filter
                .response_header_modifier
                .as_ref()
                .ok_or_else(missing)?;
            compiled
                .filters
                .push(Filter::ResponseHeaders(edits(settings)?));
        }
        FilterType::UrlRewrite => {
            let settings = filter.url_rewrite.as_ref().ok_or_else(missing)?;
            let repeated = compiled
                .filters
                .iter()
                .any(|one| matches!(one, Filter::Rewrite(_)));
            if repeated || compiled.redirect.is_some() {
                return Err(incompatible());
            }
            compiled
                .filters
                .push(Filter::Rewrite(rewrite(settings, place)?));
        }
        FilterType::RequestRedirect if !place.backend => {
            let settings = filter.request_redirect.as_ref().ok_or_else(missing)?;
            let rewritten = compiled
                .filters
                .iter()
                .any(|one| matches!(one, Filter::Rewrite(_)));
            if rewritten || compiled.redirect.is_some() {
                return Err(incompatible());
            }
            compiled.redirect = Some(redirect(settings, place)?);
        }
        FilterType::RequestRedirect
        | FilterType::Cors
        | FilterType::ExtensionRef
        | FilterType::ExternalAuth
        | FilterType::RequestMirror
        | FilterType::Unknown(_) => {
            let subject = if place.backend { " of a backend" } else { "" };
            let message = format!("filter {}{subject} is not supported", filter.filter_type);
            return Err(unsupported(message));
        }
    }
    Ok(())
}

fn unsupported(message: String) -> Refused {
    (Reason::UnsupportedValue, message)
}

fn incompatible() -> Refused {
    let message = "RequestRedirect and URLRewrite exclude each other and themselves".to_owned();
    (Reason::IncompatibleFilters, message)
}

fn edits(settings: &HeaderFilter) -> Result<HeaderEdits, Refused> {
    let edit = |header: &HttpHeader| -> Result<HeaderEdit, Refused> {
        Ok(HeaderEdit {
            name: header_name(&header.name)?,
            value: HeaderValue::Literal(header_value(header)?),
        })
    };
    Ok(HeaderEdits {
        remove: settings
            .remove
            .iter()
            .map(|name| header_name(name))
            .collect::<Result<_, _>>()?,
        set: settings.set.iter().map(edit).collect::<Result<_, _>>()?,
        add: settings.add.iter().map(edit).collect::<Result<_, _>>()?,
    })
}

/// A field name in lower case. Names that frame messages are the data plane's own business.
fn header_name(name: &str) -> Result<String, Refused> {
    let lower = name.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if lower.is_empty() || !lower.bytes().all(token) {
        return Err(unsupported(format!("`{name}` is not a header name")));
    }
    if ["connection", "content-length", "transfer-encoding"].contains(&lower.as_str()) {
        return Err(unsupported(format!("header `{name}` cannot be edited")));
    }
    Ok(lower)
}

/// A field value without surrounding space and without bytes that would end the field.
fn header_value(header: &HttpHeader) -> Result<String, Refused> {
    let value = header.value.trim_matches([' ', '\t']);
    if value
        .bytes()
        .any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f)
    {
        let message = format!(
            "the value of header `{}` has control characters",
            header.name
        );
        return Err(unsupported(message));
    }
    Ok(value.to_owned())
}

fn rewrite(settings: &UrlRewriteFilter, place: Place) -> Result<UrlRewrite, Refused> {
    let host = settings
        .hostname
        .as_deref()
        .map(precise_hostname)
        .transpose()?;
    let path = settings
        .path
        .as_ref()
        .map(|path| new_path(path, place))
        .transpose()?;
    Ok(UrlRewrite {
        host: host.map(HostRewrite::Literal),
        path: path.map(|path| match path {
            NewPath::Full(path) => PathRewrite::Full(path),
            NewPath::Prefix(prefix) => PathRewrite::Prefix(prefix),
        }),
    })
}

fn redirect(settings: &RequestRedirectFilter, place: Place) -> Result<Redirect, Refused> {
    let status = settings.status_code.unwrap_or(302);
    if ![301, 302, 303, 307, 308].contains(&status) {
        return Err(unsupported(format!(
            "redirects with status {status} are not supported"
        )));
    }
    let scheme = settings.scheme.as_deref();
    if let Some(scheme) = scheme.filter(|scheme| !["http", "https"].contains(scheme)) {
        return Err(unsupported(format!(
            "redirects to scheme `{scheme}` are not supported"
        )));
    }
    let host = settings
        .hostname
        .as_deref()
        .map(precise_hostname)
        .transpose()?;
    let path = settings
        .path
        .as_ref()
        .map(|path| new_path(path, place))
        .transpose()?;
    Ok(Redirect {
        status,
        scheme: scheme.map(str::to_owned),
        host,
        port: settings
            .port
            .map_or(RedirectPort::GatewayApi, RedirectPort::Explicit),
        path: path.map(|path| match path {
            NewPath::Full(path) => RedirectPath::Full(path),
            NewPath::Prefix(prefix) => RedirectPath::Prefix(prefix),
        }),
    })
}

enum NewPath {
    Full(String),
    Prefix(String),
}

fn new_path(path: &PathModifier, place: Place) -> Result<NewPath, Refused> {
    let missing = || unsupported(format!("path {} has no value", path.modifier_type));
    match &path.modifier_type {
        PathModifierType::ReplaceFullPath => {
            let value = path.replace_full_path.as_deref().ok_or_else(missing)?;
            Ok(NewPath::Full(absolute_path(value)?))
        }
        PathModifierType::ReplacePrefixMatch if place.prefix => {
            let value = path.replace_prefix_match.as_deref().ok_or_else(missing)?;
            Ok(NewPath::Prefix(absolute_path(value)?))
        }
        PathModifierType::ReplacePrefixMatch => {
            let message = "ReplacePrefixMatch needs matches of type PathPrefix".to_owned();
            Err((Reason::IncompatibleFilters, message))
        }
        PathModifierType::Unknown(text) => {
            Err(unsupported(format!("path type `{text}` is not supported")))
        }
    }
}

/// The path with a leading slash, without bytes that would end the request line.
fn absolute_path(path: &str) -> Result<String, Refused> {
    if path.bytes().any(|byte| byte <= 0x20 || byte == 0x7f) {
        return Err(unsupported(
            "a path has spaces or control characters".to_owned(),
        ));
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(format!("{slash}{path}"))
}

fn precise_hostname(text: &str) -> Result<String, Refused> {
    match text.parse::<Hostname>() {
        Ok(name) if !name.is_wildcard() => Ok(name.as_str().to_owned()),
        Ok(_) => Err(unsupported(format!(
            "hostname `{text}` is not a precise one"
        ))),
        Err(error) => Err(unsupported(error.to_string())),
    }
}
