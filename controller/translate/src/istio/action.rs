//! What a VirtualService's rule does: forward, redirect or answer.

use super::{
    destination::Caller,
    headers,
    route::{Rule, matches_prefix},
    world::Voice,
};
use crate::Code;
use gwanmun_api::istio::{HttpDirectResponse, HttpRedirect, RedirectPortSelection};
use gwanmun_ir::{
    Action, DirectResponse, Failure, PathMatch, Redirect, RedirectPath, RedirectPort, Target,
    WeightedTarget,
};

/// The action of a rule whose match has this path condition.
pub(super) fn action(
    rule: &Rule<'_, '_>,
    path: Option<&PathMatch>,
    voice: &mut Voice<'_, '_>,
) -> Action {
    let wanted = rule.rule;
    let actions = [
        wanted.redirect.is_some(),
        wanted.direct_response.is_some(),
        !wanted.route.is_empty(),
        wanted.delegate.is_some(),
    ];
    if actions.into_iter().filter(|set| *set).count() > 1 {
        let message = "only one of redirect, directResponse, route and delegate is allowed; the \
                       first of them is used";
        voice.error(Code::SchemaValidation, rule.field(), message);
    }
    if let Some(redirect) = &wanted.redirect {
        return Action::Redirect(self::redirect(rule, redirect, path, voice));
    }
    if let Some(response) = &wanted.direct_response {
        return direct_response(rule, response, voice);
    }
    if wanted.route.is_empty() {
        let message =
            "route, redirect or directResponse is required; requests are answered with 503";
        voice.error(Code::SchemaValidation, rule.field(), message);
        return Action::Fail(Failure::ClusterNotFound);
    }
    forward(rule, voice)
}

fn redirect(
    rule: &Rule<'_, '_>,
    wanted: &HttpRedirect,
    path: Option<&PathMatch>,
    voice: &mut Voice<'_, '_>,
) -> Redirect {
    let field = format!("{}.redirect", rule.field());
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let status = match wanted.redirect_code {
        None | Some(0) => 301,
        Some(code @ (301 | 302 | 303 | 307 | 308)) => u16::try_from(code).unwrap_or(301),
        Some(code) => {
            let message = format!("{code} is none of 301, 302, 303, 307 and 308; 301 is used");
            voice.error(
                Code::SchemaValidation,
                format!("{field}.redirectCode"),
                message,
            );
            301
        }
    };
    let scheme = text(&wanted.scheme).map(|scheme| scheme.to_ascii_lowercase());
    let known = scheme
        .as_deref()
        .is_none_or(|scheme| matches!(scheme, "http" | "https"));
    if !known {
        let message = "must be http or https; it is kept";
        voice.error(Code::SchemaValidation, format!("{field}.scheme"), message);
    }
    Redirect {
        status,
        scheme: scheme.filter(|_| known),
        host: text(&wanted.authority),
        port: redirect_port(wanted, &field, voice),
        path: redirect_path(wanted, path, &field, voice),
    }
}

fn redirect_port(wanted: &HttpRedirect, field: &str, voice: &mut Voice<'_, '_>) -> RedirectPort {
    if let Some(port) = wanted.port.filter(|port| *port > 0) {
        return u16::try_from(port).map_or_else(
            |_error| {
                let message = "not a port; it is ignored";
                voice.error(Code::SchemaValidation, format!("{field}.port"), message);
                RedirectPort::FromHost
            },
            RedirectPort::Explicit,
        );
    }
    match &wanted.derive_port {
        None => RedirectPort::FromHost,
        Some(RedirectPortSelection::FromProtocolDefault) => RedirectPort::None,
        Some(RedirectPortSelection::FromRequestPort) => RedirectPort::FromListener,
        Some(RedirectPortSelection::Unknown(text)) => {
            let message = format!("`{text}` is not known and ignored");
            voice.error(Code::UnknownValue, format!("{field}.derivePort"), message);
            RedirectPort::FromHost
        }
    }
}

fn redirect_path(
    wanted: &HttpRedirect,
    path: Option<&PathMatch>,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Option<RedirectPath> {
    if let Some(uri) = wanted.uri.clone().filter(|uri| !uri.is_empty()) {
        return Some(RedirectPath::Full(uri));
    }
    let prefix = wanted
        .prefix_rewrite
        .clone()
        .filter(|prefix| !prefix.is_empty())?;
    if matches_prefix(path) {
        return Some(RedirectPath::StringPrefix(prefix));
    }
    let message = "needs a match of the path by prefix; the path is kept";
    voice.error(
        Code::SchemaValidation,
        format!("{field}.prefixRewrite"),
        message,
    );
    None
}

fn direct_response(
    rule: &Rule<'_, '_>,
    wanted: &HttpDirectResponse,
    voice: &mut Voice<'_, '_>,
) -> Action {
    let field = format!("{}.directResponse", rule.field());
    let status = wanted.status.and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (200..=599).contains(status));
    let Some(status) = status else {
        let message = "must be 200 to 599; requests are answered with 503";
        voice.error(Code::SchemaValidation, format!("{field}.status"), message);
        return Action::Fail(Failure::ClusterNotFound);
    };
    let body = wanted.body.clone().unwrap_or_default();
    let mut bytes = body.content().unwrap_or_else(|error| {
        let message = format!("{error}; no body is sent");
        voice.error(
            Code::SchemaValidation,
            format!("{field}.body.bytes"),
            message,
        );
        Vec::new()
    });
    if bytes.len() > 1 << 20 {
        let message = "larger than 1 MiB; no body is sent";
        voice.error(Code::SchemaValidation, format!("{field}.body"), message);
        bytes.clear();
    } else if bytes.len() > 100 << 10 {
        let message = "larger than 100 KiB: it is kept in memory for every route";
        voice.warn(Code::InvalidValue, format!("{field}.body"), message);
    }
    Action::Respond(DirectResponse {
        status,
        body: bytes,
    })
}

/// Weights: a single destination needs none, several without weight get nothing.
fn forward(rule: &Rule<'_, '_>, voice: &mut Voice<'_, '_>) -> Action {
    let routes = &rule.rule.route;
    let single = routes.len() == 1;
    let caller = Caller {
        world: rule.world,
        namespace: rule.namespace(),
        port: rule.place.port,
        otherwise: "requests are answered with 503",
    };
    let mut targets = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let field = format!("{}.route[{index}]", rule.field());
        let weight = route.weight.unwrap_or(0);
        if weight < 0 {
            let message = "must not be negative; it counts as 0";
            voice.error(Code::SchemaValidation, format!("{field}.weight"), message);
        }
        let weight = if single {
            1
        } else {
            u32::try_from(weight).unwrap_or(0)
        };
        let target = caller.target(route.destination.as_ref(), &field, voice);
        if weight > 0 {
            targets.push(WeightedTarget {
                target,
                weight,
                filters: headers::destination_filters(rule, route.headers.as_ref(), &field, voice),
            });
        }
    }
    match targets.as_slice() {
        [] => {
            let message = "all weights are 0; requests are answered with 503";
            voice.error(
                Code::SchemaValidation,
                format!("{}.route", rule.field()),
                message,
            );
            Action::Fail(Failure::ClusterNotFound)
        }
        [only] => match only.target {
            Target::Fail(failure) => Action::Fail(failure),
            Target::Cluster(_) => Action::Forward(targets),
        },
        _ => Action::Forward(targets),
    }
}
