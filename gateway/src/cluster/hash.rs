//! Consistent hashing: the same key goes to the same endpoint as long as that one is there, and
//! few keys move when endpoints come and go.

use super::{Endpoint, balance::Member};
use gwanmun_ir::LoadBalancing;
use pingora_ketama::{Bucket, Continuum};
use std::{net::SocketAddr, sync::Arc};

/// Points on a ring for an endpoint of weight 1, fixed by nginx's way of building it.
const POINTS: u64 = 160;
/// Most points on a ring, as Envoy's largest.
const LARGEST_RING: u64 = 8 * 1024 * 1024;
/// Largest weight relative to the smallest: finer shares would cost memory without end.
const LARGEST_WEIGHT: u32 = 256;
/// Entries of a Maglev table whose size is none.
const TABLE: u32 = 65_537;

/// Endpoints by hash.
pub(super) struct Hashed {
    /// By address.
    nodes: Vec<Arc<Endpoint>>,
    places: Places,
}

enum Places {
    /// The ring, and how many points it has at most.
    Ring(Continuum, u64),
    /// Which of the nodes each entry stands for.
    Maglev(Vec<u32>),
}

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.places {
            Places::Ring(..) => "ring",
            Places::Maglev(_) => "maglev",
        };
        f.debug_struct("Hashed")
            .field("kind", &kind)
            .field("nodes", &self.nodes.len())
            .finish()
    }
}

impl Hashed {
    /// What `balancing` needs for these members, which are sorted by address; nothing where it
    /// does not hash.
    pub(super) fn new<'a>(
        balancing: LoadBalancing,
        members: impl Iterator<Item = &'a Member> + Clone,
    ) -> Option<Self> {
        let weights: Vec<u32> = scaled(members.clone().map(|member| member.weight.max(1)));
        let nodes: Vec<_> = members.map(|member| Arc::clone(&member.endpoint)).collect();
        let places = match balancing {
            LoadBalancing::RingHash { minimum_size } => ring(&nodes, &weights, minimum_size),
            LoadBalancing::Maglev { table_size } => {
                Places::Maglev(maglev(&nodes, &weights, table_size))
            }
            LoadBalancing::LeastRequest | LoadBalancing::Random | LoadBalancing::RoundRobin => {
                return None;
            }
        };
        (!nodes.is_empty()).then_some(Self { nodes, places })
    }

    /// The endpoint of `key`, or the next one that fits.
    pub(super) fn pick(
        &self,
        key: &[u8],
        fits: impl Fn(&Endpoint) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        match &self.places {
            Places::Ring(ring, points) => {
                let mut at = ring.node_idx(key);
                (0..*points)
                    .filter_map(|_| self.find(*ring.get_addr(&mut at)?))
                    .find(|endpoint| fits(endpoint))
            }
            Places::Maglev(table) => {
                let size = u64::try_from(table.len()).ok()?;
                let start = usize::try_from(hash(key, 0) % size).ok()?;
                let (before, after) = table.split_at_checked(start)?;
                after
                    .iter()
                    .chain(before)
                    .filter_map(|&node| self.nodes.get(usize::try_from(node).ok()?))
                    .find(|endpoint| fits(endpoint))
            }
        }
    }

    fn find(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        let index = self
            .nodes
            .binary_search_by_key(&address, |node| node.address)
            .ok()?;
        self.nodes.get(index)
    }
}

/// The weights divided by what they have in common, at most [`LARGEST_WEIGHT`].
fn scaled(weights: impl Iterator<Item = u32> + Clone) -> Vec<u32> {
    let common = weights.clone().fold(0, gcd).max(1);
    let largest = weights.clone().max().unwrap_or(1) / common;
    let shrink = largest.div_ceil(LARGEST_WEIGHT).max(1);
    weights
        .map(|weight| (weight / common / shrink).max(1))
        .collect()
}

fn gcd(mut one: u32, mut other: u32) -> u32 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

fn ring(nodes: &[Arc<Endpoint>], weights: &[u32], minimum: u32) -> Places {
    let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
    let points = (total * POINTS).max(1);
    let wanted = u64::from(minimum).min(LARGEST_RING).div_ceil(points).max(1);
    let factor = u32::try_from(wanted).unwrap_or(1);
    let buckets: Vec<_> = nodes
        .iter()
        .zip(weights)
        .map(|(node, &weight)| Bucket::new(node.address, weight.saturating_mul(factor)))
        .collect();
    Places::Ring(Continuum::new(&buckets), points.saturating_mul(wanted))
}

