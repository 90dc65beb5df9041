//! The one timer of a connection or stream.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep};

/// A timer that is armed when it is first needed, then moved, never recreated.
///
/// Moving a deadline forward costs nothing: the timer fires at the old one and is set again.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready once `deadline` has passed. Without one it is never ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, time::Duration};

    #[tokio::test]
    async fn deadlines_may_move_both_ways() {
        let start = Instant::now();
        let mut timer = Timer::default();
        let after = |ms| Some(start + Duration::from_millis(ms));
        poll_fn(|cx| {
            assert!(timer.poll(cx, after(5)).is_pending());
            assert!(timer.poll(cx, None).is_pending());
            assert!(timer.poll(cx, after(500)).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| timer.poll(cx, after(40))).await;
        assert!(start.elapsed() >= Duration::from_millis(40));
        poll_fn(|cx| timer.poll(cx, after(60))).await;
        assert!(start.elapsed() >= Duration::from_millis(60));
        assert!(
            start.elapsed() < Duration::from_millis(400),
            "the 500 ms were taken back"
        );
    }
}
