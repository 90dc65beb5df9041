//! Objects from files, and what changes about them.
//!
//! [`Files`] holds the last good content of every manifest. [`Files::refresh`] reads again what a
//! new [`Scan`] shows to be changed: a file that does not parse, or an object of it that is not
//! one, keeps its last good content, and what is wrong is among [`Files::findings`].

mod scan;
mod watch;

pub(crate) use scan::{FileKey, Scan};
pub(crate) use watch::Watcher;

use crate::cli::{ConfigPath, Place};
use gwanmun_api::{
    Object, ObjectKey,
    manifest::{self, ReadCode, ReadFinding, ReadResult, ReadSeverity},
};
use scan::Stamp;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs, io,
    io::Read as _,
    path::PathBuf,
    sync::Arc,
};

/// Largest manifest file; a larger one is a mistake, and reading it would not end well.
const MAX_FILE: u64 = 256 << 20;

/// Distance of neighbouring files' ranks, and of ranks to documents: leaves room to insert files
/// without moving the others.
const RANK_STEP: u64 = 1 << 20;
const DOCUMENT_BITS: u32 = 20;

/// What is said where something broken did work before.
const LAST_GOOD: &str = "; what it held before stays in service";

/// Everything that is configured by files.
#[derive(Debug)]
pub(crate) struct Files {
    roots: Vec<ConfigPath>,
    known: BTreeMap<FileKey, Known>,
    /// Places that cannot be looked into at the moment.
    hidden: BTreeMap<FileKey, String>,
}

/// The last good content of a file.
#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    rank: u64,
    objects: Vec<Arc<Object>>,
    findings: Vec<ReadFinding>,
}

/// Why the configured places cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// A place is not there or cannot be read.
    #[error("cannot read {}: {reason}; name an existing file or directory", path.display())]
    Unreadable {
        /// The place.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input: {0}")]
    Stdin(io::Error),
    /// Standard input is named twice.
    #[error("'-' (standard input) is named more than once; name it once")]
    StdinTwice,
}

impl Files {
    /// Reads everything for the first time.
    pub(crate) fn open(roots: Vec<ConfigPath>) -> Result<Self, OpenError> {
        let scan = Scan::of(&roots);
        if let Some((key, reason)) = scan.unreadable.iter().next() {
            return Err(OpenError::Unreadable {
                path: key.path.clone(),
                reason: reason.clone(),
            });
        }
        let mut files = Self {
            roots,
            known: BTreeMap::new(),
            hidden: BTreeMap::new(),
        };
        files.read_stdin()?;
        files.refresh(&scan);
        Ok(files)
    }

    /// The configured places.
    pub(crate) fn roots(&self) -> &[ConfigPath] {
        &self.roots
    }

    /// What the file system says now.
    pub(crate) fn scan(&self) -> Scan {
        Scan::of(&self.roots)
    }

    /// Whether a scan differs from what was read last.
    pub(crate) fn is_stale(&self, scan: &Scan) -> bool {
        let seen = self
            .on_disk()
            .map(|(key, known)| (key, known.stamp.as_ref()));
        scan.unreadable != self.hidden
            || !scan
                .files
                .iter()
                .map(|(key, stamp)| (key, Some(stamp)))
                .eq(seen.filter(|(key, _)| !scan.is_hidden(key)))
    }

    /// Whether a scan shows a file that had content and has none: most likely it is being written.
    pub(crate) fn is_truncated(&self, scan: &Scan) -> bool {
        scan.files.iter().any(|(key, stamp)| {
            stamp.size == 0
                && self
                    .known
                    .get(key)
                    .is_some_and(|known| known.stamp.is_some_and(|old| old.size > 0))
        })
    }

