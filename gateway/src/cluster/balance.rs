//! Choosing one endpoint of many: no lock, no allocation.
//!
//! A [`Table`] is immutable and swapped as a whole. Healthy endpoints come first; draining ones are
//! chosen only when nothing healthy is left. Ejection changes more often than the table, so it is a
//! flag of the endpoint that every choice looks at.

use super::{Endpoint, hash::Hashed};
use gwanmun_ir::{EndpointHealth, LoadBalancing, Warmup};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// How often another endpoint is drawn when the first was tried before, as Envoy's
/// `host_selection_retry_max_attempts` in Istio.
const RESELECTIONS: u32 = 5;

/// How often another endpoint is drawn instead of one that is warming up.
const REDRAWS: u32 = 64;

/// The weight that the heaviest endpoint is scaled to, see [`Tier::in_turn`].
const FULL: u64 = 65_535;

/// One endpoint in a [`Table`].
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The endpoint.
    pub(crate) endpoint: Arc<Endpoint>,
    /// Share of load, at least 1.
    pub(crate) weight: u32,
    /// Whether it may be chosen.
    pub(crate) health: EndpointHealth,
}

impl Member {
    /// Whether it is chosen as long as it is not the last resort.
    pub(crate) fn is_available(&self) -> bool {
        self.health == EndpointHealth::Healthy && !self.endpoint.state.outlier.is_ejected()
    }
}

/// The endpoints of a cluster at one moment.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// All of them, by address.
    members: Vec<Member>,
    healthy: Tier,
    draining: Tier,
}

impl Table {
    /// A table of these; of several with one address the first counts. Only a table that is made
    /// for it can hash.
    pub(crate) fn new(mut members: Vec<Member>, balancing: LoadBalancing) -> Self {
        members.sort_by_key(|member| member.endpoint.address);
        members.dedup_by_key(|member| member.endpoint.address);
        let tier = |health| {
            let members = members.iter().filter(|member| member.health == health);
            Tier::new(members, balancing)
        };
        Self {
            healthy: tier(EndpointHealth::Healthy),
            draining: tier(EndpointHealth::Draining),
            members,
        }
    }

    /// Chooses an endpoint, avoiding those that were tried as long as there is another of the same
    /// health.
    pub(crate) fn choose(&self, choice: &Choice<'_>) -> Option<&Arc<Endpoint>> {
        self.healthy
            .pick(choice)
            .or_else(|| self.draining.pick(choice))
    }

    /// How many endpoints are healthy, ejected or not.
    pub(crate) fn healthy(&self) -> usize {
        self.healthy.slots.len()
    }

    /// All endpoints, by address.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The endpoint with this address, whatever its health.
    pub(crate) fn find(&self, address: SocketAddr) -> Option<&Member> {
        let index = self
            .members
            .binary_search_by_key(&address, |member| member.endpoint.address)
            .ok()?;
        self.members.get(index)
    }
}

/// How to choose, for one request.
pub(crate) struct Choice<'a> {
    /// The way of choosing.
    pub(crate) balancing: LoadBalancing,
    /// Whose turn it is.
    pub(crate) position: &'a AtomicU64,
    /// Endpoints that were tried already.
    pub(crate) tried: &'a [SocketAddr],
    /// What is hashed; nothing means any endpoint.
    pub(crate) key: Option<&'a [u8]>,
    /// How new endpoints get their share.
    pub(crate) warmup: Option<Warmup>,
    /// So many endpoints are ejected that ejection does not count.
    pub(crate) panicking: bool,
}

impl Choice<'_> {
    fn wants(&self, endpoint: &Endpoint) -> bool {
        self.serves(endpoint) && !self.tried.contains(&endpoint.address)
    }

    fn serves(&self, endpoint: &Endpoint) -> bool {
        self.panicking || !endpoint.state.outlier.is_ejected()
    }

    /// Draws until the endpoint is warm enough for its luck: an endpoint with a share of x is
    /// taken in x of the draws.
    fn warm<'t>(&self, draw: impl Fn() -> Option<&'t Slot>) -> Option<&'t Slot> {
        let Some(warmup) = &self.warmup else {
            return draw();
        };
        for _ in 0..REDRAWS {
            let slot = draw()?;
            if fastrand::f64() < slot.endpoint.state.share(warmup) {
                return Some(slot);
            }
        }
        draw()
    }
}

