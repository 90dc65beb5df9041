//! Signals become events.

use tokio::signal::unix::{SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Signal {
    /// SIGHUP: read everything again.
    Reread,
    /// SIGTERM or SIGINT: end in good order.
    Stop,
}

/// Calls `on` for each signal. A second request to stop ends the process at once.
///
/// # Errors
/// When the system does not let signals be caught.
pub(crate) fn follow(on: impl Fn(Signal) + Send + 'static) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let entered = runtime.enter();
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(entered);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let mut stopping = false;
                loop {
                    let signal = tokio::select! {
                        _ = hangup.recv() => Signal::Reread,
                        _ = interrupt.recv() => Signal::Stop,
                        _ = terminate.recv() => Signal::Stop,
                    };
                    if signal == Signal::Stop && std::mem::replace(&mut stopping, true) {
                        tracing::warn!("asked to stop a second time: ending at once");
                        std::process::exit(1);
                    }
                    on(signal);
                }
            });
        })?;
    Ok(())
}
