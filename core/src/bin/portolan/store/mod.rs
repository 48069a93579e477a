//! A directory of manifests as the desired state, and beside it, durably, what came of it.
//!
//! The manifests are the user's: edited by hand, or by `portolan apply`. What was accepted stands in `.portolan/log`,
//! with everything that was filled in and allocated: a restart, however it came about, gives every Service what it
//! had, and an edit that is refused leaves what was accepted in force, even across a restart.

mod desired;
mod journal;

use crate::CommandError;
use crate::control::Request;
use crate::watch::Difference;
use desired::Desired;
use journal::{Entry, Journal};
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::jiff::Timestamp;
use portolan::api::{Change, Outcome, Registry, Settings};
use portolan::k8s::{Resource, ResourceKind, ResourceRef, decode_resources};
use portolan::model::{ObjectRef, Rejection};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The directory, in that of the manifests, that is not the user's.
const OWN: &str = ".portolan";

/// One accepted object in the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The file that it stands in; none if it was made for a Service's selector.
    file: Option<String>,
    object: Value,
}

/// What came of one object that was applied or deleted by command.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// `service/web`.
    pub(crate) object: String,
    /// `created`, `configured`, `unchanged`, `deleted`.
    pub(crate) outcome: Option<String>,
    /// Why nothing came of it.
    pub(crate) error: Option<String>,
}

