//! Read and write buffers lent to connections while they have something to read or write.
//!
//! A connection that waits owns no buffer: it takes one, polls, and gives it back when the poll
//! is pending. That is most of the difference between 2 KiB and 17 KiB per idle connection.

use bytes::BytesMut;
use std::cell::RefCell;

/// Size of the buffers that heads are read into and written from.
pub(crate) const SMALL: usize = 8 * 1024;
/// Size of the buffers that bodies are relayed with.
pub(crate) const LARGE: usize = 32 * 1024;
/// How many of each a core keeps.
const KEPT_SMALL: usize = 512;
const KEPT_LARGE: usize = 64;
const KEPT_OUT: usize = 512;

/// Buffers that nobody uses now.
struct Lists {
    small: Vec<BytesMut>,
    large: Vec<BytesMut>,
    out: Vec<Vec<u8>>,
}

thread_local! {
    /// A worker is a thread: its lists need no lock.
    static LISTS: RefCell<Lists> = const {
        RefCell::new(Lists {
            small: Vec::new(),
            large: Vec::new(),
            out: Vec::new(),
        })
    };
}

/// Works on the thread's lists; nothing when the thread is ending.
fn with_lists<T>(work: impl FnOnce(&mut Lists) -> T) -> Option<T> {
    LISTS.try_with(|lists| work(&mut lists.borrow_mut())).ok()
}

/// The free lists of the thread it is used on.
#[derive(Default)]
pub(crate) struct Buffers;

impl Buffers {
    /// An empty buffer of at least [`SMALL`] bytes.
    pub(crate) fn small(&self) -> BytesMut {
        let kept = with_lists(|lists| lists.small.pop()).flatten();
        kept.unwrap_or_else(|| BytesMut::with_capacity(SMALL))
    }

    /// An empty buffer of at least [`LARGE`] bytes.
    pub(crate) fn large(&self) -> BytesMut {
        let kept = with_lists(|lists| lists.large.pop()).flatten();
        kept.unwrap_or_else(|| BytesMut::with_capacity(LARGE))
    }

    /// An empty buffer that messages are written to.
    pub(crate) fn out(&self) -> Vec<u8> {
        let kept = with_lists(|lists| lists.out.pop()).flatten();
        kept.unwrap_or_else(|| Vec::with_capacity(SMALL))
    }

    /// Takes a written buffer back.
    pub(crate) fn give_out(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < SMALL / 2 || buffer.capacity() > LARGE {
            return;
        }
        buffer.clear();
        with_lists(|lists| {
            if lists.out.len() < KEPT_OUT {
                lists.out.push(buffer);
            }
        });
    }

    /// Takes a buffer back. One whose memory is still referred to by a message is let go.
    pub(crate) fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        if buffer.try_reclaim(LARGE) {
            with_lists(|lists| {
                if lists.large.len() < KEPT_LARGE && buffer.capacity() <= 2 * LARGE {
                    lists.large.push(buffer);
                }
            });
        } else if buffer.try_reclaim(SMALL) {
            with_lists(|lists| {
                if lists.small.len() < KEPT_SMALL {
                    lists.small.push(buffer);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_whole_and_one_still_referred_to_does_not() {
        let kept = || with_lists(|lists| lists.small.len()).unwrap();
        let buffers = Buffers;
        let mut buffer = buffers.small();
        buffer.extend_from_slice(b"head");
        let head = buffer.split().freeze();
        buffers.give(buffer);
        assert_eq!(kept(), 0, "still referred to");
        drop(head);

        let mut buffer = buffers.small();
        buffer.extend_from_slice(b"head");
        drop(buffer.split().freeze());
        buffers.give(buffer);
        assert_eq!(kept(), 1);
        assert!(buffers.small().capacity() >= SMALL);
    }
}
