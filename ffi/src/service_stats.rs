//! Counts of each service and of each of its endpoints.

use crate::address::{PORTOLAN_FAMILY_NONE, family_number, portolan_address};
use crate::call::{control, enter, output};
use crate::dataplane::{DataplaneState, portolan_dataplane};
use crate::error::{Failure, c_string};
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use core::ptr;
use portolan::net::ServiceId;
use portolan::plan::PortKey;
use std::ffi::CString;

/// Counts of all services at about one moment, owned by the caller. They refer to nothing else; one thread at a
/// time.
#[derive(Debug)]
pub struct portolan_service_list {
    list: Vec<Listed>,
    next: usize,
}

/// Counts of one endpoint of a service since it was published.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_endpoint_stats {
    /// Its address.
    pub address: portolan_address,
    /// Its port, in host order.
    pub port: u16,
    /// Zero.
    pub reserved: u16,
    /// Connections opened.
    pub opened: u64,
    /// Packets to it.
    pub packets_to: u64,
    /// Their bytes, from the IP header on.
    pub bytes_to: u64,
    /// Packets from it.
    pub packets_from: u64,
    /// Their bytes, from the IP header on.
    pub bytes_from: u64,
}

/// Counts of one service since it was published. What it points to is owned by the list.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_service_stats {
    /// sizeof(portolan_service_stats).
    pub struct_size: u32,
    /// Its number in the dataplane: portolan_service.id where services are put by hand.
    pub id: u32,
    /// The Service's namespace; "" if it was put by hand, as the next two.
    pub name_space: *const c_char,
    /// The Service's name.
    pub name: *const c_char,
    /// The name of the Service's port; "" if it has none.
    pub port_name: *const c_char,
    /// PORTOLAN_PROTOCOL_...; 0 if it was put by hand.
    pub protocol: u8,
    /// PORTOLAN_FAMILY_...; PORTOLAN_FAMILY_NONE if it was put by hand.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// Connections opened.
    pub opened: u64,
    /// First packets answered with an ICMP error: there was no usable endpoint.
    pub rejected: u64,
    /// First packets dropped as PORTOLAN_DROP_NO_LOCAL_ENDPOINT.
    pub no_local_endpoint: u64,
    /// First packets dropped as PORTOLAN_DROP_SOURCE_RANGE.
    pub source_range: u64,
    /// Packets to its endpoints, those included that it no longer has.
    pub packets_to: u64,
    /// Their bytes, from the IP header on.
    pub bytes_to: u64,
    /// Packets from its endpoints.
    pub packets_from: u64,
    /// Their bytes, from the IP header on.
    pub bytes_from: u64,
    /// Its endpoints now, those that only serve open connections included.
    pub endpoints: *const portolan_endpoint_stats,
    /// How many there are.
    pub endpoint_count: usize,
    /// sizeof(portolan_endpoint_stats) of this library: how far apart they lie.
    pub endpoint_stride: usize,
}

// SAFETY: repr(C), integers and pointers without padding (ffi/tests/c/layout.c holds it).
unsafe impl SizedStruct for portolan_service_stats {
    const FIRST_SIZE: usize = size_of::<Self>();
}

#[derive(Debug)]
struct Listed {
    stats: portolan_service_stats,
    names: [CString; 3],
    endpoints: Vec<portolan_endpoint_stats>,
}

impl Listed {
    fn new(state: &DataplaneState, id: ServiceId, key: Option<&PortKey>) -> Self {
        let dataplane = &state.dataplane;
        let counts = dataplane.service_stats(id);
        let endpoints = dataplane.endpoints_of(id).map(|(endpoint, address)| {
            let counts = dataplane.endpoint_stats(endpoint).unwrap_or_default();
            portolan_endpoint_stats {
                address: address.ip().into(),
                port: address.port(),
                reserved: 0,
                opened: counts.opened,
                packets_to: counts.original.packets,
                bytes_to: counts.original.bytes,
                packets_from: counts.reply.packets,
                bytes_from: counts.reply.bytes,
            }
        });
        let endpoints: Vec<_> = endpoints.collect();
        let names = key.map_or_else(Default::default, |key| {
            [&key.namespace, &key.name, &key.port_name].map(|name| c_string(name))
        });
        Self {
            stats: portolan_service_stats {
                struct_size: 0,
                id: id.0,
                name_space: ptr::null(),
                name: ptr::null(),
                port_name: ptr::null(),
                protocol: key.map_or(0, |key| key.protocol.number()),
                family: key.map_or(PORTOLAN_FAMILY_NONE, |key| family_number(key.family)),
                reserved: [0; 6],
                opened: counts.opened,
                rejected: counts.rejected,
                no_local_endpoint: counts.no_local_endpoint,
                source_range: counts.source_range,
                packets_to: counts.original.packets,
                bytes_to: counts.original.bytes,
                packets_from: counts.reply.packets,
                bytes_from: counts.reply.bytes,
                endpoints: ptr::null(),
                endpoint_count: endpoints.len(),
                endpoint_stride: size_of::<portolan_endpoint_stats>(),
            },
            names,
            endpoints,
        }
    }
}

/// Writes a list of every service that the dataplane has now, with its counts, to be read with
/// portolan_service_list_next() and freed with portolan_service_list_free(). Workers are not held up and go on
/// counting meanwhile. Takes memory for each service and endpoint. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_services(
    dataplane: *const portolan_dataplane,
    services: Option<&mut MaybeUninit<*mut portolan_service_list>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(None, || {
        let out = output(services, "services")?;
        let state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        let services = state.services();
        let list = services.into_iter();
        let list = list.map(|(id, key)| Listed::new(&state, id, key)).collect();
        out.write(Box::into_raw(Box::new(portolan_service_list {
            list,
            next: 0,
        })));
        Ok(())
    })
}

/// Writes the next service of a list. PORTOLAN_STATUS_END after the last. Since 0.1.
///
/// # Safety
/// `services` is NULL or a list that lives; `stats` is NULL or points to as many writable bytes as its
/// `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_service_list_next(
    services: *mut portolan_service_list,
    stats: *mut portolan_service_stats,
) -> portolan_status {
    // SAFETY: as promised; one thread at a time.
    let services = unsafe { services.as_mut() };
    control(None, || {
        let services = services.ok_or_else(|| Failure::null("services"))?;
        let Some(Listed {
            stats: value,
            names: [name_space, name, port_name],
            endpoints,
        }) = services.list.get(services.next)
        else {
            return Err(Failure::new(
                portolan_status::End,
                "services",
                "there are no more",
            ));
        };
        let value = portolan_service_stats {
            name_space: name_space.as_ptr(),
            name: name.as_ptr(),
            port_name: port_name.as_ptr(),
            endpoints: endpoints.as_ptr(),
            ..*value
        };
        // SAFETY: as promised.
        unsafe { sized::write(stats, &value, "stats") }?;
        services.next = services.next.saturating_add(1);
        Ok(())
    })
}

/// Frees a list and sets the pointer to NULL. NULL, and a pointer to NULL, have no effect. Since 0.1.
///
/// # Safety
/// `*services` is NULL or came from this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_service_list_free(
    services: Option<&mut *mut portolan_service_list>,
) {
    // SAFETY: as promised.
    drop(unsafe { crate::call::take_box(services) });
}