/// The manifests, what was accepted of them, and what follows from that.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    desired: Desired,
    registry: Registry,
    journal: Journal,
    settings: Settings,
    own_node: core_v1::Node,
    /// Manifests that were refused, and why; they are tried again when something else has changed.
    refused: BTreeMap<ResourceRef, String>,
    /// Which files the accepted objects stand in.
    files: BTreeMap<ResourceRef, String>,
    /// Nobody else works on this store.
    _lock: File,
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// If another process has it open, or if the disk says no.
    pub(crate) fn open(
        root: &Path,
        settings: Settings,
        own_node: core_v1::Node,
    ) -> Result<Self, CommandError> {
        let own = root.join(OWN);
        let told = |error: std::io::Error| format!("{}: {error}", own.display());
        fs::create_dir_all(&own).map_err(told)?;
        let lock = File::create(own.join("lock")).map_err(told)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let rule = "another portolan works on this store; ask it by leaving out --store";
                return Err(format!("{}: {rule}", root.display()).into());
            }
            Err(TryLockError::Error(error)) => return Err(told(error).into()),
        }
        let journal = Journal::open(&own)?;
        let mut store = Self {
            root: root.to_owned(),
            desired: Desired::new(root),
            registry: Registry::new(settings.clone()),
            journal,
            settings,
            own_node,
            refused: BTreeMap::new(),
            files: BTreeMap::new(),
            _lock: lock,
        };
        store.restore();
        Ok(store)
    }

    /// Makes the registry what the journal says.
    fn restore(&mut self) {
        self.registry = Registry::new(self.settings.clone());
        self.registry.set_own_node(self.own_node.clone());
        self.files.clear();
        let mut kept = Vec::new();
        for (key, value) in self.journal.live() {
            let Ok(Kept { file, object }) = serde_json::from_str::<Kept>(value) else {
                tracing::error!("{key}: what was kept of it cannot be read");
                continue;
            };
            let Some(file) = file else { continue };
            for resource in portolan::k8s::decode_resource_value(object, key).resources {
                self.files.insert(resource.reference(), file.clone());
                kept.push(resource);
            }
        }
        for rejection in self.registry.restore(kept) {
            tracing::error!("{rejection}");
        }
    }

    /// Other ranges and pools, or another description of this node, from now on.
    pub(crate) fn reconfigure(
        &mut self,
        settings: Settings,
        own_node: core_v1::Node,
    ) -> Result<Difference, CommandError> {
        self.registry.reconfigure(settings.clone());
        self.registry.set_own_node(own_node.clone());
        self.settings = settings;
        self.own_node = own_node;
        self.finish(Difference::default())
    }

    /// Follows the manifests. What is new in them is accepted or refused, object by object.
    ///
    /// # Errors
    ///
    /// If what was accepted cannot be made durable: nothing of it is in force then.
    pub(crate) fn refresh(&mut self, all: bool) -> Result<Difference, CommandError> {
        let edits = self.desired.refresh(all);
        let mut difference = Difference {
            rejections: edits.rejections,
            unreadable: edits.unreadable,
            ..Difference::default()
        };
        // Who has just begun may hold what no file holds any more.
        if !all && !edits.changed && difference.is_empty() {
            return Ok(difference);
        }
        let now = now();
        let gone: BTreeSet<ResourceRef> = self
            .files
            .keys()
            .chain(self.refused.keys())
            .filter(|it| !self.desired.holds(it) && !self.desired.may_hold(it, self.file_of(it)))
            .cloned()
            .collect();
        for reference in gone {
            self.refused.remove(&reference);
            match self.registry.delete(&reference) {
                Ok(_) => drop(self.files.remove(&reference)),
                Err(errors) => {
                    let path = self.root.join(self.file_of(&reference));
                    difference
                        .rejections
                        .extend(errors.into_iter().map(|it| (path.clone(), it)));
                }
            }
        }
        // Who asks for a certain address or port comes before who takes any.
        let mut wanted: Vec<(ResourceRef, String, Resource)> = self.desired.edited();
        for reference in self.refused.keys() {
            if !wanted.iter().any(|(it, ..)| it == reference) {
                wanted.extend(self.desired.object(reference));
            }
        }
        wanted.sort_by_key(|(reference, _, resource)| (reference.kind, !is_particular(resource)));
        // An address may have been waiting for the Service that is changed after it: twice is enough, since what is
        // released by a change is released by then.
        for last in [false, true] {
            let mut refused = Vec::new();
            for (reference, file, resource) in wanted {
                match self.registry.apply(resource.clone(), now) {
                    Ok(_) => {
                        self.refused.remove(&reference);
                        self.files.insert(reference, file);
                    }
                    Err(errors) if last => self.refuse(&reference, &file, errors, &mut difference),
                    Err(_) => refused.push((reference, file, resource)),
                }
            }
            wanted = refused;
        }
        self.finish(difference)
    }

    /// Notes that a manifest was refused, and says so unless it has been said before.
    fn refuse(
        &mut self,
        reference: &ResourceRef,
        file: &str,
        errors: Vec<Rejection>,
        difference: &mut Difference,
    ) {
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let text = texts.join("\n");
        if self.refused.insert(reference.clone(), text.clone()) != Some(text) {
            let path = self.root.join(file);
            difference
                .rejections
                .extend(errors.into_iter().map(|it| (path.clone(), it)));
        }
    }

    fn file_of(&self, reference: &ResourceRef) -> &str {
        self.files.get(reference).map_or("", String::as_str)
    }

    /// Makes everything durable that has changed, and then says what the dataplane must follow.
    fn finish(&mut self, mut difference: Difference) -> Result<Difference, CommandError> {
        let changes = self.registry.take_changes();
        let mut entries = Vec::with_capacity(changes.len());
        for change in &changes {
            entries.push(self.entry(change)?);
        }
        if let Err(error) = self.journal.commit(entries) {
            // What is not durable must not be served: back to what is.
            self.restore();
            self.desired.forget();
            self.registry.take_changes();
            return Err(format!("{}: {error}", self.root.join(OWN).display()).into());
        }
        for Change { reference, object } in changes {
            let (object, rejections) =
                object.map_or((None, Vec::new()), |object| object.to_model());
            let path = self.root.join(self.file_of(&reference));
            difference
                .rejections
                .extend(rejections.into_iter().map(|it| (path.clone(), it)));
            match object {
                Some(object) => difference.apply.push(object),
                None => difference.delete.extend(model_reference(reference)),
            }
        }
        Ok(difference)
    }

    fn entry(&self, Change { reference, object }: &Change) -> Result<Entry, CommandError> {
        let Some(object) = object else {
            return Ok((reference.to_string(), None));
        };
        let kept = Kept {
            file: self.files.get(reference).cloned(),
            object: object.to_value()?,
        };
        Ok((reference.to_string(), Some(serde_json::to_string(&kept)?)))
    }

    /// Everything there is, before anything is served: what was accepted earlier, then what the manifests say now.
    pub(crate) fn load(&mut self) -> Result<Difference, CommandError> {
        let mut difference = self.refresh(true)?;
        // Slices of Services that were deleted without a word, because the process was killed.
        let made: BTreeSet<String> = self
            .registry
            .slices()
            .map(|slice| Resource::EndpointSlice(Box::new(slice)).reference())
            .chain(self.registry.objects().map(Resource::reference))
            .map(|reference| reference.to_string())
            .collect();
        let live = self.journal.live().keys();
        let lost = live
            .filter(|key| !made.contains(*key))
            .map(|key| (key.clone(), None));
        let lost: Vec<Entry> = lost.collect();
        self.journal.commit(lost)?;
        // The first time, everything is new to the dataplane.
        difference.delete.clear();
        Ok(difference)
    }

    /// Creates or replaces the objects of a manifest, one by one, in the manifests too.
    pub(crate) fn apply(
        &mut self,
        manifest: &str,
    ) -> Result<(Vec<Line>, Difference), CommandError> {
        let read = decode_resources(manifest.as_bytes(), "the manifest");
        let mut lines: Vec<Line> = read.rejections.iter().map(refusal).collect();
        lines.extend(read.ignored.iter().map(|object| Line {
            object: object.clone(),
            outcome: None,
            error: Some(format!("{object}: objects of this kind are not kept here")),
        }));
        let mut all = Difference::default();
        lines.extend(read.unknown.iter().map(refusal));
        for resource in read.resources {
            let reference = resource.reference();
            let name = reference.to_string();
            if read.unknown.iter().any(|it| it.object == name) {
                continue;
            }
            let outcome = self.apply_one(resource, &mut all);
            lines.push(line(&reference, outcome));
        }
        Ok((lines, all))
    }

    fn apply_one(
        &mut self,
        resource: Resource,
        all: &mut Difference,
    ) -> Result<&'static str, CommandError> {
        let reference = resource.reference();
        let file = self.desired.own_file(&reference)?;
        let text = serde_saphyr::to_string(&desired_form(&resource)?)?;
        let errors = |errors: Vec<Rejection>| {
            let texts: Vec<_> = errors.iter().map(invalid).collect();
            CommandError::from(texts.join("\n"))
        };
        let outcome = self
            .registry
            .apply(resource.clone(), now())
            .map_err(errors)?;
        self.refused.remove(&reference);
        self.files.insert(reference.clone(), file.clone());
        all.extend(self.finish(Difference::default())?);
        // The manifest may be new although what came of it is not, and the other way round.
        if outcome != Outcome::Unchanged || !self.desired.says(&reference, &resource) {
            let written = self.desired.write(&reference, &file, &text, resource);
            if let Err(error) = written {
                // The old manifest is the desired state still: the next look returns to it.
                self.desired.disturb(&reference);
                return Err(format!("{}: {error}", self.root.join(&file).display()).into());
            }
        }
        Ok(outcome.as_str())
    }

    /// Deletes objects by name, in the manifests too.
    pub(crate) fn delete(
        &mut self,
        references: &[ResourceRef],
    ) -> Result<(Vec<Line>, Difference), CommandError> {
        let mut lines = Vec::new();
        let mut all = Difference::default();
        for reference in references {
            let outcome = self.delete_one(reference, &mut all);
            lines.push(line(reference, outcome));
        }
        Ok((lines, all))
    }

    fn delete_one(
        &mut self,
        reference: &ResourceRef,
        all: &mut Difference,
    ) -> Result<&'static str, CommandError> {
        let held = self.desired.holds(reference);
        let file = self.desired.own_file(reference)?;
        let deleted = self.registry.delete(reference).map_err(|errors| {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            CommandError::from(texts.join("\n"))
        })?;
        if !deleted && !held {
            let plural = reference.kind.plural();
            let name = &reference.key.name;
            return Err(
                format!("Error from server (NotFound): {plural} {name:?} not found").into(),
            );
        }
        self.refused.remove(reference);
        self.files.remove(reference);
        all.extend(self.finish(Difference::default())?);
        self.desired.remove(reference, &file)?;
        Ok("deleted")
    }

    /// What a request about the store gets, and what the dataplane must follow.
    pub(crate) fn answer(
        &mut self,
        request: &Request,
    ) -> Result<(Value, Difference), CommandError> {
        match request {
            Request::Apply { manifest } => {
                let (lines, difference) = self.apply(manifest)?;
                Ok((serde_json::to_value(lines)?, difference))
            }
            Request::Delete { objects } => {
                let mut references = Vec::new();
                for (kind, namespace, name) in objects {
                    let kind = kind_named(kind)?;
                    references.push(ResourceRef::new(kind, namespace, name));
                }
                let (lines, difference) = self.delete(&references)?;
                Ok((serde_json::to_value(lines)?, difference))
            }
            Request::Objects { kind } => {
                let objects = self.objects(kind_named(kind)?);
                let values: Result<Vec<Value>, _> =
                    objects.iter().map(Resource::to_value).collect();
                Ok((values?.into(), Difference::default()))
            }
            Request::Get { .. } | Request::Explain { .. } => Err("a store has objects only".into()),
        }
    }

    /// Objects of a kind, as they are stored, or as they were made.
    pub(crate) fn objects(&self, kind: ResourceKind) -> Vec<Resource> {
        let stored = self.registry.objects().filter(|it| it.kind() == kind);
        let mut objects: Vec<Resource> = stored.cloned().collect();
        match kind {
            ResourceKind::EndpointSlice => {
                let made = self.registry.slices();
                objects.extend(made.map(|it| Resource::EndpointSlice(Box::new(it))));
            }
            ResourceKind::Endpoints => {
                let stored: BTreeSet<_> = objects.iter().map(|it| it.reference().key).collect();
                let services = self.registry.objects().map(Resource::reference);
                let services = services.filter(|it| it.kind == ResourceKind::Service);
                let made = services
                    .filter(|it| !stored.contains(&it.key))
                    .filter_map(|it| self.registry.endpoints(&it.key));
                objects.extend(made.map(|it| Resource::Endpoints(Box::new(it))));
            }
            ResourceKind::ServiceCidr
            | ResourceKind::Namespace
            | ResourceKind::Node
            | ResourceKind::Pod
            | ResourceKind::Service => {}
        }
        objects.sort_by_key(Resource::reference);
        objects
    }
}

