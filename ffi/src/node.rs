//! Kubernetes objects in, one node's decisions out.

use crate::address::portolan_address;
use crate::call::{self, control, enter, output};
use crate::error::{Failure, portolan_error};
use crate::rejections::portolan_rejections;
use crate::status::portolan_status;
use crate::value::concrete;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering};
use portolan::k8s;
use portolan::model::{Kind, ObjectKey, ObjectRef, Rejection};
use portolan::node::{Node, NodeConfig};
use std::sync::Mutex;

/// v1 Service.
pub const PORTOLAN_KIND_SERVICE: u32 = 1;
/// discovery.k8s.io/v1 EndpointSlice.
pub const PORTOLAN_KIND_ENDPOINT_SLICE: u32 = 2;
/// v1 Endpoints, the older form.
pub const PORTOLAN_KIND_ENDPOINTS: u32 = 3;
/// v1 Node.
pub const PORTOLAN_KIND_NODE: u32 = 4;

/// One node's view of the cluster's Services: objects in, decisions out. Used by one thread at a time.
#[derive(Debug)]
pub struct portolan_node {
    pub(crate) state: Mutex<NodeState>,
}

/// What is behind the handle.
#[derive(Debug)]
pub(crate) struct NodeState {
    pub(crate) node: Node,
    /// Tells nodes apart, also those whose memory is used again.
    pub(crate) identity: u64,
}

impl portolan_node {
    /// A node in memory of its own.
    pub(crate) fn new(config: NodeConfig) -> *mut Self {
        static IDENTITIES: AtomicU64 = AtomicU64::new(1);
        Box::into_raw(Box::new(Self {
            state: Mutex::new(NodeState {
                node: Node::new(config),
                identity: IDENTITIES.fetch_add(1, Ordering::Relaxed),
            }),
        }))
    }
}

/// The host's own tag of the endpoints at an address. This struct never grows.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_endpoint_tag {
    /// The endpoints' address.
    pub address: portolan_address,
    /// Zero.
    pub reserved: u32,
    /// Given back in portolan_descriptor.endpoint_tag; 0: none.
    pub tag: u64,
}

pub(crate) fn kind_of(number: u32) -> Result<Kind, Failure> {
    match number {
        PORTOLAN_KIND_SERVICE => Ok(Kind::Service),
        PORTOLAN_KIND_ENDPOINT_SLICE => Ok(Kind::EndpointSlice),
        PORTOLAN_KIND_ENDPOINTS => Ok(Kind::Endpoints),
        PORTOLAN_KIND_NODE => Ok(Kind::Node),
        other => Err(Failure::invalid(
            "kind",
            format!("{other} is no kind: must be 1 to 4"),
        )),
    }
}

/// Makes a node from its description, YAML or JSON: nodeName, ips, zone, podCIDRs, clusterCIDRs, detectLocal,
/// masqueradeAll, serviceCIDRs, nodePortAddresses, proxyName; all but nodeName may be absent. A key that is
/// not known, or a value that is wrong, is PORTOLAN_STATUS_INVALID. Owned by the caller, freed with
/// portolan_node_free(). Since 0.1.
///
/// # Safety
/// `config` is NULL or valid for reading `config_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_new(
    config: *const c_char,
    config_size: usize,
    node: Option<&mut MaybeUninit<*mut portolan_node>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    control(error, || {
        let out = output(node, "node")?;
        // SAFETY: as promised.
        let config = unsafe { call::bytes(config.cast(), config_size, "config") }?;
        let config = k8s::decode_node_config(config, "config")
            .map_err(|rejections| Failure::of_rejections(&rejections))?;
        out.write(portolan_node::new(config));
        Ok(())
    })
}

/// Frees a node and sets the pointer to NULL. A dataplane that it filled goes on with what was published. NULL,
/// and a pointer to NULL, have no effect. PORTOLAN_STATUS_BUSY while another thread is inside a call: nothing
/// is freed then. Since 0.1.
///
/// # Safety
/// `*node` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_free(
    node: Option<&mut *mut portolan_node>,
) -> portolan_status {
    // SAFETY: as promised.
    unsafe { call::free(node, |handle| call::is_busy(&handle.state)) }
}

/// Takes another description of the node, as portolan_node_new() does; everything is decided anew. Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives; `config` is NULL or valid for reading `config_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_reconfigure(
    node: *mut portolan_node,
    config: *const c_char,
    config_size: usize,
    rejections: Option<&mut MaybeUninit<*mut portolan_rejections>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let mut state = enter(node.map(|handle| &handle.state), "node")?;
        // SAFETY: as promised.
        let config = unsafe { call::bytes(config.cast(), config_size, "config") }?;
        let config = k8s::decode_node_config(config, "config")
            .map_err(|rejections| Failure::of_rejections(&rejections))?;
        let rejected = state.node.reconfigure(config);
        portolan_rejections::give(&rejected, rejections);
        Ok(())
    })
}

