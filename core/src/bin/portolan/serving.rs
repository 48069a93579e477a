//! One node's objects, plan and dataplane, kept in step: what `run`, `explain`, `get` and `check` share.

use crate::CommandError;
use core::net::IpAddr;
use core::time::Duration;
use portolan::dataplane::{Config, Dataplane, Limits, PublishError};
use portolan::metrics::Snapshot;
use portolan::model::{Kind, Object, ObjectKey, ObjectRef, Rejection, Service};
use portolan::net::{Arrival, ServiceId};
use portolan::node::{Feed, Node};
use portolan::plan::{NodeConfig, PortKey, PortPlan};
use std::collections::BTreeMap;

/// How often publishing waits for a worker, and how long each time: together far longer than any burst.
const PUBLISH_ATTEMPTS: u32 = 1_000;
const PUBLISH_PAUSE: Duration = Duration::from_millis(1);

/// The kinds that must be known before anything is served.
const KINDS: [Kind; 5] = [
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Endpoints,
    Kind::Node,
    Kind::Namespace,
];

/// One node's objects, plan and dataplane.
#[derive(Debug)]
pub(crate) struct Serving {
    objects: BTreeMap<ObjectRef, Object>,
    node: Node,
    feed: Feed,
    dataplane: Dataplane,
    limits: Limits,
}

impl Serving {
    /// A node without objects.
    pub(crate) fn new(node: NodeConfig, config: &Config) -> Result<Self, CommandError> {
        let mut node = Node::new(node);
        for kind in KINDS {
            node.synced(kind);
        }
        let mut serving = Self {
            objects: BTreeMap::new(),
            node,
            feed: Feed::new(),
            dataplane: Dataplane::new(config)?,
            limits: config.limits,
        };
        serving.publish()?;
        Ok(serving)
    }

    /// Deletes, then creates or replaces, and publishes both as one change; what cannot be served is returned.
    pub(crate) fn change(
        &mut self,
        delete: &[ObjectRef],
        apply: Vec<Object>,
    ) -> Result<Vec<Rejection>, CommandError> {
        for reference in delete {
            self.objects.remove(reference);
        }
        for object in &apply {
            self.objects.insert(object.reference(), object.clone());
        }
        self.node.delete(delete);
        let mut rejections = self.node.apply(apply);
        self.publish()?;
        rejections.extend(self.feed.rejections());
        Ok(rejections)
    }

    /// Replaces what is known of the node itself; what cannot be served is returned.
    pub(crate) fn reconfigure(
        &mut self,
        config: NodeConfig,
    ) -> Result<Vec<Rejection>, CommandError> {
        let mut rejections = self.node.reconfigure(config);
        self.publish()?;
        rejections.extend(self.feed.rejections());
        Ok(rejections)
    }

    /// Brings the dataplane to the node's plan. Waits for workers that are still in a burst of the last
    /// generation but one: a burst is short.
    fn publish(&mut self) -> Result<(), CommandError> {
        for _ in 0..PUBLISH_ATTEMPTS {
            match self.feed.publish(&self.node, &mut self.dataplane) {
                Ok(_) => return Ok(()),
                Err(PublishError::WorkersBehind { .. }) => std::thread::sleep(PUBLISH_PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
        Err("a worker does not end its burst, so nothing can be published".into())
    }

    /// Everything countable.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.node, &self.feed, &self.dataplane, &self.limits)
    }

    /// The ServicePort of an id, and its plan.
    pub(crate) fn port(&self, id: ServiceId) -> Option<(&PortKey, &PortPlan)> {
        let key = self.feed.key(id)?;
        let plan = self.node.plan().port(key)?;
        Some((key, plan))
    }

    /// Every ServicePort that has an id.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (&PortKey, ServiceId)> {
        let ports = self.node.plan().ports();
        ports.filter_map(|(key, _)| Some((&**key, self.feed.id(key)?)))
    }

    /// The dataplane's capacities.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// By what a packet enters that enters by an interface of this name.
    pub(crate) fn arrival(&self, interface: Option<&str>) -> Arrival {
        let pods = self.node.plan().node().pod_interface.as_ref();
        match (pods, interface) {
            (Some(pods), Some(name)) if pods.matches(name) => Arrival::PodInterface,
            _ => Arrival::Elsewhere,
        }
    }

    /// A Service by its name.
    pub(crate) fn service(&self, key: &ObjectKey) -> Option<&Service> {
        let reference = ObjectRef {
            kind: Kind::Service,
            key: key.clone(),
        };
        self.objects.get(&reference).and_then(service_of)
    }

    /// The Service that has this ClusterIP.
    pub(crate) fn service_at(&self, address: IpAddr) -> Option<&Service> {
        let mut services = self.objects.values().filter_map(service_of);
        services.find(|service| service.cluster_ips.contains(&address))
    }

    /// Every object that was accepted.
    pub(crate) const fn objects(&self) -> &BTreeMap<ObjectRef, Object> {
        &self.objects
    }

    /// The node's view of them.
    pub(crate) const fn node(&self) -> &Node {
        &self.node
    }

    /// Where the packets go.
    pub(crate) const fn dataplane(&self) -> &Dataplane {
        &self.dataplane
    }

    /// Where the packets go.
    pub(crate) const fn dataplane_mut(&mut self) -> &mut Dataplane {
        &mut self.dataplane
    }
}

/// The object, if it is a Service.
pub(crate) const fn service_of(object: &Object) -> Option<&Service> {
    if let Object::Service(service) = object {
        Some(service)
    } else {
        None
    }
}
