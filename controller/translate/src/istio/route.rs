//! The `http` rules of a VirtualService: one route per rule and match.

use super::{
    action,
    delegate::Written,
    headers, matches, retry,
    virtual_service::{Candidate, gateway_id},
    world::{Voice, World, source},
};
use crate::{Code, output::Sink};
use gwanmun_api::istio::{HttpMatchRequest, HttpRoute};
use gwanmun_ir::{Action, Filter, HttpMatch, PathMatch, RetryPolicy, SourceRef, Timeouts};

/// The server whose routes are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// `namespace/name` of the Gateway.
    pub(super) gateway: &'a str,
    /// The server's port, as the user wrote it.
    pub(super) port: u16,
}

/// A route without the hosts and the table it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Draft {
    /// `RULE` or `RULE/MATCH`.
    pub(super) position: String,
    /// The VirtualService it is written in, `http[RULE]` or `http[RULE].match[MATCH]`.
    pub(super) source: SourceRef,
    pub(super) name: String,
    pub(super) matches: Option<HttpMatch>,
    pub(super) filters: Vec<Filter>,
    pub(super) action: Action,
    pub(super) timeouts: Timeouts,
    pub(super) retry: Option<RetryPolicy>,
    /// Whether every request matches, so that it goes behind all others of its virtual host.
    pub(super) catch_all: bool,
}

/// The routes of a VirtualService on one server, in order. What follows a route that matches
/// everything is left out, as it can never match.
pub(super) fn drafts(
    world: &World<'_>,
    candidate: &Candidate<'_>,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Vec<Draft> {
    let mut found = Vec::new();
    for written in &candidate.rules {
        let mut voice = Voice {
            object: written.object.object,
            sink,
        };
        let rule = &*written.rule;
        let context = Rule {
            world,
            place,
            written,
            rule,
        };
        context.without_effect(&mut voice);
        context.claims(&mut voice);
        if rule.matches.is_empty() {
            found.extend(context.draft(None, &mut voice));
            break;
        }
        let mut done = false;
        for entry in rule.matches.iter().enumerate() {
            let draft = context.draft(Some(entry), &mut voice);
            done = draft.as_ref().is_some_and(|draft| draft.catch_all);
            found.extend(draft);
            if done {
                break;
            }
        }
        if done {
            break;
        }
    }
    found
}

/// One rule on one server.
pub(super) struct Rule<'w, 'a> {
    pub(super) world: &'w World<'a>,
    pub(super) place: &'w Place<'w>,
    pub(super) rule: &'w HttpRoute,
    written: &'w Written<'a>,
}

impl Rule<'_, '_> {
    /// The rule's field in the VirtualService.
    pub(super) fn field(&self) -> String {
        format!("spec.http[{}]", self.written.index)
    }

    /// The namespace of the VirtualService that it is written in.
    pub(super) fn namespace(&self) -> &str {
        self.written.object.namespace()
    }

    /// The route of one match, or of no match; nothing when it is not for this server.
    fn draft(
        &self,
        entry: Option<(usize, &HttpMatchRequest)>,
        voice: &mut Voice<'_, '_>,
    ) -> Option<Draft> {
        if let Some((_, entry)) = entry
            && !self.is_for_here(entry)
        {
            return None;
        }
        let mut matched = None;
        if let Some((number, entry)) = entry {
            let field = format!("{}.match[{number}]", self.field());
            let mut found = matches::http(entry, &field, voice)?;
            found.section = format!("match[{number}]");
            matched = Some(found);
        }
        let catch_all = matched.as_ref().is_none_or(matches::is_catch_all);
        let action = action::action(self, matched.as_ref().map(|found| &found.path), voice);
        let filters = headers::filters(self, matched.as_ref().map(|found| &found.path), voice);
        if self.needs_prefix() {
            matched = matches::with_prefix(matched);
        }
        let written = self.written;
        let (position, section) = match entry {
            None => (written.position.clone(), format!("http[{}]", written.index)),
            Some((number, _)) => (
                format!("{}/{number}", written.position),
                format!("http[{}].match[{number}]", written.index),
            ),
        };
        let forwards = matches!(action, Action::Forward(_));
        Some(Draft {
            position,
            source: source(written.object.object, section),
            name: self.name(entry.map(|(_, entry)| entry)),
            matches: matched,
            filters,
            action,
            timeouts: if forwards {
                retry::timeouts(self, voice)
            } else {
                Timeouts::default()
            },
            retry: if forwards {
                retry::policy(self, voice)
            } else {
                None
            },
            catch_all,
        })
    }

