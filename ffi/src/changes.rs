//! What became different since a generation, one ServicePort after another: for hosts that render decisions
//! themselves.

use crate::address::{family_number, portolan_address, portolan_prefix};
use crate::call::{control, enter, output};
use crate::error::{Failure, c_string};
use crate::node::portolan_node;
use crate::service::{
    PORTOLAN_ENDPOINT_CLUSTER, PORTOLAN_ENDPOINT_HERE, PORTOLAN_ENDPOINT_LOCAL, portolan_endpoint,
    portolan_frontend, portolan_node_spec, portolan_service,
};
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use core::ptr;
use portolan::net::Generation;
use portolan::plan::{Change, PortKey};
use portolan::service::{EndpointSet, EndpointSpec, Frontend, NodeSpec, PodInterface, ServiceSpec};
use std::ffi::CString;

/// The ServicePort is new or different. (A number of portolan_change.kind.)
pub const PORTOLAN_CHANGE_PUT: u8 = 1;
/// The ServicePort is gone.
pub const PORTOLAN_CHANGE_REMOVE: u8 = 2;
/// What is known of the node is different.
pub const PORTOLAN_CHANGE_NODE: u8 = 3;

/// Differences of a node's decisions, owned by the caller. It refers to nothing else; one thread at a time.
#[derive(Debug)]
pub struct portolan_changes {
    to: u64,
    full: bool,
    list: Vec<Change>,
    next: usize,
    shown: Shown,
}

/// One difference. What it points to is owned by the list and lives until the next call on it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_change {
    /// sizeof(portolan_change).
    pub struct_size: u32,
    /// PORTOLAN_CHANGE_...
    pub kind: u8,
    /// PORTOLAN_FAMILY_..., of a ServicePort: one that has both families is told of in each by itself.
    pub family: u8,
    /// PORTOLAN_PROTOCOL_..., of a ServicePort.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
    /// The Service's namespace; "" of the node.
    pub name_space: *const c_char,
    /// The Service's name; "" of the node.
    pub name: *const c_char,
    /// The name of the Service's port; "" if it has none.
    pub port_name: *const c_char,
    /// Of PORTOLAN_CHANGE_PUT, else NULL: frontends, rules and endpoints as decided for this node, in the form of
    /// portolan_dataplane_put_service() but for the id, which is 0.
    pub service: *const portolan_service,
    /// Of PORTOLAN_CHANGE_NODE, else NULL: the node, in the form of portolan_dataplane_set_node().
    pub node: *const portolan_node_spec,
}

// SAFETY: repr(C), eight bytes of integers, then five pointers.
unsafe impl SizedStruct for portolan_change {
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// What the change shown last points to.
#[derive(Debug, Default)]
struct Shown {
    names: [CString; 3],
    ranges: Vec<Vec<portolan_prefix>>,
    frontends: Vec<portolan_frontend>,
    endpoints: Vec<portolan_endpoint>,
    addresses: Vec<portolan_address>,
    prefixes: [Vec<portolan_prefix>; 2],
    interface: Option<CString>,
    service: Option<Box<portolan_service>>,
    node: Option<Box<portolan_node_spec>>,
}

impl Shown {
    /// Lays a change out as C reads it.
    fn lay_out(&mut self, change: &Change) -> portolan_change {
        *self = Self::default();
        let nobody = portolan_change {
            struct_size: 0,
            kind: 0,
            family: 0,
            protocol: 0,
            reserved: 0,
            name_space: c"".as_ptr(),
            name: c"".as_ptr(),
            port_name: c"".as_ptr(),
            service: ptr::null(),
            node: ptr::null(),
        };
        match change {
            Change::Put(key, port) => portolan_change {
                kind: PORTOLAN_CHANGE_PUT,
                service: self.service(&port.spec),
                ..self.named(key, nobody)
            },
            Change::Remove(key) => portolan_change {
                kind: PORTOLAN_CHANGE_REMOVE,
                ..self.named(key, nobody)
            },
            Change::Node(spec) => portolan_change {
                kind: PORTOLAN_CHANGE_NODE,
                node: self.node(spec),
                ..nobody
            },
            // A kind of change that this interface does not know.
            _ => nobody,
        }
    }

