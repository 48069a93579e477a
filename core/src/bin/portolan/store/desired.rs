//! The manifests of a store: which object stands in which file.

use super::journal::{sync_directory, write_durably};
use crate::CommandError;
use crate::watch::{Stamp, list, stamp};
use portolan::k8s::{Resource, ResourceRef, decode_resources};
use portolan::model::Rejection;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// What one file held when it was last read.
#[derive(Debug, Default)]
struct Held {
    stamp: Option<Stamp>,
    objects: BTreeMap<ResourceRef, Resource>,
    /// Objects in it that were rejected by name, and whether something was rejected without one: whatever was
    /// accepted of these stays.
    unclear: BTreeSet<String>,
    broken: bool,
    /// It was read, and holds nothing but these objects.
    plain: bool,
}

/// What has happened to the files.
#[derive(Debug, Default)]
pub(super) struct Edits {
    pub(super) changed: bool,
    pub(super) rejections: Vec<(PathBuf, Rejection)>,
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

/// A directory of manifests. Of an object that stands in several files, the last one counts.
#[derive(Debug)]
pub(super) struct Desired {
    root: PathBuf,
    files: BTreeMap<String, Held>,
    /// Objects that are new or different since somebody asked.
    edited: BTreeSet<ResourceRef>,
    listed: bool,
    /// What is in force may not be what the files say, although they have not changed.
    disturbed: bool,
}

impl Desired {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            files: BTreeMap::new(),
            edited: BTreeSet::new(),
            listed: false,
            disturbed: false,
        }
    }

    /// Nothing has been read.
    pub(super) fn forget(&mut self) {
        *self = Self::new(&self.root);
    }

    /// Reads what changed; with `all`, everything.
    pub(super) fn refresh(&mut self, all: bool) -> Edits {
        let mut edits = Edits {
            changed: core::mem::take(&mut self.disturbed),
            ..Edits::default()
        };
        let found = match list(&self.root) {
            Ok(found) => found,
            Err(error) => {
                edits.unreadable.push((self.root.clone(), error));
                return edits;
            }
        };
        self.listed = true;
        let mut names = BTreeSet::new();
        for (path, stamp) in found {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let known = self.files.get(&name).and_then(|held| held.stamp);
            if all || known != Some(stamp) {
                self.read(&path, &name, stamp, &mut edits);
            }
            names.insert(name);
        }
        let gone: Vec<String> = self
            .files
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            let held = self.files.remove(&name).unwrap_or_default();
            // The same object may stand in another file.
            self.edited.extend(held.objects.into_keys());
            edits.changed = true;
        }
        edits
    }

    fn read(&mut self, path: &Path, name: &str, stamp: Stamp, edits: &mut Edits) {
        edits.changed = true;
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                edits.unreadable.push((path.to_owned(), error));
                let held = self.files.entry(name.to_owned()).or_default();
                held.stamp = Some(stamp);
                held.broken = true;
                return;
            }
        };
        let source = path.display().to_string();
        let read = decode_resources(&bytes, &source);
        let named = |it: &&Rejection| !it.object.contains(&source);
        let old = self.files.remove(name).unwrap_or_default();
        let held = Held {
            stamp: Some(stamp),
            unclear: read
                .rejections
                .iter()
                .filter(named)
                .map(|it| it.object.clone())
                .collect(),
            broken: !read.rejections.iter().all(|it| named(&it)),
            plain: read.rejections.is_empty() && read.ignored.is_empty(),
            objects: read
                .resources
                .into_iter()
                .map(|it| (it.reference(), it))
                .collect(),
        };
        let before = |it: &ResourceRef| old.objects.get(it);
        let after = held.objects.iter();
        let different = after.filter(|(it, object)| before(it) != Some(*object));
        self.edited.extend(different.map(|(it, _)| it.clone()));
        let lost = old
            .objects
            .keys()
            .filter(|it| !held.objects.contains_key(*it));
        self.edited.extend(lost.cloned());
        self.files.insert(name.to_owned(), held);
        let told = read.rejections.into_iter().chain(read.unknown);
        edits
            .rejections
            .extend(told.map(|it| (path.to_owned(), it)));
    }

    fn holders(
        &self,
        reference: &ResourceRef,
    ) -> impl DoubleEndedIterator<Item = (&String, &Held)> {
        let reference = reference.clone();
        self.files
            .iter()
            .filter(move |(_, held)| held.objects.contains_key(&reference))
    }

    /// Does an object stand in a file?
    pub(super) fn holds(&self, reference: &ResourceRef) -> bool {
        self.holders(reference).next().is_some()
    }

    /// May an object that was accepted out of `file` still stand there, where it cannot be read?
    pub(super) fn may_hold(&self, reference: &ResourceRef, file: &str) -> bool {
        let held = self.files.get(file);
        !self.listed
            || held.is_some_and(|it| it.broken || it.unclear.contains(&reference.to_string()))
    }

    /// An object as the last file that holds it says it, with that file's name.
    pub(super) fn object(
        &self,
        reference: &ResourceRef,
    ) -> Option<(ResourceRef, String, Resource)> {
        let (name, held) = self.holders(reference).next_back()?;
        let object = held.objects.get(reference)?.clone();
        Some((reference.clone(), name.clone(), object))
    }

    /// Objects that are new or different since this was last called.
    pub(super) fn edited(&mut self) -> Vec<(ResourceRef, String, Resource)> {
        let edited = core::mem::take(&mut self.edited);
        edited
            .iter()
            .filter_map(|reference| self.object(reference))
            .collect()
    }

    /// Is this what stands in the files?
    pub(super) fn says(&self, reference: &ResourceRef, object: &Resource) -> bool {
        self.object(reference)
            .is_some_and(|(_, _, it)| it == *object)
    }

    /// The file that can be written, or removed, without touching another object.
    pub(super) fn own_file(&self, reference: &ResourceRef) -> Result<String, CommandError> {
        let mut holders = self.holders(reference);
        let (first, second) = (holders.next(), holders.next());
        let Some((name, held)) = first else {
            return Ok(file_name(reference));
        };
        let path = self.root.join(name);
        if second.is_some() {
            let rule = format!(
                "{reference} stands in several files; {} is one",
                path.display()
            );
            return Err(rule.into());
        }
        if held.objects.len() > 1 || !held.plain {
            let rule = format!(
                "{reference} stands in {} with others: edit that file",
                path.display()
            );
            return Err(rule.into());
        }
        Ok(name.clone())
    }

    /// Makes `text` the manifest of an object.
    pub(super) fn write(
        &mut self,
        reference: &ResourceRef,
        name: &str,
        text: &str,
        object: Resource,
    ) -> io::Result<()> {
        let path = self.root.join(name);
        write_durably(&path, text)?;
        let held = Held {
            stamp: stamp(&path),
            objects: [(reference.clone(), object)].into(),
            plain: true,
            ..Held::default()
        };
        self.files.insert(name.to_owned(), held);
        Ok(())
    }

    /// What is in force of an object is not what its file says: the next refresh is to look.
    pub(super) fn disturb(&mut self, reference: &ResourceRef) {
        self.edited.insert(reference.clone());
        self.disturbed = true;
    }

    /// Removes the manifest of an object.
    pub(super) fn remove(&mut self, reference: &ResourceRef, name: &str) -> io::Result<()> {
        if self.holds(reference) {
            std::fs::remove_file(self.root.join(name))?;
            sync_directory(&self.root)?;
            self.files.remove(name);
        }
        Ok(())
    }
}

/// `service.default.web.yaml`: names hold no slashes, so that no two objects share a file.
fn file_name(reference: &ResourceRef) -> String {
    let kind = reference.kind.as_str().to_lowercase();
    let key = &reference.key;
    if key.namespace.is_empty() {
        format!("{kind}.{}.yaml", key.name)
    } else {
        format!("{kind}.{}.{}.yaml", key.namespace, key.name)
    }
}