    /// Whether a match is meant for this server: its port, Gateway, and the labels and namespace
    /// of the gateway's workload.
    fn is_for_here(&self, entry: &HttpMatchRequest) -> bool {
        let namespace = self.namespace();
        let port = entry
            .port
            .is_none_or(|port| port == 0 || port == u32::from(self.place.port));
        let mut gateways = entry.gateways.iter();
        let gateway = entry.gateways.is_empty()
            || gateways.any(|name| gateway_id(name, namespace) == self.place.gateway);
        let source = entry
            .source_namespace
            .as_deref()
            .filter(|name| !name.is_empty());
        let source = source.is_none_or(|name| name == self.world.options.namespace);
        port && gateway && source && self.world.selects(&entry.source_labels)
    }

    /// Whether something replaces the matched prefix, so that there must be one.
    fn needs_prefix(&self) -> bool {
        let rewrite = self.rule.rewrite.as_ref();
        let redirect = self.rule.redirect.as_ref();
        rewrite.is_some_and(|rewrite| rewrite.uri.is_some())
            || redirect.is_some_and(|redirect| redirect.prefix_rewrite.is_some())
    }

    /// `RULE`, `RULE.MATCH`, or `-` where the rule has no name.
    fn name(&self, entry: Option<&HttpMatchRequest>) -> String {
        let rule = self.rule.name.as_deref().unwrap_or_default();
        let entry = entry.and_then(|entry| entry.name.as_deref());
        match (rule, entry.filter(|name| !name.is_empty())) {
            ("", None) => "-".to_owned(),
            (rule, None) => rule.to_owned(),
            (rule, Some(entry)) => format!("{rule}.{entry}"),
        }
    }

    /// Reports matches by claims of tokens that nothing verifies.
    fn claims(&self, voice: &mut Voice<'_, '_>) {
        for (number, entry) in self.rule.matches.iter().enumerate() {
            for (part, headers) in [
                ("headers", &entry.headers),
                ("withoutHeaders", &entry.without_headers),
            ] {
                let claims = headers
                    .keys()
                    .any(|name| name.starts_with("@request.auth."));
                if claims && !self.world.authenticates_requests() {
                    let message = "looks at claims of tokens, which no RequestAuthentication \
                                   verifies at this gateway";
                    let field = format!("{}.match[{number}].{part}", self.field());
                    voice.error(Code::ClaimsWithoutAuthentication, field, message);
                }
            }
        }
    }

    /// Says what of the rule has no effect yet.
    fn without_effect(&self, voice: &mut Voice<'_, '_>) {
        let rule = self.rule;
        let retries = rule.retries.as_ref();
        let remote = retries.and_then(|retries| retries.retry_remote_localities) == Some(true);
        let same = retries.and_then(|retries| retries.retry_ignore_previous_hosts) == Some(false);
        let prefixed = |one: &HttpMatchRequest| one.stat_prefix.is_some();
        let parts = [
            (
                "match.statPrefix",
                rule.matches.iter().any(prefixed),
                "routes are not counted apart",
            ),
            (
                "retries.retryRemoteLocalities",
                remote,
                "all localities are tried alike",
            ),
            (
                "retries.retryIgnorePreviousHosts",
                same,
                "endpoints that were not tried yet come first",
            ),
            ("fault", rule.fault.is_some(), "no fault is injected"),
            ("mirror", rule.mirror.is_some(), "no copy is sent"),
            ("mirrors", !rule.mirrors.is_empty(), "no copy is sent"),
            (
                "corsPolicy",
                rule.cors_policy.is_some(),
                "preflight requests are forwarded",
            ),
        ];
        for (name, set, instead) in parts {
            if set {
                let field = format!("{}.{name}", self.field());
                voice.warn(
                    Code::NoEffectYet,
                    field,
                    format!("has no effect yet: {instead}"),
                );
            }
        }
    }
}

/// Whether the matched part of the path is a raw string prefix.
pub(super) fn matches_prefix(path: Option<&PathMatch>) -> bool {
    match path {
        None | Some(PathMatch::Any | PathMatch::StringPrefix { .. }) => true,
        Some(
            PathMatch::Exact { .. }
            | PathMatch::Regex(_)
            | PathMatch::Prefix(_)
            | PathMatch::GrpcMethod { .. },
        ) => false,
    }
}