    /// Reads what changed.
    pub(crate) fn refresh(&mut self, scan: &Scan) {
        self.known.retain(|key, known| {
            known.stamp.is_none() || scan.files.contains_key(key) || scan.is_hidden(key)
        });
        self.hidden.clone_from(&scan.unreadable);
        for (key, stamp) in &scan.files {
            let known = self.known.entry(key.clone()).or_default();
            if known.stamp != Some(*stamp) {
                known.stamp = Some(*stamp);
                let namespace = self
                    .roots
                    .get(key.root)
                    .map_or("default", |root| root.namespace.as_str());
                known.read(key, namespace, stamp.size);
            }
        }
        self.rank();
    }

    /// Forgets what files looked like, so that the next [`Files::refresh`] reads all of them.
    pub(crate) fn forget_stamps(&mut self) {
        for known in self.known.values_mut() {
            if let Some(stamp) = &mut known.stamp {
                *stamp = Stamp::default();
            }
        }
    }

    /// The objects, each once: of several with one key the last one counts, as when the files were
    /// applied one after the other.
    pub(crate) fn objects(&self) -> BTreeMap<ObjectKey, Arc<Object>> {
        self.all()
            .map(|object| (object.key(), Arc::clone(object)))
            .collect()
    }

    /// What is wrong with files and objects as written.
    pub(crate) fn findings(&self) -> Vec<ReadFinding> {
        let hidden = self.hidden.iter().map(|(key, reason)| ReadFinding {
            severity: ReadSeverity::Error,
            code: ReadCode::BrokenFile,
            object: String::new(),
            field: String::new(),
            message: format!("cannot be read: {reason}{LAST_GOOD}"),
            file: key.path.display().to_string().into(),
            line: 0,
        });
        let mut findings: Vec<ReadFinding> = hidden.collect();
        let mut kinds = BTreeSet::new();
        for finding in self.known.values().flat_map(|known| &known.findings) {
            // One information per kind that is not ours, however many files hold such objects.
            if finding.severity != ReadSeverity::Info || kinds.insert(finding.message.clone()) {
                findings.push(finding.clone());
            }
        }
        findings.extend(self.duplicates());
        findings
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.known.values().flat_map(|known| &known.objects)
    }

    fn on_disk(&self) -> impl Iterator<Item = (&FileKey, &Known)> {
        self.known.iter().filter(|(_, known)| known.stamp.is_some())
    }

    fn read_stdin(&mut self) -> Result<(), OpenError> {
        let mut places = self
            .roots
            .iter()
            .enumerate()
            .filter(|(_, root)| root.place == Place::Stdin);
        let Some((root, place)) = places.next() else {
            return Ok(());
        };
        if places.next().is_some() {
            return Err(OpenError::StdinTwice);
        }
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .map_err(OpenError::Stdin)?;
        let mut known = Known::default();
        known.take(manifest::read("-", &text, &place.namespace));
        self.known.insert(
            FileKey {
                root,
                path: PathBuf::from("-"),
            },
            known,
        );
        Ok(())
    }

    /// Gives every object its place in the order of creation.
    fn rank(&mut self) {
        if !place_between(self.known.values_mut()) {
            let mut rank = 0;
            for known in self.known.values_mut() {
                rank += RANK_STEP;
                known.rank = rank;
            }
        }
        for known in self.known.values_mut() {
            for (document, object) in (0..).zip(&mut known.objects) {
                let order = (known.rank << DOCUMENT_BITS) + document;
                if object.order != order {
                    Arc::make_mut(object).order = order;
                }
            }
        }
    }

    fn duplicates(&self) -> Vec<ReadFinding> {
        let mut last: BTreeMap<ObjectKey, &Arc<Object>> = BTreeMap::new();
        let mut findings = Vec::new();
        for object in self.all() {
            match last.entry(object.key()) {
                Entry::Vacant(entry) => {
                    entry.insert(object);
                }
                Entry::Occupied(mut entry) => {
                    let (file, line) = object.file_line("").unwrap_or(("".into(), 0));
                    let earlier = entry.insert(object);
                    if let Some((file_before, line_before)) = earlier.file_line("") {
                        findings.push(ReadFinding {
                            severity: ReadSeverity::Warning,
                            code: ReadCode::Duplicate,
                            object: object.key().to_string(),
                            field: String::new(),
                            message: format!("it is also written at {file_before}:{line_before}; this later one counts"),
                            file,
                            line,
                        });
                    }
                }
            }
        }
        findings
    }
}

