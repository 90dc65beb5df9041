//! The gateway's side of a stream without I/O: puts updates together and remembers what is held.

use crate::{SCHEMA, codec, proto};
use gwanmun_ir::{Delta, Rejection, Report, Resource, Severity, SourceRef};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// What a gateway holds, across streams.
#[derive(Default)]
pub(crate) struct Session {
    /// Versions of what was accepted, by key as sent.
    held: BTreeMap<String, String>,
    /// The update whose parts are arriving.
    arriving: Option<Arriving>,
}

#[derive(Default)]
struct Arriving {
    number: u64,
    upserts: Vec<proto::Resource>,
    removed: Vec<String>,
}

/// A complete update, to be applied.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) number: u64,
    pub(crate) delta: Delta,
    /// What this gateway does not understand; earlier versions stay in service.
    pub(crate) misunderstood: Vec<Rejection>,
    /// Keys and versions of what is in `delta`.
    versions: Vec<(String, String)>,
    removed: Vec<String>,
}

/// The controller does not keep to the protocol.
#[derive(Debug, Error, Eq, PartialEq)]
pub(crate) enum ProtocolError {
    #[error("part of update {got} before update {open} is complete")]
    Interleaved { open: u64, got: u64 },
    #[error("the key {0} is not one")]
    Key(String),
}

impl Session {
    /// Holds what a cache held: keys and versions as sent.
    pub(crate) fn holding(held: BTreeMap<String, String>) -> Self {
        Self {
            held,
            arriving: None,
        }
    }

    /// The first message of a new stream. Parts of an update on the old one are forgotten.
    pub(crate) fn hello(&mut self, gateway: &str, instance: &str) -> proto::Hello {
        self.arriving = None;
        proto::Hello {
            gateway: gateway.to_owned(),
            instance: instance.to_owned(),
            schema: SCHEMA,
            held: self.held.clone(),
        }
    }

    /// Takes one message; an update when it was the last part of one.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]; the stream is of no use then.
    pub(crate) fn receive(
        &mut self,
        message: proto::FromController,
    ) -> Result<Option<Update>, ProtocolError> {
        let arriving = self.arriving.get_or_insert_with(|| Arriving {
            number: message.update,
            ..Arriving::default()
        });
        if arriving.number != message.update {
            return Err(ProtocolError::Interleaved {
                open: arriving.number,
                got: message.update,
            });
        }
        arriving.upserts.extend(message.upserts);
        arriving.removed.extend(message.removed);
        if !message.last {
            return Ok(None);
        }
        self.arriving.take().map(complete).transpose()
    }

    /// Remembers what became of an update. The report to send.
    pub(crate) fn applied(&mut self, update: Update, mut report: Report) -> Report {
        report.rejected.extend(update.misunderstood);
        let refused: BTreeSet<String> = report
            .rejected
            .iter()
            .filter(|rejection| rejection.severity == Severity::Refused)
            .filter_map(|rejection| codec::key_text(&rejection.key).ok())
            .collect();
        for key in update.removed {
            self.held.remove(&key);
        }
        for (key, version) in update.versions {
            if refused.contains(&key) {
                self.held.remove(&key);
            } else {
                self.held.insert(key, version);
            }
        }
        report
    }
}

fn complete(arriving: Arriving) -> Result<Update, ProtocolError> {
    let mut update = Update {
        number: arriving.number,
        delta: Delta::default(),
        misunderstood: Vec::new(),
        versions: Vec::new(),
        removed: Vec::new(),
    };
    for resource in arriving.upserts {
        match codec::decode(&resource.body) {
            Ok(decoded) => {
                update.delta.upserts.push(decoded);
                update.versions.push((resource.key, resource.version));
            }
            Err(error) => {
                let key = codec::key(&resource.key).or(Err(ProtocolError::Key(resource.key)))?;
                update.misunderstood.push(Rejection {
                    key,
                    severity: Severity::Refused,
                    source: SourceRef::default(),
                    message: format!(
                        "this version of the gateway does not understand it ({error}); an earlier \
                         version stays in service if there is one"
                    ),
                });
            }
        }
    }
    for text in arriving.removed {
        let key = codec::key(&text);
        update
            .delta
            .removed
            .push(key.or(Err(ProtocolError::Key(text.clone())))?);
        update.removed.push(text);
    }
    Ok(update)
}

