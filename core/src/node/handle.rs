//! The handle: objects in, decisions out.

use super::Batch;
use super::revisions::{Revision, Touched};
use super::store::{ServiceObjects, Store};
use crate::model::{self, Kind, Object, ObjectKey, ObjectRef, Rejection};
use crate::net::Generation;
use crate::plan::{Changes, FrontendPlan, NodeConfig, Plan, Planner, Policy};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

/// One node's view of the cluster's Services.
///
/// Objects come in with [`Node::apply`], [`Node::delete`] and [`Node::replace`], in any order; the same
/// objects make the same [`Node::plan`]. An object that cannot be served as written is reported as a
/// [`Rejection`], and costs no other object anything. Each call is one batch: what it changes becomes one
/// generation. The cost is that of the Services whose objects change; only what is known of the node itself
/// concerns them all.
///
/// Nothing is planned before Services and EndpointSlices have both been listed in full ([`Node::synced`]):
/// a half-known cluster would reject what is only not known yet.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    policy: Policy,
    store: Store,
    planner: Planner,
    services_synced: bool,
    slices_synced: bool,
    started: bool,
    /// The own v1 Node has been seen.
    own_node_seen: bool,
}

impl Node {
    /// A node that knows of no object.
    #[must_use]
    pub fn new(config: NodeConfig) -> Self {
        Self {
            policy: Policy::new(&config, None),
            config,
            store: Store::default(),
            planner: Planner::default(),
            services_synced: false,
            slices_synced: false,
            started: false,
            own_node_seen: false,
        }
    }

    /// What the host says of the node.
    #[must_use]
    pub const fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Takes another description of the node; everything is planned anew. Under another name the v1 Node of that
    /// name counts.
    pub fn reconfigure(&mut self, config: NodeConfig) -> Vec<Rejection> {
        if config.name != self.config.name {
            self.own_node_seen = false;
        }
        self.config = config;
        self.update()
    }

    /// Creates or replaces objects. Returns what cannot be served of the Services that the batch touches.
    pub fn apply(&mut self, objects: impl IntoIterator<Item = Object>) -> Vec<Rejection> {
        for object in objects {
            self.store.put(object);
        }
        self.update()
    }

    /// Forgets objects; those not known have no effect. Returns what cannot be served of the Services that
    /// the batch touches.
    pub fn delete(&mut self, references: &[ObjectRef]) -> Vec<Rejection> {
        for reference in references {
            self.store.delete(reference);
        }
        self.update()
    }

    /// Takes `objects` for all there are of a kind, as after listing anew: others of the kind are forgotten,
    /// and the kind is [`Node::synced`]. Objects of other kinds are rejected.
    pub fn replace(
        &mut self,
        kind: Kind,
        objects: impl IntoIterator<Item = Object>,
    ) -> Vec<Rejection> {
        let mut rejections = Vec::new();
        let mut named = BTreeSet::new();
        for object in objects {
            let reference = object.reference();
            if reference.kind == kind {
                self.store.put(object);
                named.insert(reference);
            } else {
                rejections.push(Rejection {
                    object: format!("{reference}"),
                    field: "kind".into(),
                    rule: format!("{} in a list of {kind}", reference.kind),
                });
            }
        }
        for reference in self.store.references(kind) {
            if !named.contains(&reference) {
                self.store.delete(&reference);
            }
        }
        rejections.extend(self.synced(kind));
        rejections
    }

    /// Makes all changes of a batch, in one generation. Returns what cannot be served of the Services that it
    /// touches.
    pub fn commit(&mut self, batch: Batch) -> Vec<Rejection> {
        for kind in batch.replaced() {
            for reference in self.store.references(kind) {
                if !batch.puts(&reference) {
                    self.store.delete(&reference);
                }
            }
            self.note_synced(kind);
        }
        for (reference, object) in batch.into_objects() {
            match object {
                Some(object) => self.store.put(object),
                None => self.store.delete(&reference),
            }
        }
        self.update()
    }

