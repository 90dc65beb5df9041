//! What was sent of a request's body, kept for another try.

use bytes::Bytes;

/// Bytes of a body kept at most, as Envoy's per-connection buffer.
const LIMIT: usize = 1024 * 1024;

/// What was sent of a request's body, kept for another try. The pieces are shared with whoever
/// sends them; nothing is copied.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pieces: Vec<Bytes>,
    size: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// Nothing is kept; a body that began cannot be sent again.
    #[default]
    Off,
    /// Everything so far is kept.
    Recording,
    /// Too much came, or another try is no longer wanted.
    Lost,
}

impl Replay {
    /// Keeps what comes if `wanted`.
    pub(crate) fn new(wanted: bool) -> Self {
        let state = if wanted { State::Recording } else { State::Off };
        Self {
            state,
            ..Self::default()
        }
    }

    /// Keeps a piece that is about to be sent for the first time.
    pub(crate) fn record(&mut self, piece: &Bytes) {
        match self.state {
            State::Recording if self.size + piece.len() <= LIMIT => {
                self.size += piece.len();
                self.pieces.push(piece.clone());
            }
            State::Recording | State::Off => self.forget(),
            State::Lost => {}
        }
    }

    /// No other try will be made: frees what was kept.
    pub(crate) fn forget(&mut self) {
        self.pieces = Vec::new();
        self.size = 0;
        self.state = State::Lost;
    }

    /// Whether the body so far can be sent again.
    pub(crate) fn is_intact(&self) -> bool {
        self.state != State::Lost
    }

    /// How many pieces are kept.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Piece number `index` of the body so far.
    pub(crate) fn piece(&self, index: usize) -> Option<&Bytes> {
        self.pieces.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_over_the_limit_is_not_kept() {
        let mut replay = Replay::new(true);
        let piece = Bytes::from(vec![0; LIMIT / 2]);
        replay.record(&piece);
        replay.record(&piece);
        assert!(replay.is_intact());
        replay.record(&Bytes::from_static(b"x"));
        assert!(!replay.is_intact());
        assert!(replay.piece(0).is_none(), "the memory is free again");
    }

    #[test]
    fn without_recording_only_an_empty_body_can_be_sent_again() {
        let mut replay = Replay::new(false);
        assert!(replay.is_intact());
        replay.record(&Bytes::from_static(b"x"));
        assert!(!replay.is_intact());
    }
}
