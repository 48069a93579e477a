//! From a node's plan to a service table, a change at a time.

use super::{Node, Rejection};
use crate::dataplane::{Dataplane, PublishError};
use crate::net::{Generation, ServiceId};
use crate::plan::{Change, PortKey};
use crate::service::{ApplyError, Edit, ServiceSpec};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A ServicePort that has an id.
#[derive(Debug, Clone)]
struct Known {
    key: Arc<PortKey>,
    /// What the table holds; `None` if it refused.
    spec: Option<Arc<ServiceSpec>>,
}

/// Follows one [`Node`] and turns what changes into edits of one service table, under ids that stay with a
/// ServicePort as long as it is planned.
#[derive(Debug, Default)]
pub struct Feed {
    seen: Generation,
    /// By id.
    known: Vec<Option<Known>>,
    ids: BTreeMap<Arc<PortKey>, ServiceId>,
    /// The same by where the key lies. A plan keeps a ServicePort's key where it is as long as it stands there, and
    /// numbers are compared without a look at what they are of: of fifty thousand names, each comparison would read
    /// three cache lines that nobody has read lately.
    places: BTreeMap<usize, ServiceId>,
    /// Ids given up, oldest first.
    free: VecDeque<u32>,
    /// ServicePorts that the table refused: offered again when anything changes.
    refused: BTreeMap<Arc<PortKey>, ApplyError>,
    /// The table refused what is known of the node.
    node_refused: Option<ApplyError>,
    /// Edits that are not published yet, because a worker is behind.
    pending: Vec<Edit>,
}

impl Feed {
    /// A feed for a table that is empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The edits that bring the table from where the last call left it to the node's present plan: removals,
    /// then the node, then what is new or different. All are to be applied, in this order; those that the
    /// table refuses are reported back with [`Feed::refused`].
    pub fn edits(&mut self, node: &Node) -> Vec<Edit> {
        if self.seen == node.generation() {
            return Vec::new();
        }
        let changes = node.changes(self.seen);
        self.seen = changes.to;
        let mut edits = Vec::new();
        if changes.full {
            let plan = node.plan();
            let gone = self.ids.keys().filter(|key| plan.port(key).is_none());
            let gone: Vec<Arc<PortKey>> = gone.cloned().collect();
            for key in gone {
                edits.extend(self.remove(&key));
            }
        }
        let mut refused = core::mem::take(&mut self.refused);
        for change in changes.changes {
            match change {
                Change::Remove(key) => {
                    refused.remove(&key);
                    edits.extend(self.remove(&key));
                }
                Change::Node(spec) => edits.push(Edit::Node(spec)),
                Change::Put(key, port) => {
                    if !refused.is_empty() {
                        refused.remove(&key);
                    }
                    edits.extend(self.put(&key, &port.spec));
                }
            }
        }
        for key in refused.keys() {
            if let Some(port) = node.plan().port(key) {
                edits.extend(self.put(key, &port.spec));
            }
        }
        edits
    }

    /// The table refused to put this ServicePort. It still has what it had of it; [`Feed::edits`] offers it
    /// again when something else has changed.
    pub fn refused(&mut self, id: ServiceId, error: ApplyError) {
        if let Some(known) = self.known_mut(id) {
            known.spec = None;
            let key = Arc::clone(&known.key);
            self.refused.insert(key, error);
        }
    }

