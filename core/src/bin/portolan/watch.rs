//! Files that hold the desired state, and what changed in them since they were last read.
//!
//! Files are compared by length, inode and time of modification a few times a second instead of by
//! notifications: that also works where there are none (overlay and network file systems) and where a whole
//! directory is exchanged by a symbolic link, as a mounted ConfigMap is.

use portolan::k8s;
use portolan::model::{Object, ObjectRef, Rejection};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    length: u64,
    inode: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.size(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// What one file held when it was last read.
#[derive(Debug, Default)]
struct Held {
    stamp: Option<Stamp>,
    objects: BTreeMap<ObjectRef, Object>,
}

/// Files and directories that together are the desired state.
#[derive(Debug)]
pub(crate) struct Manifests {
    roots: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Held>,
}

/// What to do so that the state is the desired one again.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Objects that no file holds any more.
    pub(crate) delete: Vec<ObjectRef>,
    /// Objects that are new or different.
    pub(crate) apply: Vec<Object>,
    /// What could not be understood, with the file's name.
    pub(crate) rejections: Vec<(PathBuf, Rejection)>,
    /// Files that could not be read; what they held stays in force.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
}

impl Difference {
    /// Does what `other` says too, after this.
    pub(crate) fn extend(&mut self, other: Self) {
        let changed: BTreeSet<_> = other.apply.iter().map(Object::reference).collect();
        self.delete.retain(|reference| !changed.contains(reference));
        self.apply.retain(|object| {
            let reference = object.reference();
            !changed.contains(&reference) && !other.delete.contains(&reference)
        });
        self.delete.extend(other.delete);
        self.apply.extend(other.apply);
        self.rejections.extend(other.rejections);
        self.unreadable.extend(other.unreadable);
    }

    /// Is there nothing to do and nothing to say?
    pub(crate) const fn is_empty(&self) -> bool {
        self.delete.is_empty()
            && self.apply.is_empty()
            && self.rejections.is_empty()
            && self.unreadable.is_empty()
    }
}

impl Manifests {
    /// Nothing is read yet.
    ///
    /// # Errors
    ///
    /// If one of the paths does not exist.
    pub(crate) fn new(roots: &[PathBuf]) -> Result<Self, String> {
        for root in roots {
            fs::metadata(root).map_err(|error| format!("{}: {error}", root.display()))?;
        }
        Ok(Self {
            roots: roots.to_vec(),
            files: BTreeMap::new(),
        })
    }

    /// Reads what changed. With `all`, files that look the same are read again too.
    pub(crate) fn refresh(&mut self, all: bool) -> Difference {
        let mut difference = Difference::default();
        let found = self.find(&mut difference);
        let stale: Vec<PathBuf> = found
            .iter()
            .filter(|(path, stamp)| {
                all || self.files.get(*path).and_then(|held| held.stamp) != Some(**stamp)
            })
            .map(|(path, _)| path.clone())
            .collect();
        let gone: Vec<PathBuf> = self
            .files
            .keys()
            .filter(|path| !found.contains_key(*path))
            .cloned()
            .collect();
        if stale.is_empty() && gone.is_empty() {
            return difference;
        }
        let before = self.merged();
        for path in gone {
            self.files.remove(&path);
        }
        for path in stale {
            let stamp = found.get(&path).copied();
            self.read(&path, stamp, &mut difference);
        }
        let after = self.merged();
        difference.delete = before
            .keys()
            .filter(|reference| !after.contains_key(*reference))
            .cloned()
            .collect();
        difference.apply = after
            .into_iter()
            .filter(|(reference, object)| before.get(reference) != Some(object))
            .map(|(_, object)| object)
            .collect();
        difference
    }

    /// All objects; of those that stand in several files, the one in the last file.
    fn merged(&self) -> BTreeMap<ObjectRef, Object> {
        self.files
            .values()
            .flat_map(|held| &held.objects)
            .map(|(reference, object)| (reference.clone(), object.clone()))
            .collect()
    }

    /// The files there are. A root that cannot be looked into keeps the files that it had.
    fn find(&self, difference: &mut Difference) -> BTreeMap<PathBuf, Stamp> {
        let mut found = BTreeMap::new();
        for root in &self.roots {
            let listed = fs::metadata(root).and_then(|metadata| {
                if metadata.is_dir() {
                    list(root)
                } else {
                    Ok(vec![(root.clone(), Stamp::of(&metadata))])
                }
            });
            match listed {
                Ok(files) => found.extend(files),
                // A file that was named and is gone is desired state too: it holds nothing any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let kept = self.files.iter().filter(|(path, _)| path.starts_with(root));
                    found.extend(kept.filter_map(|(path, held)| Some((path.clone(), held.stamp?))));
                    difference.unreadable.push((root.clone(), error));
                }
            }
        }
        found
    }

    /// Reads one file. An object that was rejected, and everything that a syntax error hides, stays as it was.
    fn read(&mut self, path: &Path, stamp: Option<Stamp>, difference: &mut Difference) {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                difference.unreadable.push((path.to_owned(), error));
                self.files.entry(path.to_owned()).or_default().stamp = stamp;
                return;
            }
        };
        let decoded = k8s::decode(&bytes, &path.display().to_string());
        let mut objects: BTreeMap<_, _> = decoded
            .objects
            .into_iter()
            .map(|object| (object.reference(), object))
            .collect();
        let held = self.files.entry(path.to_owned()).or_default();
        let rejected: BTreeSet<&str> = decoded
            .rejections
            .iter()
            .map(|rejection| rejection.object.as_str())
            .collect();
        // Whoever is rejected without a name may be any of those that are missing now.
        let names = path.display().to_string();
        let nameless = rejected.iter().any(|object| object.starts_with(&names));
        for (reference, object) in core::mem::take(&mut held.objects) {
            if nameless || rejected.contains(reference.to_string().as_str()) {
                objects.entry(reference).or_insert(object);
            }
        }
        held.objects = objects;
        held.stamp = stamp;
        difference.rejections.extend(
            decoded
                .rejections
                .into_iter()
                .map(|rejection| (path.to_owned(), rejection)),
        );
    }
}

/// The manifests in a directory, not in those below it.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<(PathBuf, Stamp)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let named = path
            .file_name()
            .is_some_and(|name| !name.to_string_lossy().starts_with('.'));
        let kind = path
            .extension()
            .is_some_and(|kind| ["yaml", "yml", "json"].iter().any(|known| kind == *known));
        // A file may vanish between the two calls; the next look will not see it.
        if named
            && kind
            && let Ok(metadata) = fs::metadata(&path)
            && metadata.is_file()
        {
            files.push((path, Stamp::of(&metadata)));
        }
    }
    Ok(files)
}

/// The state of one file; `None` if it cannot be seen.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata))
}
