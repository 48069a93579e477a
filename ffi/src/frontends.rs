//! What a node serves, one frontend after another.

use crate::address::portolan_address;
use crate::call::{control, enter, output};
use crate::error::{Failure, c_string};
use crate::node::portolan_node;
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use portolan::plan::FrontendPlan;
use std::ffi::CString;

/// What a node served at one moment, owned by the caller. It refers to nothing else; one thread at a time.
#[derive(Debug)]
pub struct portolan_frontends {
    list: Vec<Listed>,
    next: usize,
}

/// One frontend of a node: where it is served and by whom. The strings are owned by the list.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_served {
    /// sizeof(portolan_served).
    pub struct_size: u32,
    /// Endpoints that new connections may go to anywhere in the cluster.
    pub cluster_endpoints: u32,
    /// Endpoints that new connections may go to on this node.
    pub local_endpoints: u32,
    /// The Service's healthCheckNodePort; 0 if it has none.
    pub health_check_port: u16,
    /// The port, in host order.
    pub port: u16,
    /// The address.
    pub address: portolan_address,
    /// PORTOLAN_PROTOCOL_...
    pub protocol: u8,
    /// PORTOLAN_FRONTEND_...
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// The Service's namespace.
    pub name_space: *const c_char,
    /// The Service's name.
    pub name: *const c_char,
    /// The name of the Service's port; "" if it has none.
    pub port_name: *const c_char,
}

// SAFETY: repr(C), 40 bytes of integers, then three pointers.
unsafe impl SizedStruct for portolan_served {
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// A frontend and the strings that it points to.
#[derive(Debug)]
struct Listed {
    served: portolan_served,
    names: [CString; 3],
}

impl Listed {
    fn new(frontend: &FrontendPlan<'_>) -> Self {
        let FrontendPlan {
            frontend,
            key,
            port,
        } = frontend;
        let count = |chosen: fn(&portolan::service::EndpointSpec) -> bool| {
            let chosen = port
                .spec
                .endpoints
                .iter()
                .filter(|endpoint| chosen(endpoint));
            u32::try_from(chosen.count()).unwrap_or(u32::MAX)
        };
        Self {
            served: portolan_served {
                struct_size: 0,
                cluster_endpoints: count(|endpoint| endpoint.in_cluster_set),
                local_endpoints: count(|endpoint| endpoint.in_local_set),
                health_check_port: port.health_check.map_or(0, |check| check.port),
                port: frontend.port,
                address: frontend.address.into(),
                protocol: key.protocol.number(),
                kind: frontend.kind as u8,
                reserved: [0; 2],
                name_space: core::ptr::null(),
                name: core::ptr::null(),
                port_name: core::ptr::null(),
            },
            names: [&key.namespace, &key.name, &key.port_name].map(|name| c_string(name)),
        }
    }
}

/// Writes a list of every frontend that the node serves now, sorted by ServicePort, to be read with
/// portolan_frontends_next() and freed with portolan_frontends_free(). Since 0.1.
///
/// # Safety
/// `node` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_node_frontends(
    node: *const portolan_node,
    frontends: Option<&mut MaybeUninit<*mut portolan_frontends>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(None, || {
        let out = output(frontends, "frontends")?;
        let state = enter(node.map(|handle| &handle.state), "node")?;
        let list = state
            .node
            .frontends()
            .map(|frontend| Listed::new(&frontend));
        let list = list.collect();
        out.write(Box::into_raw(Box::new(portolan_frontends {
            list,
            next: 0,
        })));
        Ok(())
    })
}

/// Writes the next frontend of a list. PORTOLAN_STATUS_END after the last. Since 0.1.
///
/// # Safety
/// `frontends` is NULL or a list that lives; `served` is NULL or points to as many writable bytes as its
/// `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_frontends_next(
    frontends: *mut portolan_frontends,
    served: *mut portolan_served,
) -> portolan_status {
    // SAFETY: as promised; one thread at a time.
    let frontends = unsafe { frontends.as_mut() };
    control(None, || {
        let frontends = frontends.ok_or_else(|| Failure::null("frontends"))?;
        let Some(Listed {
            served: value,
            names: [name_space, name, port_name],
        }) = frontends.list.get(frontends.next)
        else {
            return Err(Failure::new(
                portolan_status::End,
                "frontends",
                "there are no more",
            ));
        };
        let value = portolan_served {
            name_space: name_space.as_ptr(),
            name: name.as_ptr(),
            port_name: port_name.as_ptr(),
            ..*value
        };
        // SAFETY: as promised.
        unsafe { sized::write(served, &value, "served") }?;
        frontends.next = frontends.next.saturating_add(1);
        Ok(())
    })
}

/// Frees a list and sets the pointer to NULL. NULL, and a pointer to NULL, have no effect. Since 0.1.
///
/// # Safety
/// `*frontends` is NULL or came from this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_frontends_free(frontends: Option<&mut *mut portolan_frontends>) {
    // SAFETY: as promised.
    drop(unsafe { crate::call::take_box(frontends) });
}