    fn named(&mut self, key: &PortKey, change: portolan_change) -> portolan_change {
        self.names = [&key.namespace, &key.name, &key.port_name].map(|name| c_string(name));
        let [name_space, name, port_name] = &self.names;
        portolan_change {
            family: family_number(key.family),
            protocol: key.protocol.number(),
            name_space: name_space.as_ptr(),
            name: name.as_ptr(),
            port_name: port_name.as_ptr(),
            ..change
        }
    }

    fn service(&mut self, spec: &ServiceSpec) -> *const portolan_service {
        let ranges = |frontend: &Frontend| {
            let ranges = frontend.source_ranges.iter().copied();
            ranges.map(portolan_prefix::from).collect::<Vec<_>>()
        };
        self.ranges = spec.frontends.iter().map(ranges).collect();
        let frontends = spec.frontends.iter().zip(&self.ranges);
        self.frontends = frontends
            .map(|(frontend, ranges)| portolan_frontend {
                address: frontend.address.into(),
                port: frontend.port,
                kind: frontend.kind as u8,
                sets: frontend.rules.map(|rule| rule.set as u8),
                masquerade: frontend.rules.map(|rule| u8::from(rule.masquerade)),
                reserved: [0; 3],
                source_ranges: pointer(ranges),
                source_range_count: ranges.len(),
            })
            .collect();
        self.endpoints = spec.endpoints.iter().map(endpoint).collect();
        let service = Box::new(portolan_service {
            struct_size: size_of_u32::<portolan_service>(),
            id: 0,
            protocol: spec.protocol.number(),
            scheduler: spec.schedule.scheduler as u8,
            slow_start_seconds: spec.schedule.slow_start_seconds,
            affinity_seconds: spec.affinity_seconds.unwrap_or_default(),
            frontends: pointer(&self.frontends),
            frontend_count: self.frontends.len(),
            frontend_stride: size_of::<portolan_frontend>(),
            endpoints: pointer(&self.endpoints),
            endpoint_count: self.endpoints.len(),
            endpoint_stride: size_of::<portolan_endpoint>(),
            hash_seed: spec.schedule.seed,
        });
        &raw const **self.service.insert(service)
    }

