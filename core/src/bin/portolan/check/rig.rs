//! One node's objects and dataplane, made for a case.

use super::build::Built;
use super::case::{CaseLimits, Deletion, NodeDescription};
use super::kernel::Kernel;
use super::read::{locate, word};
use crate::serving::Serving;
use core::cell::RefCell;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use portolan::dataplane::{
    Config, Descriptor, DropReason, Explanation, Limits, Offload, Verdict, Worker, descriptor_flags,
};
use portolan::k8s;
use portolan::model::{Kind, ObjectKey, ObjectRef, Rejection};
use portolan::net::{Arrival, Instant, Protocol, Tuple};
use portolan::node::Node;
use portolan::service::TableLimits;
use serde_json::Value;
use std::rc::Rc;
use tracing::{error, warn};

/// Room behind a packet, in bytes: an ICMP error is built there.
const ROOM: usize = 128;

/// What came of a packet.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<DropReason>,
    pub(crate) flags: u16,
    /// The packet as it came out.
    pub(crate) bytes: Vec<u8>,
    pub(crate) offload: Offload,
}

impl Sent {
    /// Nothing came.
    pub(crate) fn nothing() -> Self {
        Self {
            verdict: Verdict::Drop,
            reason: None,
            flags: 0,
            bytes: Vec::new(),
            offload: Offload::default(),
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = super::read::read(&self.bytes).unwrap_or_default();
        match self.verdict {
            Verdict::Pass => f.write_str("pass"),
            Verdict::Drop => match self.reason {
                Some(reason) => write!(f, "drop ({reason}: {})", reason.explanation()),
                None => f.write_str("drop (held)"),
            },
            Verdict::Forward => write!(f, "forward of {}", fields.route()),
            Verdict::Reply => {
                write!(f, "reply of {}", fields.route())?;
                match (&fields.icmp_type, &fields.code) {
                    (Some(kind), Some(code)) => write!(f, ", type {kind} code {code}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// What a step changes, as one batch: deletions first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change<'a> {
    pub(crate) delete: &'a [Deletion],
    pub(crate) apply: &'a [Value],
    pub(crate) node: Option<&'a NodeDescription>,
}

/// A live connection, in the words of a case file.
#[derive(Debug, Clone)]
pub(crate) struct LiveConnection {
    pub(crate) state: String,
    pub(crate) timeout_seconds: f64,
    pub(crate) direction: &'static str,
}

impl fmt::Display for LiveConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            state,
            timeout_seconds,
            direction,
        } = self;
        write!(
            f,
            "{state}, {timeout_seconds} s left, {direction} direction"
        )
    }
}

/// The ServicePort behind a frontend.
#[derive(Debug, Clone)]
pub(crate) struct ServedAt {
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) port_name: String,
    pub(crate) endpoints: Vec<SocketAddr>,
}

/// One node's objects and dataplane.
#[derive(Debug)]
pub(crate) struct Rig {
    serving: Serving,
    worker: Worker,
    frames: Vec<u8>,
    first: bool,
    polled: Option<Instant>,
    /// What moves the packets instead of the worker.
    kernel: Option<Rc<RefCell<Kernel>>>,
}

impl Rig {
    /// A node without objects.
    pub(crate) fn new(
        node: &NodeDescription,
        limits: &CaseLimits,
        seed: u64,
    ) -> Result<Self, String> {
        let connections = limits.connections.unwrap_or(1 << 14);
        let config = Config {
            limits: Limits {
                connections_ipv4: connections,
                connections_ipv6: connections,
                table: TableLimits {
                    services: limits.services.unwrap_or(1 << 10),
                    frontends: limits.frontends.unwrap_or(1 << 11),
                    endpoints: limits.endpoints.unwrap_or(1 << 13),
                    source_ranges: limits.source_ranges.unwrap_or(1 << 10),
                    hash_buckets: 1 << 17,
                },
                affinities: limits.affinities.unwrap_or(1 << 10),
                fragments: limits.fragments.unwrap_or(1 << 8),
                workers: 1,
                endpoint_counters: true,
            },
            seed: u128::from(seed),
            ..Config::default()
        };
        let serving = Serving::new(node.config(), &config).map_err(|error| error.to_string())?;
        let worker = serving.dataplane().worker();
        Ok(Self {
            serving,
            worker: worker.map_err(|error| error.to_string())?,
            frames: Vec::new(),
            first: seed == 0,
            polled: None,
            kernel: None,
        })
    }

    /// From here on the kernel moves the packets.
    pub(crate) fn use_kernel(&mut self, kernel: &Rc<RefCell<Kernel>>) -> Result<(), String> {
        let begun = kernel.borrow_mut().begin();
        begun.map_err(|error| error.to_string())?;
        self.kernel = Some(Rc::clone(kernel));
        Ok(())
    }

    /// Why what comes of a flow between these cannot be seen; `None` if it can.
    pub(crate) fn hides(&self, mut ends: impl Iterator<Item = IpAddr>) -> Option<&'static str> {
        let kernel = self.kernel.as_ref()?.borrow();
        let own = ends.any(|end| kernel.is_own(end));
        own.then_some("what the kernel delivers to the node itself does not come out of the device")
    }

    /// Does the kernel's clock, which cannot be set, decide?
    pub(crate) const fn has_own_clock(&self) -> bool {
        self.kernel.is_some()
    }

    /// Makes a change. What cannot be served is logged: a case may mean it.
    pub(crate) fn change(&mut self, change: &Change<'_>) {
        let mut delete = Vec::new();
        for deletion in change.delete {
            // Kinds that are not served need not be forgotten either.
            delete.extend(kind_of(&deletion.kind).map(|kind| ObjectRef {
                kind,
                key: ObjectKey::new(deletion.namespace.as_str(), deletion.name.as_str()),
            }));
        }
        let mut apply = Vec::new();
        for (index, value) in change.apply.iter().enumerate() {
            let decoded = k8s::decode_value(value.clone(), &format!("objects[{index}]"));
            self.say(&decoded.rejections);
            apply.extend(decoded.objects);
        }
        let mut outcomes = Vec::new();
        if let Some(node) = change.node {
            outcomes.push(self.serving.reconfigure(node.config()));
        }
        outcomes.push(self.serving.change(&delete, apply));
        for outcome in outcomes {
            match outcome {
                Ok(rejections) => self.say(&rejections),
                Err(error) => error!("{error}"),
            }
        }
        self.follow();
    }

    /// Brings the kernel to the plan.
    fn follow(&self) {
        if let Some(kernel) = &self.kernel
            && let Err(error) = kernel.borrow_mut().follow(self.serving.node())
        {
            error!("{error}");
        }
    }

    /// Logs what cannot be served, in the first pass over a case only.
    fn say(&self, rejections: &[Rejection]) {
        for rejection in rejections.iter().filter(|_| self.first) {
            warn!("{rejection}");
        }
    }

    /// Sends one packet, of which nobody says by what it entered.
    pub(crate) fn send(&mut self, now: Instant, packet: &Built) -> Sent {
        self.send_by(None, now, packet)
    }

    /// Sends one packet that enters by an interface.
    pub(crate) fn send_by(&mut self, iface: Option<&str>, now: Instant, packet: &Built) -> Sent {
        if let Some(kernel) = &self.kernel {
            return kernel
                .borrow_mut()
                .send(iface, packet)
                .unwrap_or_else(|error| {
                    error!("{error}");
                    Sent::nothing()
                });
        }
        if self.polled != Some(now) {
            self.serving.dataplane_mut().poll(now);
            self.polled = Some(now);
        }
        self.frames.clear();
        self.frames.extend_from_slice(&packet.bytes);
        self.frames.resize(packet.bytes.len() + ROOM, 0);
        let mut descriptor = Descriptor::new(0, packet.bytes.len() as u32);
        descriptor.capacity = self.frames.len() as u32;
        descriptor.offload = packet.offload;
        if self.serving.arrival(iface) == Arrival::PodInterface {
            descriptor.flags = descriptor_flags::FROM_POD;
        }
        let burst = core::slice::from_mut(&mut descriptor);
        self.worker.process_burst(now, &mut self.frames, burst);
        let at = descriptor.offset as usize;
        let end = at + descriptor.len as usize;
        Sent {
            verdict: descriptor.verdict(),
            reason: descriptor.drop_reason(),
            flags: descriptor.flags,
            bytes: self.frames.get(at..end).unwrap_or_default().to_vec(),
            offload: descriptor.offload,
        }
    }

    /// The node's view of the objects.
    pub(crate) const fn node(&self) -> &Node {
        self.serving.node()
    }

    /// What would become of a packet, and why.
    pub(crate) fn explain(&self, now: Instant, packet: &[u8]) -> Explanation {
        self.serving.dataplane().explain(now, packet)
    }

    /// Ready endpoints on this node that a health check at this port counts; `None` if no Service has the port.
    pub(crate) fn health(&self, port: u16) -> Option<u32> {
        let mut checks = self.serving.node().plan().health_checks();
        checks
            .find(|(_, check)| check.port == port)
            .map(|(_, check)| check.local_endpoints)
    }

    /// Deletes the slice that `value` describes.
    pub(crate) fn forget_slice(&mut self, value: &Value) {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str);
        let (Some(namespace), Some(name)) = (text("/metadata/namespace"), text("/metadata/name"))
        else {
            return;
        };
        let reference = ObjectRef {
            kind: Kind::EndpointSlice,
            key: ObjectKey::new(namespace, name),
        };
        if let Err(error) = self.serving.change(&[reference], Vec::new()) {
            error!("{error}");
        }
        self.follow();
    }