/// Keys and versions as sent, of resources that are held.
pub(crate) fn versions<'r>(
    resources: impl IntoIterator<Item = &'r Resource>,
) -> serde_json::Result<BTreeMap<String, String>> {
    resources
        .into_iter()
        .map(|resource| {
            let version = codec::encode(resource)?.version.to_string();
            Ok((codec::key_text(&resource.key())?, version))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gwanmun_ir::{Endpoint, EndpointHealth, EndpointIdentity, EndpointSet, Key};

    fn endpoints(cluster: &str, port: u16) -> Resource {
        Resource::Endpoints(EndpointSet {
            cluster: gwanmun_ir::ClusterKey::new(cluster),
            endpoints: vec![Endpoint {
                address: ([127, 0, 0, 1], port).into(),
                weight: 1,
                health: EndpointHealth::Healthy,
                identity: EndpointIdentity::default(),
            }],
        })
    }

    fn sent(resource: &Resource) -> proto::Resource {
        let encoded = codec::encode(resource).unwrap();
        proto::Resource {
            key: codec::key_text(&resource.key()).unwrap(),
            version: encoded.version.to_string(),
            body: encoded.body,
        }
    }

    fn part(update: u64, upserts: Vec<proto::Resource>, last: bool) -> proto::FromController {
        proto::FromController {
            update,
            upserts,
            removed: Vec::new(),
            last,
        }
    }

    #[test]
    fn an_update_is_applied_when_its_last_part_has_arrived() {
        let mut session = Session::default();
        let (a, b) = (endpoints("a", 1), endpoints("b", 2));
        let first = session.receive(part(1, vec![sent(&a)], false)).unwrap();
        assert!(first.is_none());
        let update = session
            .receive(part(1, vec![sent(&b)], true))
            .unwrap()
            .unwrap();
        assert_eq!(update.delta.upserts, [a, b]);
        session.applied(update, Report::default());
        assert_eq!(session.hello("ns/gw", "pod").held.len(), 2);
    }

    #[test]
    fn parts_of_two_updates_may_not_interleave() {
        let mut session = Session::default();
        session.receive(part(1, Vec::new(), false)).unwrap();
        let error = session.receive(part(2, Vec::new(), true)).unwrap_err();
        assert_eq!(error, ProtocolError::Interleaved { open: 1, got: 2 });
    }

    #[test]
    fn what_is_not_understood_is_rejected_alone_and_not_held() {
        let mut session = Session::default();
        let good = endpoints("good", 1);
        let mut odd = sent(&endpoints("odd", 2));
        odd.body = r#"{"endpoints":{"cluster":"odd","endpoints":[],"colour":"blue"}}"#.into();
        let update = session
            .receive(part(1, vec![sent(&good), odd], true))
            .unwrap()
            .unwrap();
        assert_eq!(update.delta.upserts, std::slice::from_ref(&good));
        let report = session.applied(update, Report::default());
        let rejected: Vec<&Key> = report.rejected.iter().map(|one| &one.key).collect();
        let odd = Key::Endpoints(gwanmun_ir::ClusterKey::new("odd"));
        assert_eq!(rejected, [&odd]);
        let held = session.hello("ns/gw", "pod").held;
        assert_eq!(
            held.keys().collect::<Vec<_>>(),
            [&codec::key_text(&good.key()).unwrap()]
        );
    }

    #[test]
    fn a_refused_resource_is_asked_for_again_on_the_next_stream() {
        let mut session = Session::default();
        let one = endpoints("one", 1);
        let update = session
            .receive(part(1, vec![sent(&one)], true))
            .unwrap()
            .unwrap();
        let report = Report {
            rejected: vec![Rejection {
                key: one.key(),
                severity: Severity::Refused,
                source: SourceRef::default(),
                message: "no".to_owned(),
            }],
            ..Report::default()
        };
        session.applied(update, report);
        assert!(session.hello("ns/gw", "pod").held.is_empty());
    }
}
