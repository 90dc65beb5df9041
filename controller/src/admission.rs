//! Who may see which gateway's configuration: a pod that is one of the gateway's, by the token of
//! its ServiceAccount that was issued for us.

use crate::provision::label_value;
use futures_util::{FutureExt, future::BoxFuture};
use gwanmun_discovery::{Admission, Caller, Refusal};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    core::v1::Pod,
};
use kube::{Api, Client, api::PostParams};
use std::{collections::BTreeMap, time::Duration};

/// Audience that gateways' tokens are issued for: a token for the API server does not do.
pub(crate) const AUDIENCE: &str = "gwanmun.io/configuration";
/// Label of a gateway's pods: the gateway's name, see [`label_value`].
pub(crate) const GATEWAY_LABEL: &str = "gwanmun.io/gateway";
/// Longest time to decide.
const LONGEST: Duration = Duration::from_secs(10);
/// Where a bound token says which pod it was issued to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Asks the API server.
pub(crate) struct TokenAdmission {
    client: Client,
}

impl TokenAdmission {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    async fn check(&self, caller: &Caller) -> Result<(), Refusal> {
        let claims = self.review(&caller.token).await?;
        let Some((namespace, name)) = caller.gateway.split_once('/') else {
            return Err(Refusal::Forbidden(format!(
                "`{}` is not NAMESPACE/NAME",
                caller.gateway
            )));
        };
        if claims.namespace != namespace {
            return Err(Refusal::Forbidden(format!(
                "a pod of namespace {} may not see the configuration of {}",
                claims.namespace, caller.gateway
            )));
        }
        if claims.pod != caller.instance {
            return Err(Refusal::Forbidden(
                "the token was issued to another pod".to_owned(),
            ));
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod = pods
            .get_opt(&claims.pod)
            .await
            .map_err(|error| unavailable(&error))?;
        let pod = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(&*claims.uid));
        let labels = pod
            .ok_or_else(|| Refusal::Forbidden(format!("pod {} is gone", claims.pod)))?
            .metadata
            .labels
            .unwrap_or_default();
        let label = label_value(name);
        if labels.get(GATEWAY_LABEL) != Some(&label) {
            return Err(Refusal::Forbidden(format!(
                "pod {} is not one of {}: it lacks the label {GATEWAY_LABEL}={label}",
                claims.pod, caller.gateway
            )));
        }
        Ok(())
    }

    async fn review(&self, token: &str) -> Result<Claims, Refusal> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![AUDIENCE.to_owned()]),
                token: token.to_owned(),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let reviewed = reviews.create(&PostParams::default(), &review).await;
        let status = reviewed
            .map_err(|error| unavailable(&error))?
            .status
            .unwrap_or_default();
        let for_us = status
            .audiences
            .is_some_and(|audiences| audiences.iter().any(|one| one == AUDIENCE));
        if status.authenticated != Some(true) || !for_us {
            return Err(Refusal::Unauthenticated(
                status
                    .error
                    .unwrap_or_else(|| "the token is not valid".to_owned()),
            ));
        }
        let user = status.user.unwrap_or_default();
        let claims = claims(user.username.as_deref(), user.extra.unwrap_or_default());
        claims.ok_or_else(|| Refusal::Forbidden("the token was not issued to a pod".to_owned()))
    }
}

impl Admission for TokenAdmission {
    fn admit<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<(), Refusal>> {
        async move {
            tokio::time::timeout(LONGEST, self.check(caller))
                .await
                .unwrap_or_else(|_elapsed| {
                    Err(Refusal::Unavailable("the API server is slow".to_owned()))
                })
        }
        .boxed()
    }
}

/// What a token says of its pod.
#[derive(Debug, Eq, PartialEq)]
struct Claims {
    namespace: String,
    pod: String,
    uid: String,
}

fn claims(user: Option<&str>, mut extra: BTreeMap<String, Vec<String>>) -> Option<Claims> {
    let account = user?.strip_prefix("system:serviceaccount:")?;
    let (namespace, _) = account.split_once(':')?;
    let mut first = |name: &str| extra.remove(name)?.into_iter().next();
    Some(Claims {
        namespace: namespace.to_owned(),
        pod: first(POD_NAME)?,
        uid: first(POD_UID)?,
    })
}

fn unavailable(error: &kube::Error) -> Refusal {
    tracing::warn!(%error, "a gateway's identity cannot be checked");
    Refusal::Unavailable("the API server cannot be asked who you are".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_bound_to_a_pod_names_one() {
        let extra = |names: &[&str]| {
            let entry = |name: &&str| ((*name).to_owned(), vec!["x".to_owned()]);
            names.iter().map(entry).collect::<BTreeMap<_, _>>()
        };
        let user = Some("system:serviceaccount:edge:gw");
        let found = claims(user, extra(&[POD_NAME, POD_UID])).unwrap();
        assert_eq!((&*found.namespace, &*found.pod), ("edge", "x"));
        assert_eq!(claims(user, extra(&[POD_NAME])), None);
        assert_eq!(claims(Some("jane"), extra(&[POD_NAME, POD_UID])), None);
        assert_eq!(claims(None, extra(&[POD_NAME, POD_UID])), None);
    }
}