    /// Whose frontend this is, and every endpoint that it knows of.
    pub(crate) fn frontend(&self, address: SocketAddr, protocol: u8) -> Option<ServedAt> {
        let mut frontends = self.serving.node().frontends();
        let found = frontends.find(|one| {
            SocketAddr::new(one.frontend.address, one.frontend.port) == address
                && one.key.protocol.number() == protocol
        })?;
        Some(ServedAt {
            namespace: found.key.namespace.clone(),
            service: found.key.name.clone(),
            port_name: found.key.port_name.clone(),
            endpoints: found.port.endpoints.iter().map(|one| one.address).collect(),
        })
    }

    /// The live connection that the packet's tuple finds; of an ICMP error, the quoted packet's.
    pub(crate) fn connection_of(&self, now: Instant, packet: &[u8]) -> Option<LiveConnection> {
        let tuple = tuple_of(packet)?;
        self.serving
            .dataplane()
            .connections(now)
            .find_map(|connection| {
                let direction = if connection.original == tuple {
                    "original"
                } else if connection.reply == tuple {
                    "reply"
                } else {
                    return None;
                };
                let state = connection.state.name(connection.protocol());
                Some(LiveConnection {
                    state: state.unwrap_or("").to_owned(),
                    timeout_seconds: connection.remaining_seconds.into(),
                    direction,
                })
            })
    }

    /// How many live connections there are.
    pub(crate) fn connections(&self, now: Instant) -> u64 {
        self.serving.dataplane().connections(now).count() as u64
    }
}

pub(super) fn kind_of(name: &str) -> Option<Kind> {
    [
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Endpoints,
        Kind::Node,
        Kind::Namespace,
    ]
    .into_iter()
    .find(|kind| kind.as_str() == name)
}

/// The tuple that a packet's connection has in the packet's direction.
fn tuple_of(packet: &[u8]) -> Option<Tuple<IpAddr>> {
    let located = locate(packet)?;
    let transport = packet.get(located.transport..)?;
    if matches!(located.protocol, 1 | 58) {
        return tuple_of(transport.get(8..)?).map(Tuple::reverse);
    }
    Some(Tuple {
        source: located.src,
        destination: located.dst,
        source_port: word(transport, 0)?,
        destination_port: word(transport, 2)?,
        protocol: Protocol::from_number(located.protocol)?,
    })
}