/// Gives new files (rank 0) a rank between their neighbours'. Fails when there is no room.
fn place_between<'a>(files: impl DoubleEndedIterator<Item = &'a mut Known>) -> bool {
    let mut files: Vec<&mut Known> = files.collect();
    let mut before = 0;
    for index in 0..files.len() {
        let after = files
            .iter()
            .skip(index)
            .map(|known| known.rank)
            .find(|rank| *rank != 0);
        let Some(known) = files.get_mut(index) else {
            continue;
        };
        if known.rank == 0 {
            known.rank = after.map_or(before + RANK_STEP, |after| before.midpoint(after));
        }
        if known.rank <= before {
            return false;
        }
        before = known.rank;
    }
    true
}

impl Known {
    fn read(&mut self, key: &FileKey, namespace: &str, size: u64) {
        let file = key.path.display().to_string();
        let text = if size > MAX_FILE {
            Err(format!("it has {size} bytes, at most {MAX_FILE} are read"))
        } else {
            fs::read(&key.path)
                .map_err(|error| scan::reason(&error))
                .and_then(|bytes| {
                    String::from_utf8(bytes)
                        .map_err(|error| format!("it is not UTF-8 text: {error}"))
                })
        };
        match text {
            Ok(text) => self.take(manifest::read(&file, &text, namespace)),
            Err(reason) => {
                self.findings = vec![ReadFinding {
                    severity: ReadSeverity::Error,
                    code: ReadCode::BrokenFile,
                    object: String::new(),
                    field: String::new(),
                    message: format!("cannot be read: {reason}"),
                    file: file.into(),
                    line: 0,
                }];
                self.note_last_good();
            }
        }
    }

    /// Takes over what was read, keeping what was good where the new text is not.
    fn take(&mut self, read: ReadResult) {
        self.findings = read.findings;
        if read.broken {
            self.note_last_good();
            return;
        }
        let mut objects: Vec<Arc<Object>> = read.objects.into_iter().map(Arc::new).collect();
        let present: BTreeSet<ObjectKey> = objects.iter().map(|object| object.key()).collect();
        for old in self
            .objects
            .drain(..)
            .filter(|old| !present.contains(&old.key()))
        {
            let label = old.key().to_string();
            // Of a document that cannot even be named nobody knows which object it was.
            let broken = self.findings.iter_mut().find(|finding| {
                finding.code == ReadCode::BrokenObject
                    && (finding.object.is_empty() || finding.object == label)
            });
            if let Some(finding) = broken {
                if !finding.message.ends_with(LAST_GOOD) {
                    finding.message.push_str(LAST_GOOD);
                }
                objects.push(old);
            }
        }
        self.objects = objects;
    }