    /// Gives endpoints at these addresses the host's own tags, in one generation; 0 is none. A descriptor of a
    /// packet that goes to the endpoint, or comes from it, carries its tag
    /// ([`crate::dataplane::Descriptor::endpoint_tag`]). Tags stay whatever objects come and go, so they may be
    /// given before the endpoint is known; who gives them also takes them back.
    pub fn set_endpoint_tags(&mut self, tags: impl IntoIterator<Item = (IpAddr, u64)>) {
        let touched = self.planner.set_endpoint_tags(tags);
        if self.started {
            self.planner.update(&self.store, None, &touched);
        }
    }

    /// All objects of a kind that there are have been given. Planning begins when that holds for Services and
    /// EndpointSlices; of other kinds it is of no consequence. Returns what cannot be served.
    pub fn synced(&mut self, kind: Kind) -> Vec<Rejection> {
        self.note_synced(kind);
        self.update()
    }

    fn own_node(&self) -> Option<&model::Node> {
        self.store.node(&self.config.name)
    }

    const fn note_synced(&mut self, kind: Kind) {
        match kind {
            Kind::Service => self.services_synced = true,
            Kind::EndpointSlice => self.slices_synced = true,
            Kind::Endpoints | Kind::Node | Kind::Namespace => {}
        }
    }

    /// Have Services and EndpointSlices both been listed in full?
    #[must_use]
    pub const fn is_synced(&self) -> bool {
        self.services_synced && self.slices_synced
    }

    fn update(&mut self) -> Vec<Rejection> {
        self.own_node_seen |= self.own_node().is_some();
        if !self.is_synced() {
            return Vec::new();
        }
        let policy = Policy::new(&self.config, self.own_node());
        let mut changed = self.store.take_changed();
        let new = (!self.started || policy != self.policy).then_some(policy);
        if let Some(policy) = &new {
            changed = self.store.all();
            self.policy = policy.clone();
            self.started = true;
        } else if changed.is_empty() {
            return Vec::new();
        }
        let touched = self.planner.update(&self.store, new, &changed);
        self.store.release(&changed);
        self.planner.rejections_of(&touched)
    }

    /// What is planned now.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        self.planner.plan()
    }

    /// Every frontend that is served, by ServicePort.
    pub fn frontends(&self) -> impl Iterator<Item = FrontendPlan<'_>> {
        self.planner.plan().frontends()
    }

    /// Everything that cannot be served as written, as things stand.
    pub fn rejections(&self) -> impl Iterator<Item = &Rejection> {
        self.planner.rejections()
    }

    /// The generation of the plan; 0 before there is one.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.planner.generation()
    }

    /// What became different since a generation. A new reader begins with `Generation(0)` and goes on from
    /// [`Changes::to`]. However often a key changed in between, it stands there once.
    #[must_use]
    pub fn changes(&self, since: Generation) -> Changes {
        self.planner.changes(since)
    }

    /// The objects of one Service, as they stand: what is planned from them is [`Node::plan`]'s.
    #[must_use]
    pub fn objects_of(&self, service: &ObjectKey) -> ServiceObjects<'_> {
        self.store.objects_of(service)
    }

    /// The Services whose objects became different since a revision, known or gone, each once. A new reader begins
    /// with [`Revision::default`] and goes on from [`Touched::to`]. Objects can be followed so before they are
    /// planned.
    #[must_use]
    pub fn touched(&self, since: Revision) -> Touched {
        self.store.touched(since)
    }

    /// The namespaces that a v1 Namespace was given of, in order.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.store.namespaces()
    }

    /// Is the node going away? Load balancers should send it nothing new (KEP-3836).
    #[must_use]
    pub fn is_being_deleted(&self) -> bool {
        self.own_node().is_some_and(|node| node.being_deleted)
    }

    /// Should load balancers send the node new connections? Not while it is being deleted
    /// ([`Node::is_being_deleted`]), nor once its v1 Node is gone; a node whose v1 Node was never given is
    /// taken to be well (kube-proxy's `NodeEligible`).
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        match self.own_node() {
            Some(node) => !node.being_deleted,
            None => !self.own_node_seen,
        }
    }

    /// The addresses that NodePorts are served on, both families; health checks are listened for on the same.
    #[must_use]
    pub fn node_port_addresses(&self) -> &[IpAddr] {
        self.policy.all_node_port_addresses()
    }
}
