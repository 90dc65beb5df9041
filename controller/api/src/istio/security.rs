//! [AuthorizationPolicy], [PeerAuthentication] and [RequestAuthentication]: who may do what.
//!
//! [AuthorizationPolicy]: https://istio.io/latest/docs/reference/config/security/authorization-policy/
//! [PeerAuthentication]: https://istio.io/latest/docs/reference/config/security/peer_authentication/
//! [RequestAuthentication]: https://istio.io/latest/docs/reference/config/security/request_authentication/

use super::{LabelSelector, PolicyTargetReference};
use crate::ProtoDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who may do what.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    /// What is wanted; absent means that nothing is allowed.
    pub spec: Option<AuthorizationPolicySpec>,
}

/// What an [`AuthorizationPolicy`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicySpec {
    /// Workloads; absent means all of the namespace, in the root namespace all.
    pub selector: Option<LabelSelector>,
    /// Object whose workloads are meant; superseded by `targetRefs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// Objects whose workloads are meant.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Rules, any of which suffices; none never match, an empty one always does.
    pub rules: Vec<AuthorizationRule>,
    /// What happens to a request that matches; absent means [`AuthorizationAction::Allow`].
    pub action: Option<AuthorizationAction>,
    /// Who decides, for [`AuthorizationAction::Custom`].
    pub provider: Option<ExtensionProvider>,
}

crate::open_enum! {
    /// What happens to a request that matches.
    pub enum AuthorizationAction {
        /// It is allowed, and requests that match no such policy are not.
        Allow = "ALLOW",
        /// It is denied.
        Deny = "DENY",
        /// It is recorded.
        Audit = "AUDIT",
        /// A provider decides.
        Custom = "CUSTOM",
    }
}

/// A provider of the mesh configuration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// Its name.
    pub name: Option<String>,
}

/// Conditions of which all must hold.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationRule {
    /// Sources, any of which suffices; empty means any.
    pub from: Vec<AuthorizationFrom>,
    /// Operations, any of which suffices; empty means any.
    pub to: Vec<AuthorizationTo>,
    /// Further conditions, all of which must hold.
    pub when: Vec<AuthorizationCondition>,
}

/// A source.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationFrom {
    /// The source.
    pub source: Option<AuthorizationSource>,
}

/// Conditions on the client of which all must hold.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationSource {
    /// Peer identities.
    pub principals: Vec<String>,
    /// Excluded peer identities.
    pub not_principals: Vec<String>,
    /// Token identities, `issuer/subject`.
    pub request_principals: Vec<String>,
    /// Excluded token identities.
    pub not_request_principals: Vec<String>,
    /// Peer namespaces.
    pub namespaces: Vec<String>,
    /// Excluded peer namespaces.
    pub not_namespaces: Vec<String>,
    /// Addresses of the connection.
    pub ip_blocks: Vec<String>,
    /// Excluded addresses of the connection.
    pub not_ip_blocks: Vec<String>,
    /// Addresses of the client, from trusted proxies' headers.
    pub remote_ip_blocks: Vec<String>,
    /// Excluded addresses of the client.
    pub not_remote_ip_blocks: Vec<String>,
    /// Peer service accounts, `[namespace/]name`.
    pub service_accounts: Vec<String>,
    /// Excluded peer service accounts.
    pub not_service_accounts: Vec<String>,
    /// Peer trust domains.
    pub trust_domains: Vec<String>,
    /// Excluded peer trust domains.
    pub not_trust_domains: Vec<String>,
}

/// An operation.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationTo {
    /// The operation.
    pub operation: Option<AuthorizationOperation>,
}

/// Conditions on the request of which all must hold.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationOperation {
    /// Authorities.
    pub hosts: Vec<String>,
    /// Excluded authorities.
    pub not_hosts: Vec<String>,
    /// Ports.
    pub ports: Vec<String>,
    /// Excluded ports.
    pub not_ports: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Excluded methods.
    pub not_methods: Vec<String>,
    /// Paths.
    pub paths: Vec<String>,
    /// Excluded paths.
    pub not_paths: Vec<String>,
}

/// A condition on an attribute.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationCondition {
    /// Attribute. Required.
    pub key: String,
    /// Values.
    pub values: Vec<String>,
    /// Excluded values.
    pub not_values: Vec<String>,
}

/// Whether mesh workloads demand mutual TLS; without effect at gateways.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// What is wanted; the schema does not require it.
    pub spec: Option<PeerAuthenticationSpec>,
}

/// What a [`PeerAuthentication`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthenticationSpec {
    /// Workloads; absent means all of the namespace, in the root namespace all.
    pub selector: Option<LabelSelector>,
    /// Mutual TLS on all ports.
    pub mtls: Option<MutualTls>,
    /// Mutual TLS by port.
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// Mutual TLS.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// Whether it is demanded.
    pub mode: Option<MutualTlsMode>,
}

crate::open_enum! {
    /// Whether mutual TLS is demanded.
    pub enum MutualTlsMode {
        /// As the parent says.
        Unset = "UNSET",
        /// It is not spoken.
        Disable = "DISABLE",
        /// It is spoken if the client does.
        Permissive = "PERMISSIVE",
        /// It is demanded.
        Strict = "STRICT",
    }
}

/// Which tokens are accepted.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthentication {
    /// What is wanted; the schema does not require it.
    pub spec: Option<RequestAuthenticationSpec>,
}

/// What a [`RequestAuthentication`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthenticationSpec {
    /// Workloads; absent means all of the namespace, in the root namespace all.
    pub selector: Option<LabelSelector>,
    /// Object whose workloads are meant; superseded by `targetRefs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// Objects whose workloads are meant.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Issuers.
    pub jwt_rules: Vec<JwtRule>,
}

/// One issuer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtRule {
    /// Issuer. Required.
    pub issuer: Option<String>,
    /// Audiences; empty accepts any.
    pub audiences: Vec<String>,
    /// Where the keys are.
    pub jwks_uri: Option<String>,
    /// Old spelling of `jwksUri`.
    #[serde(rename = "jwks_uri")]
    pub jwks_uri_old: Option<String>,
    /// The keys.
    pub jwks: Option<String>,
    /// Headers with tokens.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters with tokens.
    pub from_params: Vec<String>,
    /// Cookies with tokens.
    pub from_cookies: Vec<String>,
    /// Header that tells the payload to the upstream.
    pub output_payload_to_header: Option<String>,
    /// Whether the token is forwarded.
    pub forward_original_token: Option<bool>,
    /// Headers that tell claims to the upstream.
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// Longest time to fetch keys.
    pub timeout: Option<ProtoDuration>,
    /// Claims that are lists separated by blanks.
    pub space_delimited_claims: Vec<String>,
}

/// A header with a token.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtHeader {
    /// Name. Required.
    pub name: String,
    /// What stands before the token.
    pub prefix: Option<String>,
}

/// A header that tells a claim.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimToHeader {
    /// Header. Required.
    pub header: String,
    /// Claim, nested with `.`. Required.
    pub claim: String,
}