    fn note_last_good(&mut self) {
        if !self.objects.is_empty()
            && let Some(finding) = self.findings.first_mut()
        {
            finding.message.push_str(LAST_GOOD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn service(name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n---\n"
        )
    }

    fn open(path: &Path) -> Files {
        Files::open(vec![path.display().to_string().parse().unwrap()]).unwrap()
    }

    fn names_of(files: &Files) -> Vec<String> {
        let mut objects: Vec<_> = files.objects().into_values().collect();
        objects.sort_by(|a, b| a.cmp_age(b));
        objects
            .iter()
            .map(|object| object.meta.name.clone())
            .collect()
    }

    fn reread(files: &mut Files) -> bool {
        let scan = files.scan();
        let stale = files.is_stale(&scan);
        files.refresh(&scan);
        assert!(!files.is_stale(&files.scan()));
        stale
    }

    #[test]
    fn objects_are_created_in_the_order_of_paths_and_documents() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b.yaml"), service("b1") + &service("b0")).unwrap();
        fs::write(dir.path().join("a.yaml"), service("z")).unwrap();
        let mut files = open(dir.path());
        assert_eq!(names_of(&files), ["z", "b1", "b0"]);
        let before = files.objects();
        fs::write(dir.path().join("aa.yaml"), service("new")).unwrap();
        assert!(reread(&mut files));
        assert_eq!(names_of(&files), ["z", "new", "b1", "b0"]);
        for (key, object) in before {
            assert!(
                Arc::ptr_eq(&object, &files.objects()[&key]),
                "{key} has moved"
            );
        }
        assert!(!reread(&mut files));
    }

    #[test]
    fn ranks_are_given_anew_when_there_is_no_room() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("z.yaml"), service("z")).unwrap();
        let mut files = open(dir.path());
        // Each file sorts just before the last one: every insertion halves the same gap.
        let mut expected = vec!["z".to_owned()];
        for step in 0..40 {
            let name = format!("n{:02}", 99 - step);
            fs::write(dir.path().join(format!("{name}.yaml")), service(&name)).unwrap();
            assert!(reread(&mut files));
            expected.insert(0, name);
            assert_eq!(names_of(&files), expected);
        }
    }

    #[test]
    fn a_file_that_does_not_parse_keeps_its_last_good_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        fs::write(&file, service("good")).unwrap();
        let mut files = open(dir.path());
        fs::write(&file, "apiVersion: v1\nkind: [").unwrap();
        assert!(reread(&mut files));
        assert_eq!(names_of(&files), ["good"]);
        let findings = files.findings();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.ends_with(LAST_GOOD), "{findings:?}");
        fs::write(&file, service("better")).unwrap();
        assert!(reread(&mut files));
        assert_eq!(names_of(&files), ["better"]);
        assert_eq!(files.findings(), []);
    }

    #[test]
    fn an_object_that_is_wrong_keeps_its_last_good_version_and_its_neighbours_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        fs::write(&file, service("a") + &service("b")).unwrap();
        let mut files = open(dir.path());
        let wrong = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: 7}\n---\n";
        fs::write(&file, wrong.to_owned() + &service("c")).unwrap();
        assert!(reread(&mut files));
        let mut names = names_of(&files);
        names.sort();
        assert_eq!(names, ["a", "c"]);
        let findings = files.findings();
        assert!(
            findings
                .iter()
                .any(|finding| finding.message.ends_with(LAST_GOOD)),
            "{findings:?}"
        );
    }

    #[test]
    fn of_two_objects_with_one_name_the_later_one_counts_and_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), service("same")).unwrap();
        fs::write(dir.path().join("b.yaml"), service("same")).unwrap();
        let files = open(dir.path());
        let object = files.objects().into_values().next().unwrap();
        assert!(object.file_line("").unwrap().0.ends_with("b.yaml"));
        let findings = files.findings();
        assert!(findings[0].message.contains("a.yaml:1"), "{findings:?}");
    }

    #[test]
    fn a_directory_that_vanishes_keeps_its_content_and_a_removed_file_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("conf");
        fs::create_dir(&conf).unwrap();
        fs::write(conf.join("a.yaml"), service("a")).unwrap();
        fs::write(conf.join("b.yaml"), service("b")).unwrap();
        let mut files = open(&conf);
        fs::remove_file(conf.join("a.yaml")).unwrap();
        assert!(reread(&mut files));
        assert_eq!(names_of(&files), ["b"]);
        fs::remove_dir_all(&conf).unwrap();
        assert!(reread(&mut files));
        assert_eq!(names_of(&files), ["b"]);
        assert_eq!(files.findings().len(), 1);
        fs::create_dir(&conf).unwrap();
        fs::write(conf.join("c.yaml"), service("c")).unwrap();
        assert!(reread(&mut files));
        assert_eq!(names_of(&files), ["c"]);
        assert_eq!(files.findings(), []);
    }

    #[test]
    fn a_missing_place_is_one_sentence() {
        let error = Files::open(vec!["/nowhere/conf".parse().unwrap()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read /nowhere/conf: it does not exist; name an existing file or directory"
        );
    }
}
