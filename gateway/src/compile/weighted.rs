//! Choosing among things by weight.

/// Things with weights. Never empty, total weight never 0.
pub(crate) struct Weighted<T> {
    items: Vec<T>,
    /// Sum of weights up to and including the item of the same index.
    bounds: Vec<u64>,
}

impl<T> Weighted<T> {
    /// These things with the weights that `weight` tells; nothing when they are all 0.
    pub(crate) fn new(items: Vec<T>, weight: impl Fn(&T) -> u32) -> Option<Self> {
        let bounds: Vec<u64> = items
            .iter()
            .scan(0_u64, |sum, item| {
                *sum += u64::from(weight(item));
                Some(*sum)
            })
            .collect();
        (bounds.last().copied().unwrap_or(0) > 0).then_some(Self { items, bounds })
    }

    /// Chooses by weight; `random` is any uniformly distributed number.
    pub(crate) fn pick(&self, random: u64) -> Option<&T> {
        if let [only] = self.items.as_slice() {
            return Some(only);
        }
        let total = self.bounds.last().copied()?;
        // Multiply-shift maps a uniform u64 onto 0..total, far below any bias worth speaking of.
        let point = u64::try_from((u128::from(random) * u128::from(total)) >> 64).ok()?;
        let index = self.bounds.partition_point(|bound| *bound <= point);
        self.items.get(index)
    }

    /// All of them, in configured order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighted(weights: &[u32]) -> Option<Weighted<(usize, u32)>> {
        let items = weights.iter().copied().enumerate().collect();
        Weighted::new(items, |(_, weight)| *weight)
    }

    #[test]
    fn shares_are_exact() {
        for weights in [&[70, 30, 0][..], &[1, 1, 1], &[0, 5], &[1], &[1_000_000, 1]] {
            let total: u32 = weights.iter().sum();
            let steps = u64::from(total.min(100));
            let items = weighted(weights).unwrap();
            let mut counts = vec![0_u64; weights.len()];
            for step in 0..steps {
                // The middle of each of as many equal parts of the range.
                let random = u64::MAX / steps * step + u64::MAX / steps / 2;
                counts[items.pick(random).unwrap().0] += 1;
            }
            for (count, weight) in counts.iter().zip(weights) {
                let exact = u64::from(*weight) * steps;
                assert!(
                    (count * u64::from(total)).abs_diff(exact) < u64::from(total),
                    "{counts:?} for {weights:?}"
                );
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_pick_the_first_and_the_last() {
        let items = weighted(&[0, 3, 0, 2, 0]).unwrap();
        assert_eq!(items.pick(0).unwrap().0, 1);
        assert_eq!(items.pick(u64::MAX).unwrap().0, 3);
    }

    #[test]
    fn without_weight_there_is_nothing() {
        assert!(weighted(&[]).is_none());
        assert!(weighted(&[0, 0]).is_none());
    }
}