/// The kind that a user named.
pub(crate) fn kind_named(text: &str) -> Result<ResourceKind, CommandError> {
    ResourceKind::named(text).ok_or_else(|| {
        let kinds: Vec<_> = ResourceKind::ALL.iter().map(|kind| kind.plural()).collect();
        format!(
            "there is no kind {text:?}: must be one of {}",
            kinds.join(", ")
        )
        .into()
    })
}

/// Does the Service name an address or a port that it must have?
fn is_particular(resource: &Resource) -> bool {
    let Resource::Service(service) = resource else {
        return true;
    };
    service.spec.as_ref().is_some_and(|spec| {
        spec.cluster_ip.is_some()
            || spec.health_check_node_port.is_some()
            || spec.load_balancer_ip.is_some()
            || spec
                .ports
                .iter()
                .flatten()
                .any(|port| port.node_port.is_some())
    })
}

/// What the user wrote, without what is not his to write.
fn desired_form(resource: &Resource) -> Result<Value, CommandError> {
    let mut value = resource.to_value()?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "creationTimestamp",
            "resourceVersion",
            "generation",
            "selfLink",
        ] {
            metadata.remove(field);
        }
    }
    Ok(value)
}

fn line(reference: &ResourceRef, outcome: Result<&'static str, CommandError>) -> Line {
    let kind = reference.kind.as_str().to_lowercase();
    let object = format!("{kind}/{}", reference.key.name);
    let (outcome, error) = match outcome {
        Ok(outcome) => (Some(outcome.to_owned()), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Line {
        object,
        outcome,
        error,
    }
}

fn refusal(rejection: &Rejection) -> Line {
    Line {
        object: rejection.object.clone(),
        outcome: None,
        error: Some(invalid(rejection)),
    }
}

/// As kubectl says it: `The Service "web" is invalid: spec.ports: Required value`.
fn invalid(rejection: &Rejection) -> String {
    let (kind, name) = rejection
        .object
        .split_once(' ')
        .unwrap_or(("object", &rejection.object));
    let name = name.rsplit('/').next().unwrap_or(name);
    let Rejection { field, rule, .. } = rejection;
    format!("The {kind} {name:?} is invalid: {field}: {rule}")
}

fn model_reference(reference: ResourceRef) -> Option<ObjectRef> {
    use portolan::model::Kind;
    let kind = match reference.kind {
        ResourceKind::Service => Kind::Service,
        ResourceKind::EndpointSlice => Kind::EndpointSlice,
        ResourceKind::Endpoints => Kind::Endpoints,
        ResourceKind::Node => Kind::Node,
        ResourceKind::Namespace => Kind::Namespace,
        ResourceKind::ServiceCidr | ResourceKind::Pod => return None,
    };
    Some(ObjectRef {
        kind,
        key: reference.key,
    })
}

fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time of an object's creation is the wall clock's"
    )]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs());
    Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default()
}
