//! The last configuration that was good, on disk: a gateway starts from it while the controller is
//! away.

use crate::{codec, session};
use gwanmun_ir::{Delta, Resource};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};
use thiserror::Error;

/// First line of the file; another one means another format.
const FORMAT: &str = "gwanmun configuration 1";

/// A file with the last good configuration of one gateway.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Path of the file. Its directory must exist; a temporary file is written beside it.
    pub path: PathBuf,
    /// `namespace/name` of the gateway: another gateway's file is not used.
    pub gateway: String,
    /// Whether certificates and private keys are kept too. Without them, a gateway that starts
    /// from the file fails TLS handshakes until the controller is back.
    pub secrets: bool,
}

/// What a [`Cache`] held.
#[derive(Debug, Default)]
pub struct Cached {
    /// Everything, to be applied first.
    pub delta: Delta,
    /// Versions by key, to be passed to [`follow`](crate::follow).
    pub held: BTreeMap<String, String>,
}

/// A cache cannot be used.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The file cannot be read or written.
    #[error("{path}: {error}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is damaged, or another gateway's.
    #[error("{path}: {reason}", path = .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Cache {
    /// Replaces the file's content in one step.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`]; the earlier file is still there then.
    pub fn save<'r>(
        &self,
        resources: impl IntoIterator<Item = &'r Resource>,
    ) -> Result<(), CacheError> {
        let mut body = Vec::new();
        for resource in resources {
            if matches!(resource, Resource::Secret(_)) && !self.secrets {
                continue;
            }
            serde_json::to_writer(&mut body, resource)
                .map_err(|error| self.io(io::Error::other(error)))?;
            body.push(b'\n');
        }
        let head = format!("{FORMAT} {} {}\n", codec::version(&body), self.gateway);
        let temporary = self.path.with_extension("new");
        let written = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(head.as_bytes())?;
            file.write_all(&body)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            match self.path.parent() {
                Some(directory) => File::open(directory)?.sync_all(),
                None => Ok(()),
            }
        };
        written().map_err(|error| self.io(error))
    }

    /// What the file holds; nothing when there is none.
    ///
    /// # Errors
    ///
    /// [`CacheError`] when there is a file that cannot be used. It says why, once; starting
    /// without is right then.
    pub fn load(&self) -> Result<Option<Cached>, CacheError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(error)),
        };
        let unusable = |reason: String| CacheError::Unusable {
            path: self.path.clone(),
            reason,
        };
        let (head, body) = text.split_once('\n').unwrap_or((&text, ""));
        let rest = head
            .strip_prefix(FORMAT)
            .and_then(|rest| rest.strip_prefix(' '));
        let (sum, gateway) = rest
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(|| unusable("not a configuration of this version".to_owned()))?;
        if sum != codec::version(body.as_bytes()) {
            return Err(unusable("damaged: its checksum is another".to_owned()));
        }
        if gateway != self.gateway {
            return Err(unusable(format!("it is of gateway {gateway}")));
        }
        let upserts = body
            .lines()
            .map(|line| codec::decode(line.as_bytes()))
            .collect::<Result<Vec<Resource>, _>>()
            .map_err(|error| unusable(error.to_string()))?;
        let held = session::versions(&upserts).map_err(|error| unusable(error.to_string()))?;
        let delta = Delta {
            upserts,
            ..Delta::default()
        };
        Ok(Some(Cached { delta, held }))
    }

    fn io(&self, error: io::Error) -> CacheError {
        CacheError::Io {
            path: self.path.clone(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gwanmun_ir::{
        ClusterKey, EndpointSet, Pem, PrivatePem, Secret, SecretKey, SecretMaterial, SourceRef,
    };
    use std::os::unix::fs::PermissionsExt;

    fn resources() -> Vec<Resource> {
        vec![
            Resource::Endpoints(EndpointSet {
                cluster: ClusterKey::new("c"),
                endpoints: Vec::new(),
            }),
            Resource::Secret(Secret {
                key: SecretKey::new("kubernetes://ns/cert"),
                material: SecretMaterial::KeyPair {
                    certificates: Pem::new("CERTIFICATE"),
                    private_key: PrivatePem::new("TOPSECRET"),
                    ocsp_staple: None,
                },
                source: SourceRef::default(),
            }),
        ]
    }

    fn cache(directory: &tempfile::TempDir, secrets: bool) -> Cache {
        Cache {
            path: directory.path().join("last-good"),
            gateway: "ns/gw".to_owned(),
            secrets,
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_secrets_only_when_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        for (secrets, expected) in [(false, 1), (true, 2)] {
            let cache = cache(&directory, secrets);
            cache.save(&resources()).unwrap();
            let text = fs::read_to_string(&cache.path).unwrap();
            assert_eq!(text.contains("TOPSECRET"), secrets);
            let mode = fs::metadata(&cache.path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let cached = cache.load().unwrap().unwrap();
            assert_eq!(cached.delta.upserts, resources()[..expected]);
            assert_eq!(cached.held.len(), expected);
        }
    }

    #[test]
    fn a_missing_file_is_nothing_a_damaged_or_foreign_one_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory, false);
        assert!(cache.load().unwrap().is_none());
        cache.save(&resources()).unwrap();
        let text = fs::read_to_string(&cache.path).unwrap();
        for (content, reason) in [
            (text.replace("\"c\"", "\"d\""), "checksum"),
            (text[..text.len() - 2].to_owned(), "checksum"),
            (
                text.replace("configuration 1", "configuration 9"),
                "version",
            ),
            (text.replace("ns/gw", "ns/other"), "ns/other"),
            (String::new(), "version"),
        ] {
            fs::write(&cache.path, content).unwrap();
            let error = cache.load().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