/// Endpoints of one health.
#[derive(Debug, Default)]
struct Tier {
    slots: Vec<Slot>,
    /// Sum of all weights; 0 when all weights are equal, which makes choosing cheaper.
    total: u64,
    hashed: Option<Hashed>,
}

#[derive(Debug)]
struct Slot {
    endpoint: Arc<Endpoint>,
    weight: u64,
    /// Sum of the weights up to and including this one.
    cumulative: u64,
    /// The weight scaled so that the largest is [`FULL`].
    stride: u64,
}

impl Tier {
    fn new<'a>(
        members: impl Iterator<Item = &'a Member> + Clone,
        balancing: LoadBalancing,
    ) -> Self {
        let weights = members
            .clone()
            .map(|member| u64::from(member.weight.max(1)));
        let largest = weights.clone().max().unwrap_or(1);
        let uniform = weights.clone().min().unwrap_or(1) == largest;
        let hashed = Hashed::new(balancing, members.clone());
        let mut sum = 0;
        let slots: Vec<_> = members
            .zip(weights)
            .map(|(member, weight)| {
                sum += weight;
                Slot {
                    endpoint: Arc::clone(&member.endpoint),
                    weight,
                    cumulative: sum,
                    stride: (weight * FULL / largest).max(1),
                }
            })
            .collect();
        Self {
            slots,
            total: if uniform { 0 } else { sum },
            hashed,
        }
    }

    fn pick(&self, choice: &Choice<'_>) -> Option<&Arc<Endpoint>> {
        if self.slots.is_empty() {
            return None;
        }
        if let (Some(hashed), Some(key)) = (&self.hashed, choice.key)
            && let Some(found) = hashed.pick(key, |endpoint| choice.wants(endpoint))
        {
            return Some(found);
        }
        for _ in 0..=RESELECTIONS {
            let slot = match choice.balancing {
                LoadBalancing::LeastRequest => self.least_busy(choice),
                // Without anything to hash, as with a request that lacks it.
                LoadBalancing::Random
                | LoadBalancing::Maglev { .. }
                | LoadBalancing::RingHash { .. } => self.any(),
                LoadBalancing::RoundRobin => choice.warm(|| self.in_turn(choice.position)),
            }?;
            if choice.wants(&slot.endpoint) {
                return Some(&slot.endpoint);
            }
        }
        self.scan(|endpoint| choice.wants(endpoint))
            .or_else(|| self.scan(|endpoint| choice.serves(endpoint)))
    }

    /// The first that fits, from a random place on: what is left when drawing was unlucky.
    fn scan(&self, fits: impl Fn(&Endpoint) -> bool) -> Option<&Arc<Endpoint>> {
        let (before, after) = self.slots.split_at(fastrand::usize(..self.slots.len()));
        after
            .iter()
            .chain(before)
            .map(|slot| &slot.endpoint)
            .find(|endpoint| fits(endpoint))
    }

    /// A random one, by weight.
    fn any(&self) -> Option<&Slot> {
        if self.total == 0 {
            return self.slots.get(fastrand::usize(..self.slots.len()));
        }
        let at = fastrand::u64(..self.total);
        self.slots
            .get(self.slots.partition_point(|slot| slot.cumulative <= at))
    }

    /// The less busy, in proportion to its weight, of two random ones; the first drawn when they
    /// are equal, which keeps idle endpoints at their shares.
    fn least_busy(&self, choice: &Choice<'_>) -> Option<&Slot> {
        let (one, other) = if self.total == 0 && self.slots.len() > 1 && choice.warmup.is_none() {
            let first = fastrand::usize(..self.slots.len());
            let distance = fastrand::usize(1..self.slots.len());
            (
                self.slots.get(first)?,
                self.slots.get((first + distance) % self.slots.len())?,
            )
        } else {
            (choice.warm(|| self.any())?, choice.warm(|| self.any())?)
        };
        let load = |slot: &Slot| {
            if choice.wants(&slot.endpoint) {
                u64::from(slot.endpoint.state.active.load(Relaxed))
            } else {
                u64::from(u32::MAX)
            }
        };
        Some(if load(other) * one.weight < load(one) * other.weight {
            other
        } else {
            one
        })
    }

    /// The next in turn.
    ///
    /// With weights this is gRPC's [static stride scheduler]: every round offers each endpoint
    /// once, and one with a share of x of the largest weight takes the offer in x of the rounds,
    /// evenly spread. It needs no state but a counter.
    ///
    /// [static stride scheduler]: https://github.com/grpc/grpc/blob/master/src/core/load_balancing/weighted_round_robin/static_stride_scheduler.cc
    fn in_turn(&self, position: &AtomicU64) -> Option<&Slot> {
        let count = u64::try_from(self.slots.len()).ok()?;
        loop {
            let turn = position.fetch_add(1, Relaxed);
            let index = turn % count;
            let slot = self.slots.get(usize::try_from(index).ok()?)?;
            if self.total == 0 {
                return Some(slot);
            }
            let round = turn / count;
            let offset = index.wrapping_mul(FULL / 2);
            let phase = slot.stride.wrapping_mul(round).wrapping_add(offset) % FULL;
            if phase >= FULL - slot.stride {
                return Some(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl Table {
        fn pick(
            &self,
            balancing: LoadBalancing,
            position: &AtomicU64,
            tried: &[SocketAddr],
        ) -> Option<&Arc<Endpoint>> {
            self.choose(&Choice {
                balancing,
                position,
                tried,
                key: None,
                warmup: None,
                panicking: false,
            })
        }
    }

    fn table(members: &[(u16, u32, EndpointHealth)]) -> Table {
        Table::new(
            members
                .iter()
                .map(|&(port, weight, health)| Member {
                    endpoint: Arc::new(Endpoint::for_test(port)),
                    weight,
                    health,
                })
                .collect(),
            LoadBalancing::Random,
        )
    }

    fn healthy(weights: &[u32]) -> Table {
        let members: Vec<_> = (1u16..)
            .zip(weights)
            .map(|(port, &weight)| (port, weight, EndpointHealth::Healthy))
            .collect();
        table(&members)
    }

    fn counts(table: &Table, balancing: LoadBalancing, picks: u32) -> BTreeMap<u16, u32> {
        let position = AtomicU64::new(0);
        let mut counts = BTreeMap::new();
        for _ in 0..picks {
            let port = table
                .pick(balancing, &position, &[])
                .unwrap()
                .address
                .port();
            *counts.entry(port).or_default() += 1;
        }
        counts
    }

    const ALL: [LoadBalancing; 3] = [
        LoadBalancing::LeastRequest,
        LoadBalancing::Random,
        LoadBalancing::RoundRobin,
    ];

    #[test]
    fn round_robin_takes_turns() {
        let table = healthy(&[1, 1, 1]);
        let position = AtomicU64::new(0);
        let ports: Vec<_> = (0..6)
            .map(|_| {
                let endpoint = table.pick(LoadBalancing::RoundRobin, &position, &[]);
                endpoint.unwrap().address.port()
            })
            .collect();
        assert_eq!(ports, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn weighted_round_robin_does_not_bunch() {
        let table = healthy(&[1, 3]);
        let position = AtomicU64::new(0);
        let ports: Vec<_> = (0..40)
            .map(|_| {
                let endpoint = table.pick(LoadBalancing::RoundRobin, &position, &[]);
                endpoint.unwrap().address.port()
            })
            .collect();
        let longest_run = ports.chunk_by(|a, b| a == b).map(<[_]>::len).max();
        assert!(longest_run <= Some(4), "{ports:?}");
    }

    #[test]
    fn draining_endpoints_serve_only_when_nothing_healthy_is_left() {
        use EndpointHealth::{Draining, Healthy, Unhealthy};
        for balancing in ALL {
            let mixed = table(&[(1, 1, Healthy), (2, 9, Draining), (3, 9, Unhealthy)]);
            assert_eq!(counts(&mixed, balancing, 50), BTreeMap::from([(1, 50)]));
            let last = table(&[(2, 1, Draining), (3, 1, Unhealthy)]);
            assert_eq!(counts(&last, balancing, 50), BTreeMap::from([(2, 50)]));
            let none = table(&[(3, 1, Unhealthy)]);
            assert!(none.pick(balancing, &AtomicU64::new(0), &[]).is_none());
            assert!(
                Table::default()
                    .pick(balancing, &AtomicU64::new(0), &[])
                    .is_none()
            );
        }
    }

    #[test]
    fn a_tried_endpoint_is_avoided_while_there_is_another() {
        for balancing in ALL {
            for weights in [&[1, 1, 1, 1][..], &[1000, 1, 1, 1]] {
                let table = healthy(weights);
                let address = |port| Endpoint::for_test(port).address;
                let tried: Vec<_> = (1..4).map(address).collect();
                for _ in 0..100 {
                    let position = AtomicU64::new(fastrand::u64(..1000));
                    let picked = table.pick(balancing, &position, &tried).unwrap();
                    assert_eq!(picked.address.port(), 4);
                }
                let all: Vec<_> = (1..5).map(address).collect();
                assert!(table.pick(balancing, &AtomicU64::new(0), &all).is_some());
            }
        }
    }

    #[test]
    fn an_ejected_endpoint_is_never_chosen() {
        for balancing in ALL {
            let table = healthy(&[1, 1]);
            let first = &table.members()[0].endpoint;
            first.state.outlier.set_ejected(true);
            assert_eq!(counts(&table, balancing, 50), BTreeMap::from([(2, 50)]));
            table.members()[1].endpoint.state.outlier.set_ejected(true);
            assert!(table.pick(balancing, &AtomicU64::new(0), &[]).is_none());
        }
    }

    #[test]
    fn a_new_endpoint_gets_its_share_little_by_little() {
        let warmup = Warmup {
            duration_ms: 3_600_000,
            minimum_percent: 10,
            aggression_permille: 1000,
        };
        for balancing in [LoadBalancing::LeastRequest, LoadBalancing::RoundRobin] {
            let table = healthy(&[1, 1]);
            table.members()[0].endpoint.state.warm_now();
            let position = AtomicU64::new(0);
            let picks = (0..2000).filter(|_| {
                let choice = Choice {
                    balancing,
                    position: &position,
                    tried: &[],
                    key: None,
                    warmup: Some(warmup),
                    panicking: false,
                };
                table.choose(&choice).unwrap().address.port() == 1
            });
            let picks = picks.count();
            assert!((80..500).contains(&picks), "{balancing:?}: {picks}");
        }
    }

    #[test]
    fn ejection_does_not_count_in_a_panic() {
        let table = healthy(&[1]);
        table.members()[0].endpoint.state.outlier.set_ejected(true);
        let position = AtomicU64::new(0);
        let choice = |panicking| Choice {
            balancing: LoadBalancing::Random,
            position: &position,
            tried: &[],
            key: None,
            warmup: None,
            panicking,
        };
        assert!(table.choose(&choice(false)).is_none());
        assert!(table.choose(&choice(true)).is_some());
    }

    #[test]
    fn least_request_prefers_the_idle() {
        let table = healthy(&[1, 1]);
        table.members()[0].endpoint.state.active.store(5, Relaxed);
        let counts = counts(&table, LoadBalancing::LeastRequest, 100);
        assert_eq!(counts, BTreeMap::from([(2, 100)]));
    }

    #[test]
    fn an_address_counts_once() {
        use EndpointHealth::Healthy;
        let table = table(&[(2, 1, Healthy), (1, 1, Healthy), (2, 5, Healthy)]);
        assert_eq!(table.members().len(), 2);
        assert!(table.find(Endpoint::for_test(2).address).is_some());
        assert!(table.find(Endpoint::for_test(3).address).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 32,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn weighted_round_robin_is_exact_in_the_long_run(
            weights in proptest::collection::vec(1u32..20, 1..8),
        ) {
            let total: u32 = weights.iter().sum();
            let rounds = 300;
            let counts = counts(&healthy(&weights), LoadBalancing::RoundRobin, total * rounds);
            for (port, &weight) in (1u16..).zip(&weights) {
                let got = f64::from(*counts.get(&port).unwrap_or(&0));
                let expected = f64::from(weight * rounds);
                prop_assert!((got - expected).abs() <= expected * 0.02 + 3.0, "{counts:?}");
            }
        }

        #[test]
        fn random_and_idle_least_request_follow_the_weights(
            weights in proptest::collection::vec(1u32..10, 2..6),
            least in any::<bool>(),
        ) {
            let total: u32 = weights.iter().sum();
            let picks = 20_000;
            let balancing = if least { LoadBalancing::LeastRequest } else { LoadBalancing::Random };
            let table = healthy(&weights);
            let counts = counts(&table, balancing, picks);
            for (port, &weight) in (1u16..).zip(&weights) {
                let got = f64::from(*counts.get(&port).unwrap_or(&0)) / f64::from(picks);
                let share = f64::from(weight) / f64::from(total);
                prop_assert!((got - share).abs() < 0.03, "{share} got {got}: {counts:?}");
            }
        }
    }
}
