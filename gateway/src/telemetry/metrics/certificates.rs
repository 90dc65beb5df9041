//! When certificates end.

use super::{
    CertificateSource,
    family::{Family, desc, label},
};
use crate::compile::InService;
use prometheus::{
    core::{Collector, Desc},
    proto::MetricFamily,
};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

const NAME: &str = "gwanmun_certificate_expiry_timestamp_seconds";
const HELP: &str = "When a certificate in service ends, since the Unix epoch.";
const DAY: u64 = 86_400;

/// `gwanmun_certificate_…`, `envoy_server_days_until_first_cert_expiring`.
pub(super) struct Certificates {
    source: CertificateSource,
    desc: Desc,
}

impl Certificates {
    pub(super) fn new(source: CertificateSource) -> prometheus::Result<Self> {
        Ok(Self {
            source,
            desc: desc(NAME, HELP)?,
        })
    }
}

impl Collector for Certificates {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Of two that look the same, the first to end.
        let mut ends: BTreeMap<InService, u64> = BTreeMap::new();
        for one in (self.source)() {
            let end = u64::try_from(one.not_after).unwrap_or_default();
            let named = InService {
                not_after: 0,
                ..one
            };
            let known = ends.entry(named).or_insert(end);
            *known = end.min(*known);
        }
        let Some(first) = ends.values().min().copied() else {
            return Vec::new();
        };
        let mut each = Family::gauge(NAME, HELP);
        for (one, end) in ends {
            let kind = if one.is_authority {
                "authority"
            } else {
                "certificate"
            };
            let labels = vec![
                label("kind", kind),
                label("secret", one.secret.as_str()),
                label("serial", one.serial),
                label("subject", one.title),
            ];
            each.value(labels, end);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let mut days = Family::gauge(
            "envoy_server_days_until_first_cert_expiring",
            "Whole days until the first certificate in service ends.",
        );
        days.value(Vec::new(), first.saturating_sub(now) / DAY);
        vec![each.build(), days.build()]
    }
}
