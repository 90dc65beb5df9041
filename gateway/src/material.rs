//! Secrets whose content is in files: read when they are configured, and again when the files
//! change.
//!
//! Everything behind this module sees the content only. Files are looked at several times a
//! second, through links: that finds what notifications miss (mounted volumes that swap a link,
//! network file systems), and there are few of them.

use gwanmun_ir::{Delta, Key, Pem, PrivatePem, Resource, Secret, SecretKey, SecretMaterial};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    os::unix::fs::MetadataExt as _,
    time::Duration,
};

/// Time between two looks.
pub(crate) const INTERVAL: Duration = Duration::from_millis(250);

/// Largest file, in bytes.
const MOST: u64 = 1 << 20;

/// Tells versions of a file apart: device, inode, length, and times of change in nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    place: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The secrets that are followed.
#[derive(Default)]
pub(crate) struct Files {
    followed: BTreeMap<SecretKey, Followed>,
}

/// A secret as configured, and the files as they were just before they were read last.
#[derive(Clone)]
pub(crate) struct Followed {
    configured: Secret,
    stamps: Vec<Option<Stamp>>,
}

impl Files {
    /// Puts the content of files in the place of their names, and follows them from now.
    pub(crate) fn resolve(&mut self, delta: &mut Delta) {
        let mut named = BTreeSet::new();
        for resource in &mut delta.upserts {
            let Resource::Secret(secret) = resource else {
                continue;
            };
            named.insert(secret.key.clone());
            let Some(followed) = Followed::new(secret) else {
                self.followed.remove(&secret.key);
                continue;
            };
            *secret = followed.read();
            self.followed.insert(secret.key.clone(), followed);
        }
        if delta.complete {
            self.followed.retain(|key, _| named.contains(key));
        }
        for key in &delta.removed {
            if let Key::Secret(key) = key
                && !named.contains(key)
            {
                self.followed.remove(key);
            }
        }
    }

    /// Whom to look at.
    pub(crate) fn followed(&self) -> Vec<Followed> {
        self.followed.values().cloned().collect()
    }

    /// Takes new versions, unless the configuration has changed meanwhile. Returns their content.
    pub(crate) fn take(&mut self, newer: Vec<(Followed, Secret)>) -> Vec<Resource> {
        let mut taken = Vec::new();
        for (followed, content) in newer {
            let Some(current) = self.followed.get_mut(&content.key) else {
                continue;
            };
            if current.configured == followed.configured {
                *current = followed;
                taken.push(Resource::Secret(content));
            }
        }
        taken
    }
}

/// Of these secrets those whose files have changed, with what the files hold now.
pub(crate) fn changed(followed: Vec<Followed>) -> Vec<(Followed, Secret)> {
    let changed = followed.into_iter().filter_map(|old| {
        let new = Followed::new(&old.configured)?;
        (new.stamps != old.stamps).then(|| {
            let content = new.read();
            (new, content)
        })
    });
    changed.collect()
}

impl Followed {
    /// The files of a secret as they are now; nothing when it names none.
    fn new(secret: &Secret) -> Option<Self> {
        let paths = paths(&secret.material);
        (!paths.is_empty()).then(|| Self {
            configured: secret.clone(),
            stamps: paths.into_iter().map(stamp).collect(),
        })
    }

    /// The secret with the content of its files.
    fn read(&self) -> Secret {
        let read = match &self.configured.material {
            SecretMaterial::KeyPairFiles {
                certificates,
                private_key,
            } => pair(certificates, private_key),
            SecretMaterial::AnchorFiles {
                certificates,
                revocations,
            } => anchors(certificates, revocations.as_deref()),
            other @ (SecretMaterial::Anchors { .. }
            | SecretMaterial::Invalid { .. }
            | SecretMaterial::KeyPair { .. }) => Ok(other.clone()),
        };
        Secret {
            key: self.configured.key.clone(),
            material: read.unwrap_or_else(|reason| SecretMaterial::Invalid { reason }),
            source: self.configured.source.clone(),
        }
    }
}

fn paths(material: &SecretMaterial) -> Vec<&str> {
    match material {
        SecretMaterial::KeyPairFiles {
            certificates,
            private_key,
        } => vec![certificates, private_key],
        SecretMaterial::AnchorFiles {
            certificates,
            revocations,
        } => std::iter::once(certificates.as_str())
            .chain(revocations.as_deref())
            .collect(),
        SecretMaterial::Anchors { .. }
        | SecretMaterial::Invalid { .. }
        | SecretMaterial::KeyPair { .. } => Vec::new(),
    }
}

fn pair(certificates: &str, private_key: &str) -> Result<SecretMaterial, String> {
    Ok(SecretMaterial::KeyPair {
        certificates: Pem::new(text(certificates)?),
        private_key: PrivatePem::new(text(private_key)?),
        ocsp_staple: None,
    })
}

fn anchors(certificates: &str, revocations: Option<&str>) -> Result<SecretMaterial, String> {
    Ok(SecretMaterial::Anchors {
        certificates: Pem::new(text(certificates)?),
        revocations: revocations.map(text).transpose()?.map(Pem::new),
    })
}

fn stamp(path: &str) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp {
        place: (found.dev(), found.ino()),
        length: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// The text of a file, or why there is none.
fn text(path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {path}: {error}");
    // A pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("cannot read {path}: not a file"));
    }
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MOST + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MOST) {
        return Err(format!("cannot read {path}: it is larger than 1 MiB"));
    }
    Ok(text)
}