    /// Brings a dataplane to the node's present plan; one generation, or none if nothing is different for it.
    /// Costs O(what changed since the last call). What the dataplane has no room for is in
    /// [`Feed::rejections`]; everything else takes effect.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is lost, call again.
    pub fn publish(
        &mut self,
        node: &Node,
        dataplane: &mut Dataplane,
    ) -> Result<Generation, PublishError> {
        let edits = self.edits(node);
        self.pending.extend(edits);
        if self.pending.is_empty() {
            return Ok(dataplane.generation());
        }
        let ids = self.pending.iter().map(|edit| match edit {
            Edit::Put(id, _) | Edit::Remove(id) => Some(*id),
            Edit::Node(_) => None,
        });
        let ids: Vec<Option<ServiceId>> = ids.collect();
        let published = dataplane.publish(&mut self.pending)?;
        if ids.contains(&None) {
            self.node_refused = None;
        }
        for (position, error) in published.refused {
            let id = ids.get(position).copied().flatten();
            let later = ids.get(position.saturating_add(1)..).unwrap_or_default();
            // What came of a later edit is what holds.
            if later.contains(&id) {
                continue;
            }
            match id {
                Some(id) => self.refused(id, error),
                None => self.node_refused = Some(error),
            }
        }
        Ok(published.generation)
    }

    /// What the table refused, as things stand. It keeps what it had of these: an earlier state, or nothing.
    pub fn rejections(&self) -> impl Iterator<Item = Rejection> {
        let services = self.refused.iter().map(|(key, error)| Rejection {
            object: format!("Service {}", key.service()),
            field: format!(
                "spec.ports[name={},protocol={}]",
                key.port_name, key.protocol
            ),
            rule: format!("no room in the Service table: {error}"),
        });
        let node = self.node_refused.iter().map(|error| Rejection {
            object: "Node".into(),
            field: "addresses and prefixes".into(),
            rule: format!("no room in the Service table: {error}"),
        });
        services.chain(node)
    }

    /// The ServicePort of an id.
    #[must_use]
    pub fn key(&self, id: ServiceId) -> Option<&PortKey> {
        self.known
            .get(id.0 as usize)?
            .as_ref()
            .map(|known| &*known.key)
    }

    /// The id of a ServicePort.
    #[must_use]
    pub fn id(&self, key: &PortKey) -> Option<ServiceId> {
        self.ids.get(key).copied()
    }

    /// The generation of the plan that the last edits lead to.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.seen
    }

    fn known_mut(&mut self, id: ServiceId) -> Option<&mut Known> {
        self.known.get_mut(id.0 as usize)?.as_mut()
    }

    fn put(&mut self, key: &Arc<PortKey>, spec: &Arc<ServiceSpec>) -> Option<Edit> {
        let place = Arc::as_ptr(key).addr();
        let id = match self.places.get(&place) {
            Some(id) => *id,
            None => self.take_id(key),
        };
        let known = self.known_mut(id)?;
        // Only what people or health checks read may have changed.
        if known.spec.as_ref() == Some(spec) {
            return None;
        }
        known.spec = Some(Arc::clone(spec));
        Some(Edit::Put(id, Arc::clone(spec)))
    }

    fn remove(&mut self, key: &Arc<PortKey>) -> Option<Edit> {
        let id = self.ids.remove(key)?;
        self.refused.remove(key);
        let known = self.known.get_mut(id.0 as usize)?.take()?;
        self.places.remove(&Arc::as_ptr(&known.key).addr());
        self.free.push_back(id.0);
        Some(Edit::Remove(id))
    }

    /// The id of a ServicePort whose key was not met at this place before: one that it has already, or another.
    fn take_id(&mut self, key: &Arc<PortKey>) -> ServiceId {
        let known = Known {
            key: Arc::clone(key),
            spec: None,
        };
        let id = match self.ids.get(key) {
            Some(id) => *id,
            None => {
                let next = || u32::try_from(self.known.len()).unwrap_or(u32::MAX);
                let id = ServiceId(self.free.pop_front().unwrap_or_else(next));
                self.ids.insert(Arc::clone(key), id);
                id
            }
        };
        self.places.insert(Arc::as_ptr(key).addr(), id);
        match self.known.get_mut(id.0 as usize) {
            Some(place) => {
                // The former key's place may be another key's from now on.
                if let Some(former) = place.take() {
                    self.places.remove(&Arc::as_ptr(&former.key).addr());
                    *place = Some(Known {
                        spec: former.spec,
                        ..known
                    });
                } else {
                    *place = Some(known);
                }
            }
            None => self.known.push(Some(known)),
        }
        id
    }
}
