//! Tells connections that their listener is going away.

use tokio::sync::watch;

/// Tells a connection that it must end after its current request.
#[derive(Clone, Debug)]
pub(crate) struct DrainSignal(watch::Receiver<bool>);

impl DrainSignal {
    /// A signal, and what raises it by sending `true`.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether keep-alive ends now: answer with `connection: close` or GOAWAY.
    pub(crate) fn is_draining(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until [`is_draining`](Self::is_draining).
    pub(crate) async fn wait(&mut self) {
        // An error means that the sender is gone: the listener is, too.
        let _ = self.0.wait_for(|draining| *draining).await;
    }
}