/// The table of [Maglev], §3.4, with weights as Envoy takes them: in every round an endpoint takes
/// one entry with a chance in proportion to its weight.
///
/// [Maglev]: https://research.google/pubs/maglev-a-fast-and-reliable-software-network-load-balancer/
fn maglev(nodes: &[Arc<Endpoint>], weights: &[u32], size: u32) -> Vec<u32> {
    let size = if is_prime(size) && usize::try_from(size).is_ok_and(|size| size >= nodes.len()) {
        u64::from(size)
    } else {
        u64::from(TABLE)
    };
    let heaviest = weights.iter().copied().max().unwrap_or(1);
    let mut candidates: Vec<Candidate> = (0u32..)
        .zip(nodes.iter().zip(weights))
        .map(|(node, (endpoint, &weight))| Candidate {
            node,
            weight,
            saved: 0,
            next: hash(endpoint.text.as_bytes(), 1) % size,
            skip: hash(endpoint.text.as_bytes(), 2) % (size - 1) + 1,
        })
        .collect();
    let mut table = vec![u32::MAX; usize::try_from(size).unwrap_or_default()];
    let mut free = if candidates.is_empty() { 0 } else { size };
    while free > 0 {
        for candidate in &mut candidates {
            candidate.saved += candidate.weight;
            if candidate.saved < heaviest || free == 0 {
                continue;
            }
            candidate.saved -= heaviest;
            if candidate.take(&mut table, size) {
                free -= 1;
            }
        }
    }
    table
}

/// An endpoint that fills a Maglev table.
struct Candidate {
    node: u32,
    weight: u32,
    saved: u32,
    /// The entry it wants next.
    next: u64,
    skip: u64,
}

impl Candidate {
    /// Takes the first free entry of its preference: a walk over all entries, as their number is
    /// prime.
    fn take(&mut self, table: &mut [u32], size: u64) -> bool {
        for _ in 0..size {
            let entry = usize::try_from(self.next)
                .ok()
                .and_then(|at| table.get_mut(at));
            self.next = (self.next + self.skip) % size;
            if let Some(entry) = entry
                && *entry == u32::MAX
            {
                *entry = self.node;
                return true;
            }
        }
        false
    }
}

fn is_prime(number: u32) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

/// FNV-1a, mixed: the same in every process, which a random hash of the standard library is not.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gwanmun_ir::EndpointHealth;
    use std::collections::BTreeMap;

    const ALL: [LoadBalancing; 2] = [
        LoadBalancing::Maglev { table_size: 65_537 },
        LoadBalancing::RingHash { minimum_size: 1024 },
    ];

    fn hashed(balancing: LoadBalancing, weights: &[(u16, u32)]) -> Hashed {
        let members: Vec<_> = weights
            .iter()
            .map(|&(port, weight)| Member {
                endpoint: Arc::new(Endpoint::for_test(port)),
                weight,
                health: EndpointHealth::Healthy,
            })
            .collect();
        Hashed::new(balancing, members.iter()).unwrap()
    }

    fn places(hashed: &Hashed, keys: u32) -> Vec<u16> {
        (0..keys)
            .map(|key| {
                let picked = hashed.pick(format!("user-{key}").as_bytes(), |_| true);
                picked.unwrap().address.port()
            })
            .collect()
    }

    #[test]
    fn keys_spread_by_weight() {
        for balancing in ALL {
            let hashed = hashed(balancing, &[(1, 100), (2, 100), (3, 200)]);
            let mut counts: BTreeMap<u16, i32> = BTreeMap::new();
            for port in places(&hashed, 20_000) {
                *counts.entry(port).or_default() += 1;
            }
            for (port, expected) in [(1, 5_000), (2, 5_000), (3, 10_000)] {
                let off = (counts[&port] - expected).abs();
                assert!(off < expected / 5, "{balancing:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn few_keys_move_when_an_endpoint_leaves() {
        for balancing in ALL {
            let all: Vec<_> = (1..=10).map(|port| (port, 1)).collect();
            let before = places(&hashed(balancing, &all), 5_000);
            let after = places(&hashed(balancing, &all[1..]), 5_000);
            let stayed = |(before, after): &(&u16, &u16)| **before != 1 && before != after;
            let moved = before.iter().zip(&after).filter(stayed).count();
            assert!(moved < 250, "{balancing:?}: {moved} moved without need");
        }
    }

    #[test]
    fn the_next_one_that_fits_takes_over() {
        for balancing in ALL {
            let hashed = hashed(balancing, &[(1, 1), (2, 1), (3, 1)]);
            for key in 0..50u32 {
                let key = key.to_be_bytes();
                let first = hashed.pick(&key, |_| true).unwrap().address;
                let second = hashed.pick(&key, |endpoint| endpoint.address != first);
                assert_ne!(second.unwrap().address, first);
                assert!(hashed.pick(&key, |_| false).is_none());
            }
        }
    }

    #[test]
    fn sizes_that_make_no_table_are_replaced() {
        for size in [0, 1, 2, 100] {
            let balancing = LoadBalancing::Maglev { table_size: size };
            let hashed = hashed(balancing, &[(1, 1), (2, 1), (3, 1000)]);
            assert_eq!(places(&hashed, 100).len(), 100);
        }
    }
}
