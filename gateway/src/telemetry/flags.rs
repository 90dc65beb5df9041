//! Envoy's response flags, in the order they were set.

/// Why a request did not go the usual way, as Envoy's `%RESPONSE_FLAGS%`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flag {
    /// The client closed.
    Dc,
    /// A delay was injected.
    Di,
    /// The client broke the protocol.
    Dpe,
    /// An abort was injected.
    Fi,
    /// The cluster is unknown.
    Nc,
    /// No route or filter chain.
    Nr,
    /// Rate limited.
    Rl,
    /// Denied by external authorization.
    Uaex,
    /// The upstream closed.
    Uc,
    /// No connection to the upstream.
    Uf,
    /// No healthy upstream.
    Uh,
    /// Circuit breaker.
    Uo,
    /// The upstream broke the protocol.
    Upe,
    /// The upstream reset.
    Ur,
    /// Retries or connect attempts ran out.
    Urx,
    /// A time limit.
    Ut,
    /// The client reset the stream.
    Dr,
}

impl Flag {
    const ALL: [Self; 17] = [
        Self::Dc,
        Self::Di,
        Self::Dpe,
        Self::Fi,
        Self::Nc,
        Self::Nr,
        Self::Rl,
        Self::Uaex,
        Self::Uc,
        Self::Uf,
        Self::Uh,
        Self::Uo,
        Self::Upe,
        Self::Ur,
        Self::Urx,
        Self::Ut,
        Self::Dr,
    ];

    /// The flag as the log writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Dc => "DC",
            Self::Di => "DI",
            Self::Dpe => "DPE",
            Self::Fi => "FI",
            Self::Nc => "NC",
            Self::Nr => "NR",
            Self::Rl => "RL",
            Self::Uaex => "UAEX",
            Self::Uc => "UC",
            Self::Uf => "UF",
            Self::Uh => "UH",
            Self::Uo => "UO",
            Self::Upe => "UPE",
            Self::Ur => "UR",
            Self::Urx => "URX",
            Self::Ut => "UT",
            Self::Dr => "DR",
        }
    }

    /// 1 to 17: 0 is an empty place of [`ResponseFlags`].
    const fn code(self) -> u64 {
        match self {
            Self::Dc => 1,
            Self::Di => 2,
            Self::Dpe => 3,
            Self::Fi => 4,
            Self::Nc => 5,
            Self::Nr => 6,
            Self::Rl => 7,
            Self::Uaex => 8,
            Self::Uc => 9,
            Self::Uf => 10,
            Self::Uh => 11,
            Self::Uo => 12,
            Self::Upe => 13,
            Self::Ur => 14,
            Self::Urx => 15,
            Self::Ut => 16,
            Self::Dr => 17,
        }
    }
}

/// A set of [`Flag`]s that remembers the order they were set in; holds up to eight.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct ResponseFlags(u64);

impl ResponseFlags {
    /// No flag.
    pub(crate) const NONE: Self = Self(0);

    /// Exactly this flag.
    #[cfg(test)]
    pub(crate) const fn one(flag: Flag) -> Self {
        Self(flag.code())
    }

    /// Adds `flag` at the end, unless it is set.
    pub(crate) fn set(&mut self, flag: Flag) {
        let mut shift = 0;
        while shift < 64 {
            match (self.0 >> shift) & 0xff {
                0 => {
                    self.0 |= flag.code() << shift;
                    return;
                }
                code if code == flag.code() => return,
                _ => shift += 8,
            }
        }
    }

    /// The same with `flag` at the end, unless it is set.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn with(mut self, flag: Flag) -> Self {
        self.set(flag);
        self
    }

    /// Whether no flag is set.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `flag` is set.
    pub(crate) fn contains(self, flag: Flag) -> bool {
        self.iter().any(|set| set == flag)
    }

    /// The flags in the order they were set.
    pub(crate) fn iter(self) -> impl Iterator<Item = Flag> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let code = usize::try_from(rest & 0xff).ok()?;
            rest >>= 8;
            Flag::ALL.get(code.checked_sub(1)?).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_keep_the_order_they_were_set_in() {
        let mut flags = ResponseFlags::one(Flag::Urx).with(Flag::Uf);
        flags.set(Flag::Urx);
        assert_eq!(
            flags.iter().map(Flag::as_str).collect::<Vec<_>>(),
            ["URX", "UF"]
        );
        assert!(flags.contains(Flag::Uf) && !flags.contains(Flag::Uh));
        assert!(ResponseFlags::NONE.is_empty());
    }

    #[test]
    fn every_flag_is_found_again() {
        for flag in Flag::ALL {
            assert_eq!(ResponseFlags::one(flag).iter().collect::<Vec<_>>(), [flag]);
        }
    }
}
