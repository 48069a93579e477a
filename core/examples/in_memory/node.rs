//! One node: what it knows of the cluster's objects, and the dataplane made from that.

use core::error::Error;
use core::net::IpAddr;
use portolan::dataplane::{Config, Dataplane, Descriptor, Limits, Verdict, Worker};
use portolan::model::Kind;
use portolan::net::{DropReason, Instant};
use portolan::node::{Feed, Node as Handle};
use portolan::{k8s, plan::NodeConfig};

/// A node of the cluster.
pub(crate) struct Node {
    pub(crate) addresses: Vec<IpAddr>,
    handle: Handle,
    feed: Feed,
    dataplane: Dataplane,
    worker: Worker,
    poll_at: Option<Instant>,
    /// Why the last packet that was dropped was dropped.
    pub(crate) last_drop: Option<DropReason>,
}

impl Node {
    /// Node number `number`, serving what the manifests say.
    pub(crate) fn new(number: u8, manifests: &[(String, String)]) -> Result<Self, Box<dyn Error>> {
        let description = format!(
            "nodeName: node-{number}\n\
             ips: [192.168.10.1{number}, 'fd00:10::1{number}']\n\
             podCIDRs: [10.244.{number}.0/24, 'fd00:244:{number}::/64']\n\
             clusterCIDRs: [10.244.0.0/16, 'fd00:244::/32']\n\
             serviceCIDRs: [10.96.0.0/16, 'fd00:96::/112']\n"
        );
        let config: NodeConfig = k8s::decode_node_config(description.as_bytes(), "node")
            .map_err(|wrong| format!("{wrong:?}"))?;
        let addresses = config.addresses.clone();
        let limits = Limits {
            connections_ipv4: 1 << 14,
            connections_ipv6: 1 << 14,
            ..Limits::default()
        };
        let seed = u128::from(number);
        let dataplane = Dataplane::new(&Config {
            limits,
            seed,
            ..Config::default()
        })?;
        let worker = dataplane.worker()?;
        let mut node = Self {
            addresses,
            handle: Handle::new(config),
            feed: Feed::new(),
            dataplane,
            worker,
            poll_at: Some(Instant::ZERO),
            last_drop: None,
        };
        for kind in [
            Kind::Service,
            Kind::EndpointSlice,
            Kind::Endpoints,
            Kind::Node,
        ] {
            node.handle.synced(kind);
        }
        for (name, text) in manifests {
            node.apply(name, text)?;
        }
        Ok(node)
    }

    /// Takes the objects of one manifest in and publishes what they change.
    pub(crate) fn apply(&mut self, name: &str, manifest: &str) -> Result<(), Box<dyn Error>> {
        let decoded = k8s::decode(manifest.as_bytes(), name);
        let mut rejections = decoded.rejections;
        rejections.extend(self.handle.apply(decoded.objects));
        if let Some(rejection) = rejections.first() {
            return Err(rejection.to_string().into());
        }
        let mut edits = self.feed.edits(&self.handle);
        let published = self.dataplane.publish(&mut edits)?;
        match published.refused.first() {
            Some((_, error)) => Err(error.to_string().into()),
            None => Ok(()),
        }
    }

    /// Moves one packet. `false`: it goes no further.
    pub(crate) fn process(&mut self, now: smoltcp::time::Instant, packet: &mut Vec<u8>) -> bool {
        let now = clock(now);
        if self.poll_at.is_none_or(|due| now >= due) {
            self.poll_at = self.dataplane.poll(now);
        }
        let len = packet.len();
        // Room for an ICMP error, should the answer be one.
        packet.resize(len.max(1280), 0);
        let mut burst = [Descriptor {
            capacity: packet.len() as u32,
            ..Descriptor::new(0, len as u32)
        }];
        self.worker.process_burst(now, packet, &mut burst);
        packet.truncate(burst[0].len as usize);
        self.last_drop = burst[0].drop_reason().or(self.last_drop);
        !matches!(burst[0].verdict(), Verdict::Drop)
    }
}

fn clock(now: smoltcp::time::Instant) -> Instant {
    Instant::from_nanos(now.total_micros().unsigned_abs().saturating_mul(1000))
}