/// Creates or replaces objects: JSON or YAML, one object, a list, or several documents. What cannot be served
/// as written is written to `rejections` (NULL: not wanted; else a list to be freed with
/// portolan_rejections_free()) and costs no other object anything: the status is PORTOLAN_STATUS_OK all the
/// same. One call is one generation. Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives; `objects` is NULL or valid for reading `objects_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_apply(
    node: *mut portolan_node,
    objects: *const c_char,
    objects_size: usize,
    rejections: Option<&mut MaybeUninit<*mut portolan_rejections>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let mut state = enter(node.map(|handle| &handle.state), "node")?;
        // SAFETY: as promised.
        let objects = unsafe { call::bytes(objects.cast(), objects_size, "objects") }?;
        let decoded = k8s::decode(objects, "objects");
        let mut rejected = decoded.rejections;
        rejected.extend(state.node.apply(decoded.objects));
        portolan_rejections::give(&rejected, rejections);
        Ok(())
    })
}

/// Takes `objects` for all there are of a kind, as after listing anew: others of the kind are forgotten, and
/// the kind is synced (portolan_node_synced()). Otherwise as portolan_node_apply(). Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives; `objects` is NULL or valid for reading `objects_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_replace(
    node: *mut portolan_node,
    kind: u32,
    objects: *const c_char,
    objects_size: usize,
    rejections: Option<&mut MaybeUninit<*mut portolan_rejections>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let kind = kind_of(kind)?;
        let mut state = enter(node.map(|handle| &handle.state), "node")?;
        // SAFETY: as promised.
        let objects = unsafe { call::bytes(objects.cast(), objects_size, "objects") }?;
        let decoded = k8s::decode(objects, "objects");
        let mut rejected = decoded.rejections;
        rejected.extend(state.node.replace(kind, decoded.objects));
        portolan_rejections::give(&rejected, rejections);
        Ok(())
    })
}

/// Forgets an object by PORTOLAN_KIND_..., namespace ("" for a Node) and name; no effect if it is not known.
/// Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives; `name_space` and `name` are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_delete(
    node: *mut portolan_node,
    kind: u32,
    name_space: *const c_char,
    name: *const c_char,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let kind = kind_of(kind)?;
        let mut state = enter(node.map(|handle| &handle.state), "node")?;
        // SAFETY: as promised.
        let name_space = unsafe { call::text(name_space, "name_space") }?;
        // SAFETY: as promised.
        let name = unsafe { call::text(name, "name") }?;
        let key = ObjectKey::new(name_space, name);
        let _ = state.node.delete(&[ObjectRef { kind, key }]);
        Ok(())
    })
}

/// Says that all objects of a kind that there are have been given. Nothing is decided before this was said of
/// PORTOLAN_KIND_SERVICE and PORTOLAN_KIND_ENDPOINT_SLICE: a half-known cluster would reject what is only not
/// known yet. Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_synced(
    node: *mut portolan_node,
    kind: u32,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let kind = kind_of(kind)?;
        let mut state = enter(node.map(|handle| &handle.state), "node")?;
        let _ = state.node.synced(kind);
        Ok(())
    })
}

/// Gives endpoints at these addresses the host's own tags (a port, a virtual machine, a tunnel), as one generation:
/// a descriptor of a packet to or from such an endpoint carries its tag. Tags stay, whatever objects come and go, so
/// they may be given before the endpoint is known; 0 takes one back. A wrong address gives PORTOLAN_STATUS_INVALID
/// and changes nothing. Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives; `tags` is NULL or valid for reading `count` of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_set_endpoint_tags(
    node: *mut portolan_node,
    tags: *const portolan_endpoint_tag,
    count: usize,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let mut state = enter(node.map(|handle| &handle.state), "node")?;
        // SAFETY: as promised.
        let tags = unsafe { call::slice(tags, count, "tags") }?;
        let mut given = Vec::with_capacity(tags.len());
        for (index, tag) in tags.iter().enumerate() {
            let address = concrete(tag.address, &format!("tags[{index}].address"))?;
            given.push((address, tag.tag));
        }
        state.node.set_endpoint_tags(given);
        Ok(())
    })
}

/// Writes the generation of the decisions; 0 before there are any. It grows with each call that changes
/// something. Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_generation(
    node: *const portolan_node,
    generation: Option<&mut MaybeUninit<u64>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(None, || {
        let out = output(generation, "generation")?;
        let state = enter(node.map(|handle| &handle.state), "node")?;
        out.write(state.node.generation().0);
        Ok(())
    })
}

/// Writes everything that cannot be served as things stand, as a list to be freed with
/// portolan_rejections_free(). What could not be read at all is only in the list of the call that gave it.
/// Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_rejections(
    node: *const portolan_node,
    rejections: Option<&mut MaybeUninit<*mut portolan_rejections>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(None, || {
        let out = output(rejections, "rejections")?;
        let state = enter(node.map(|handle| &handle.state), "node")?;
        let list: Vec<&Rejection> = state.node.rejections().collect();
        portolan_rejections::give(list, Some(out));
        Ok(())
    })
}
