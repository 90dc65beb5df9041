//! Finds the manifest files below the configured places and fingerprints them.
//!
//! A [`Scan`] is what the file system says at one moment. Two equal scans mean that nothing was
//! written in between, so a change is read only after the writer has paused.

use crate::cli::{ConfigPath, Place};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Directories nested deeper than this are left out: they are a loop or a mistake.
const MAX_DEPTH: usize = 32;

/// A file among the configured ones; the order is the order of creation of its objects.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct FileKey {
    /// Index of the configured place.
    pub(crate) root: usize,
    /// The file, as a user would name it.
    pub(crate) path: PathBuf,
}

/// Tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    /// Size in bytes.
    pub(crate) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Device and inode: tells a directory from another one of the same name.
pub(crate) type DirectoryId = (u64, u64);

/// What the configured places hold at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Scan {
    /// The manifest files.
    pub(crate) files: BTreeMap<FileKey, Stamp>,
    /// Places that could not be looked into, and why. What was read below them before stays.
    pub(crate) unreadable: BTreeMap<FileKey, String>,
    /// Directories, with symlinks followed, and which ones they are; for the watcher.
    pub(crate) directories: BTreeMap<PathBuf, DirectoryId>,
}

impl Scan {
    /// Looks at every place.
    pub(crate) fn of(roots: &[ConfigPath]) -> Self {
        let mut scan = Self::default();
        for (root, place) in roots.iter().enumerate() {
            match &place.place {
                Place::Path(path) => scan.root(root, path),
                Place::Stdin => {}
            }
        }
        scan
    }

    /// Whether a file below `key`'s place could not be seen, so that its absence says nothing.
    pub(crate) fn is_hidden(&self, key: &FileKey) -> bool {
        self.unreadable
            .keys()
            .any(|hidden| hidden.root == key.root && key.path.starts_with(&hidden.path))
    }

    fn root(&mut self, root: usize, path: &Path) {
        match fs::metadata(path) {
            Ok(metadata) => {
                if metadata.is_dir() {
                    self.directory(root, path, &mut Vec::new());
                } else {
                    let key = FileKey {
                        root,
                        path: path.to_owned(),
                    };
                    self.files.insert(key, Stamp::of(&metadata));
                }
            }
            Err(error) => self.hide(root, path, &error),
        }
    }

    fn directory(&mut self, root: usize, path: &Path, parents: &mut Vec<DirectoryId>) {
        let Ok(metadata) = fs::metadata(path) else {
            return;
        };
        let identity = (metadata.dev(), metadata.ino());
        if parents.contains(&identity) || parents.len() >= MAX_DEPTH {
            return;
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.hide(root, path, &error),
        };
        self.directories.insert(path.to_owned(), identity);
        parents.push(identity);
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(root, &entry.path(), parents),
                Err(error) => self.hide(root, path, &error),
            }
        }
        parents.pop();
    }

    fn entry(&mut self, root: usize, path: &Path, parents: &mut Vec<DirectoryId>) {
        // Hidden entries are editors' and version control's, and `..data` of mounted ConfigMaps,
        // whose files are seen through the links beside it.
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            return;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.directory(root, path, parents),
            Ok(metadata) if metadata.is_file() && is_manifest(path) => {
                let key = FileKey {
                    root,
                    path: path.to_owned(),
                };
                self.files.insert(key, Stamp::of(&metadata));
            }
            Ok(_) => {}
            // A link to nowhere, or gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if is_manifest(path) => self.hide(root, path, &error),
            Err(_) => {}
        }
    }

    fn hide(&mut self, root: usize, path: &Path, error: &io::Error) {
        self.unreadable.insert(
            FileKey {
                root,
                path: path.to_owned(),
            },
            reason(error),
        );
    }
}

/// Why the file system refused, in words.
pub(crate) fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "it does not exist".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "reading it is not permitted".to_owned()
    } else {
        error.to_string()
    }
}

/// Whether a name in a directory is read as a manifest.
fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(scan: &Scan, base: &Path) -> Vec<String> {
        let names = scan
            .files
            .keys()
            .map(|key| key.path.strip_prefix(base).unwrap().display().to_string());
        names.collect()
    }

    fn at(path: &Path) -> Vec<ConfigPath> {
        vec![path.display().to_string().parse().unwrap()]
    }

    #[test]
    fn finds_manifests_recursively_in_path_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "b.yaml",
            "a/z.yml",
            "a/y.json",
            "notes.txt",
            ".hidden.yaml",
            "a/.git/x.yaml",
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let scan = Scan::of(&at(dir.path()));
        assert_eq!(names(&scan, dir.path()), ["a/y.json", "a/z.yml", "b.yaml"]);
    }

    #[test]
    fn a_mounted_config_map_is_seen_once_and_its_swap_changes_the_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        for version in ["..1", "..2"] {
            fs::create_dir(base.join(version)).unwrap();
            fs::write(base.join(version).join("a.yaml"), version).unwrap();
        }
        symlink("..1", base.join("..data")).unwrap();
        symlink("..data/a.yaml", base.join("a.yaml")).unwrap();
        let before = Scan::of(&at(base));
        assert_eq!(names(&before, base), ["a.yaml"]);
        symlink("..2", base.join("..data_tmp")).unwrap();
        fs::rename(base.join("..data_tmp"), base.join("..data")).unwrap();
        assert_ne!(before, Scan::of(&at(base)));
    }

    #[test]
    fn a_loop_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), "").unwrap();
        symlink(".", dir.path().join("loop")).unwrap();
        assert_eq!(names(&Scan::of(&at(dir.path())), dir.path()), ["a.yaml"]);
    }

    #[test]
    fn a_vanished_directory_hides_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let scan = Scan::of(&at(&gone));
        assert!(scan.is_hidden(&FileKey {
            root: 0,
            path: gone.join("a.yaml")
        }));
        assert!(!scan.is_hidden(&FileKey {
            root: 1,
            path: gone.join("a.yaml")
        }));
    }
}