    fn node(&mut self, spec: &NodeSpec) -> *const portolan_node_spec {
        self.addresses = spec.addresses.iter().copied().map(Into::into).collect();
        self.prefixes = [&spec.pod_prefixes, &spec.service_prefixes]
            .map(|list| list.iter().copied().map(Into::into).collect());
        let [pods, services] = &self.prefixes;
        let optional = |address: Option<core::net::IpAddr>| {
            address.map_or(portolan_address::NONE, portolan_address::from)
        };
        let (interface, is_prefix) = match &spec.pod_interface {
            None => (None, false),
            Some(PodInterface::Bridge(name)) => (Some(name), false),
            Some(PodInterface::NamePrefix(prefix)) => (Some(prefix), true),
        };
        self.interface = interface.map(|name| c_string(name));
        let interface = self.interface.as_ref();
        let node = Box::new(portolan_node_spec {
            struct_size: size_of_u32::<portolan_node_spec>(),
            reserved: 0,
            addresses: pointer(&self.addresses),
            address_count: self.addresses.len(),
            pod_prefixes: pointer(pods),
            pod_prefix_count: pods.len(),
            service_prefixes: pointer(services),
            service_prefix_count: services.len(),
            masquerade_ipv4: optional(spec.masquerade_ipv4.map(Into::into)),
            masquerade_ipv6: optional(spec.masquerade_ipv6.map(Into::into)),
            pod_interface: interface.map_or(ptr::null(), |name| name.as_ptr()),
            pod_interface_is_prefix: is_prefix.into(),
            reserved_too: [0; 7],
        });
        &raw const **self.node.insert(node)
    }
}

fn endpoint(endpoint: &EndpointSpec) -> portolan_endpoint {
    let flags = [
        (
            endpoint.takes(EndpointSet::Cluster),
            PORTOLAN_ENDPOINT_CLUSTER,
        ),
        (endpoint.takes(EndpointSet::Local), PORTOLAN_ENDPOINT_LOCAL),
        (endpoint.local, PORTOLAN_ENDPOINT_HERE),
    ];
    let set = flags.into_iter().filter(|(on, _)| *on);
    portolan_endpoint {
        address: endpoint.address.into(),
        port: endpoint.port,
        weight: endpoint.weight,
        tag: endpoint.tag,
        flags: set.fold(0, |flags, (_, flag)| flags | flag),
        reserved: [0; 7],
    }
}

/// NULL of an empty list.
const fn pointer<T>(list: &[T]) -> *const T {
    if list.is_empty() {
        ptr::null()
    } else {
        list.as_ptr()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sizes of structs of ours")]
const fn size_of_u32<T>() -> u32 {
    size_of::<T>() as u32
}

/// Writes what became different in the node since a generation, as a list to be read with
/// portolan_changes_next() and freed with portolan_changes_free(). A new reader begins with generation 0 and goes
/// on from portolan_changes_generation(). However often something changed in between, it stands there once, as it
/// is now: removals first, then the node, then what is to be put. Costs what changed. Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_changes(
    node: *const portolan_node,
    since: u64,
    changes: Option<&mut MaybeUninit<*mut portolan_changes>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(None, || {
        let out = output(changes, "changes")?;
        let state = enter(node.map(|handle| &handle.state), "node")?;
        let found = state.node.changes(Generation(since));
        out.write(Box::into_raw(Box::new(portolan_changes {
            to: found.to.0,
            full: found.full,
            list: found.changes,
            next: 0,
            shown: Shown::default(),
        })));
        Ok(())
    })
}

/// The generation that the list leads to: ask from there next time; 0 of NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_changes_generation(changes: Option<&portolan_changes>) -> u64 {
    changes.map_or(0, |changes| changes.to)
}

/// 1 if the list is everything there is, and whatever it does not name is gone: of a new reader, and of one that was
/// away for too long. Else 0. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_changes_full(changes: Option<&portolan_changes>) -> u8 {
    changes.map_or(0, |changes| changes.full.into())
}

/// Writes the next difference. PORTOLAN_STATUS_END after the last. What the one before pointed to is gone. Since
/// 0.1.
///
/// # Safety
/// `changes` is NULL or a list that lives; `change` is NULL or points to as many writable bytes as its
/// `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_changes_next(
    changes: *mut portolan_changes,
    change: *mut portolan_change,
) -> portolan_status {
    // SAFETY: as promised; one thread at a time.
    let changes = unsafe { changes.as_mut() };
    control(None, || {
        let changes = changes.ok_or_else(|| Failure::null("changes"))?;
        let Some(next) = changes.list.get(changes.next) else {
            return Err(Failure::new(
                portolan_status::End,
                "changes",
                "there are no more",
            ));
        };
        let value = changes.shown.lay_out(next);
        // SAFETY: as promised.
        unsafe { sized::write(change, &value, "change") }?;
        changes.next = changes.next.saturating_add(1);
        Ok(())
    })
}

/// Frees a list and sets the pointer to NULL. NULL, and a pointer to NULL, have no effect. Since 0.1.
///
/// # Safety
/// `*changes` is NULL or came from this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_changes_free(changes: Option<&mut *mut portolan_changes>) {
    // SAFETY: as promised.
    drop(unsafe { crate::call::take_box(changes) });
}
