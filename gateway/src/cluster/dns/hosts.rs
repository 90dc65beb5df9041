//! The system's hosts file, read again when it changes.

use hickory_resolver::Hosts;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

/// Where it is.
pub(super) const PATH: &str = "/etc/hosts";
/// How often to look whether it has changed: its writers replace it without telling anybody.
const LOOK: Duration = Duration::from_secs(2);

/// What tells one content of a file from another without reading it.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    let known = fs::metadata(path).ok()?;
    Some((known.modified().ok()?, known.len()))
}

fn read(path: &Path) -> Arc<Hosts> {
    let mut hosts = Hosts::default();
    if let Err(error) = fs::File::open(path).and_then(|file| hosts.read_hosts_conf(file)) {
        tracing::debug!(%error, path = %path.display(), "no hosts file");
    }
    Arc::new(hosts)
}

/// Follows a hosts file on the runtime until nobody wants to know any more.
pub(super) fn follow(
    control: &tokio::runtime::Handle,
    path: PathBuf,
) -> watch::Receiver<Arc<Hosts>> {
    let mut before = stamp(&path);
    let (sender, receiver) = watch::channel(read(&path));
    control.spawn(async move {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = stamp(&path);
            if now != before {
                before = now;
                tracing::info!(path = %path.display(), "the hosts file has changed");
                sender.send_replace(read(&path));
            }
        }
    });
    receiver
}
