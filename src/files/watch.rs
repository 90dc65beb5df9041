//! Says when files may have changed, as early as the system can tell.
//!
//! Only a hint: whoever follows files also scans them every [`Watcher::interval`], because
//! notifications get lost (network file systems, a directory that was created anew, links to
//! elsewhere). What counts is the [`Scan`], never the event.

use super::scan::{DirectoryId, Scan};
use crate::cli::{ConfigPath, Place};
use notify::{EventKind, RecursiveMode, Watcher as _, event::AccessKind};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Least time between two scans nobody asked for, where changes are notified.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same where they are not: a change is still to be served within a second.
const INTERVAL_UNNOTIFIED: Duration = Duration::from_millis(500);
/// A scan may take this part of the time at most.
const SCAN_SHARE: u32 = 50;

/// Follows the configured places.
pub(crate) struct Watcher {
    /// Absent when the system gives no notifications: then scanning alone has to do.
    notifier: Option<notify::RecommendedWatcher>,
    watched: BTreeMap<PathBuf, DirectoryId>,
    /// Whether everything that is to be watched is.
    complete: bool,
    interval: Duration,
}

impl Watcher {
    /// Calls `wake` whenever something may have changed.
    pub(crate) fn new(wake: impl Fn() + Send + 'static) -> Self {
        let notifier = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(&event)) {
                wake();
            }
        });
        if let Err(error) = &notifier {
            tracing::warn!(
                "the system does not notify about changed files ({error}); they are looked at instead"
            );
        }
        Self {
            notifier: notifier.ok(),
            watched: BTreeMap::new(),
            complete: false,
            interval: INTERVAL_UNNOTIFIED,
        }
    }

    /// Time until the next scan although nothing was notified.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Scans, and measures how often that can be afforded.
    pub(crate) fn scan(&mut self, scan: impl FnOnce() -> Scan) -> Scan {
        let began = Instant::now();
        let scan = scan();
        let least = if self.complete {
            INTERVAL
        } else {
            INTERVAL_UNNOTIFIED
        };
        self.interval = least.max(began.elapsed() * SCAN_SHARE);
        scan
    }

    /// Watches the directories that a scan found, and no others.
    pub(crate) fn follow(&mut self, roots: &[ConfigPath], scan: &Scan) {
        let Some(notifier) = &mut self.notifier else {
            return;
        };
        let mut wanted = scan.directories.clone();
        let parents = roots.iter().filter_map(|root| parent(&root.place));
        let hidden = scan
            .unreadable
            .keys()
            .filter_map(|key| parent(&Place::Path(key.path.clone())));
        for path in parents.chain(hidden) {
            if let Ok(metadata) = fs::metadata(&path) {
                wanted.insert(path, (metadata.dev(), metadata.ino()));
            }
        }
        // A directory that was created anew has the old name and none of the watches.
        self.watched.retain(|path, id| {
            let stays = wanted.get(path) == Some(id);
            if !stays {
                // It fails when the directory is gone, which is what was wanted.
                drop(notifier.unwatch(path));
            }
            stays
        });
        self.complete = true;
        for (path, id) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            if notifier.watch(&path, RecursiveMode::NonRecursive).is_ok() {
                self.watched.insert(path, id);
            } else {
                self.complete = false;
            }
        }
    }
}

/// The directory whose entries say that the place itself was replaced.
fn parent(place: &Place) -> Option<PathBuf> {
    match place {
        Place::Path(path) => {
            let parent = path.parent()?;
            Some(if parent.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                parent.to_owned()
            })
        }
        Place::Stdin => None,
    }
}

/// Whether an event can mean new content; reading files, as scans do, is none.
fn is_change(event: &notify::Event) -> bool {
    match event.kind {
        EventKind::Access(kind) => {
            matches!(kind, AccessKind::Close(notify::event::AccessMode::Write))
        }
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Other
        | EventKind::Remove(_) => true,
    }
}
