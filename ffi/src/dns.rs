//! DNS for a node's Services: query bytes to reply bytes. Sockets and forwarding are the host's.

use crate::address::portolan_address;
use crate::call::{self, control, enter, output, text, text_or_none};
use crate::error::{Failure, portolan_error};
use crate::node::portolan_node;
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use crate::value::addresses;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use core::slice;
use portolan::dns::{Config, ConfigError, Outcome, PodNames, Reader, Transport, Zone};
use portolan::model::ObjectKey;
use std::sync::{Mutex, TryLockError};

/// The query came by UDP: the reply has 512 bytes, or as many as EDNS says.
pub const PORTOLAN_DNS_UDP: u8 = 0;
/// The query came by TCP, without its two bytes of length.
pub const PORTOLAN_DNS_TCP: u8 = 1;

/// The reply is to be sent. (A number of what portolan_dns_answer() writes to outcome.)
pub const PORTOLAN_DNS_REPLY: u8 = 0;
/// The reply may be sent; its last CNAME leads to a name that is not ours: who can ask for it completes the answer.
pub const PORTOLAN_DNS_ONWARD: u8 = 1;
/// The name is in no zone of ours: who forwards asks elsewhere, others refuse. There is no reply.
pub const PORTOLAN_DNS_NOT_OURS: u8 = 2;
/// Nothing is to be sent: the bytes are no query.
pub const PORTOLAN_DNS_SILENT: u8 = 3;

/// No pod has a name. (A number of portolan_dns_config.pod_names.)
pub const PORTOLAN_DNS_PODS_DISABLED: u8 = 0;
/// Any address in a namespace that exists has a name, whether or not a pod has it.
pub const PORTOLAN_DNS_PODS_INSECURE: u8 = 1;

/// The zones of a cluster, filled from a node. Controlled by one thread at a time; readers run beside it.
#[derive(Debug)]
pub struct portolan_dns {
    zone: Mutex<Zone>,
}

/// One thread's way of answering. It may move between threads, but is used by one at a time.
#[derive(Debug)]
pub struct portolan_dns_reader {
    reader: Mutex<Reader>,
}

/// What is served, and how. Fields that are left zero take their default. What it points to is read during the call
/// only.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_dns_config {
    /// sizeof(portolan_dns_config).
    pub struct_size: u32,
    /// Time to live of records, in seconds, at most 3600; 0: 5.
    pub ttl: u32,
    /// The cluster's domain; NULL: "cluster.local".
    pub zone: *const c_char,
    /// Reverse zones that are answered for, such as "96.10.in-addr.arpa".
    pub reverse_zones: *const *const c_char,
    /// How many there are.
    pub reverse_zone_count: usize,
    /// Where this zone is served: addresses of the name server's names.
    pub name_server_addresses: *const portolan_address,
    /// How many there are.
    pub name_server_address_count: usize,
    /// The Service in front of the server: its namespace and name; NULL: none.
    pub service_name_space: *const c_char,
    /// See service_name_space.
    pub service_name: *const c_char,
    /// Keys the index: from a good source, where people create Services who are not trusted.
    pub seed: u64,
    /// How many readers there may ever be; 0: 64.
    pub readers: u32,
    /// PORTOLAN_DNS_PODS_...
    pub pod_names: u8,
    /// 1: endpoints without a hostname are named as their pod.
    pub endpoint_pod_names: u8,
    /// 1: Services without a ready endpoint do not exist.
    pub ignore_empty_service: u8,
    /// 1: replies say that recursion is available, because the host forwards what is not ours.
    pub recursion: u8,
}

// SAFETY: repr(C), integers and pointers without padding (ffi/tests/c/layout.c holds it).
unsafe impl SizedStruct for portolan_dns_config {
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl portolan_dns_config {
    /// # Safety
    /// Its pointers are NULL or valid for reading what the counts beside them say; strings are NUL-terminated.
    unsafe fn to_config(self) -> Result<Config, Failure> {
        let defaults = Config::default();
        // SAFETY: as promised, here and below.
        let zone = unsafe { text_or_none(self.zone, "config.zone") }?;
        // SAFETY: likewise.
        let reverse = unsafe {
            call::slice(
                self.reverse_zones,
                self.reverse_zone_count,
                "config.reverse_zones",
            )
        }?;
        let mut reverse_zones = Vec::with_capacity(reverse.len());
        for zone in reverse {
            // SAFETY: likewise.
            reverse_zones.push(unsafe { text(*zone, "config.reverse_zones") }?.to_owned());
        }
        // SAFETY: likewise.
        let name_server_addresses = unsafe {
            addresses(
                self.name_server_addresses,
                self.name_server_address_count,
                "config.name_server_addresses",
            )
        }?;
        // SAFETY: likewise.
        let space = unsafe { text_or_none(self.service_name_space, "config.service_name_space") }?;
        // SAFETY: likewise.
        let name = unsafe { text_or_none(self.service_name, "config.service_name") }?;
        Ok(Config {
            zone: zone.map_or(defaults.zone, str::to_owned),
            reverse_zones,
            ttl: if self.ttl == 0 {
                defaults.ttl
            } else {
                self.ttl
            },
            name_server_addresses,
            dns_service: space
                .zip(name)
                .map(|(space, name)| ObjectKey::new(space, name)),
            pod_names: match self.pod_names {
                PORTOLAN_DNS_PODS_DISABLED => PodNames::Disabled,
                PORTOLAN_DNS_PODS_INSECURE => PodNames::Insecure,
                other => {
                    let message = format!("{other} says not which pods have names: must be 0 or 1");
                    return Err(Failure::invalid("config.pod_names", message));
                }
            },
            endpoint_pod_names: self.endpoint_pod_names != 0,
            ignore_empty_service: self.ignore_empty_service != 0,
            recursion: self.recursion != 0,
            readers: if self.readers == 0 {
                defaults.readers
            } else {
                self.readers as usize
            },
            seed: self.seed,
            ..defaults
        })
    }
}

fn wrong(error: ConfigError) -> Failure {
    Failure::invalid(&format!("config.{}", error.field), error.rule)
}

/// Makes zones without Services. Owned by the caller, freed with portolan_dns_free(). Since 0.1.
///
/// # Safety
/// `config` is NULL or valid, and what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dns_new(
    config: *const portolan_dns_config,
    dns: Option<&mut MaybeUninit<*mut portolan_dns>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    control(error, || {
        let out = output(dns, "dns")?;
        // SAFETY: as promised.
        let config = unsafe { sized::read(config, "config") }?;
        // SAFETY: as promised of what it points to.
        let zone = Zone::new(unsafe { config.to_config() }?).map_err(wrong)?;
        out.write(Box::into_raw(Box::new(portolan_dns {
            zone: Mutex::new(zone),
        })));
        Ok(())
    })
}

/// Takes what changed in the node since the last call, and lets readers see all of it at once. `serial` is that of the
/// zones from here on, usually the seconds since 1970. Costs what changed. PORTOLAN_STATUS_AGAIN while a reader is
/// still in an older answer: nothing is lost, publish again. Since 0.1.
///
/// # Safety
/// `dns` and `node` are NULL or handles that live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dns_publish(
    dns: *mut portolan_dns,
    node: *const portolan_node,
    serial: u32,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dns = unsafe { dns.as_ref() };
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let mut zone = enter(dns.map(|handle| &handle.zone), "dns")?;
        let node = enter(node.map(|handle| &handle.state), "node")?;
        zone.follow(&node.node);
        zone.publish(serial).map_err(|behind| {
            let message = format!("a reader still reads generation {}", behind.oldest);
            Failure::new(portolan_status::Again, "dns", message)
        })
    })
}

/// Frees zones and sets the pointer to NULL; readers go on with what was published. NULL, and a pointer to NULL, have
/// no effect. PORTOLAN_STATUS_BUSY while another thread is inside a call: nothing is freed then. Since 0.1.
///
/// # Safety
/// `*dns` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dns_free(dns: Option<&mut *mut portolan_dns>) -> portolan_status {
    // SAFETY: as promised.
    unsafe { call::free(dns, |handle| call::is_busy(&handle.zone)) }
}

/// Makes a reader: one for each thread that answers. PORTOLAN_STATUS_LIMIT if config.readers were made; the place of
/// one that was freed is not given again. Freed with portolan_dns_reader_free(). Since 0.1.
///
/// # Safety
/// `dns` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dns_reader_new(
    dns: *mut portolan_dns,
    reader: Option<&mut MaybeUninit<*mut portolan_dns_reader>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dns = unsafe { dns.as_ref() };
    control(error, || {
        let out = output(reader, "reader")?;
        let mut zone = enter(dns.map(|handle| &handle.zone), "dns")?;
        let made = zone.reader().ok_or_else(|| {
            Failure::new(portolan_status::Limit, "config.readers", "all were made")
        })?;
        out.write(Box::into_raw(Box::new(portolan_dns_reader {
            reader: Mutex::new(made),
        })));
        Ok(())
    })
}

/// Frees a reader and sets the pointer to NULL. NULL, and a pointer to NULL, have no effect. PORTOLAN_STATUS_BUSY while
/// another thread is in an answer: nothing is freed then. Since 0.1.
///
/// # Safety
/// `*reader` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dns_reader_free(
    reader: Option<&mut *mut portolan_dns_reader>,
) -> portolan_status {
    // SAFETY: as promised.
    unsafe { call::free(reader, |handle| call::is_busy(&handle.reader)) }
}

/// Answers one query: writes a reply of at most `capacity` bytes (512 are always enough for a sound one), its size,
/// and PORTOLAN_DNS_REPLY, ..._ONWARD, ..._NOT_OURS or ..._SILENT. `transport` is PORTOLAN_DNS_UDP or
/// PORTOLAN_DNS_TCP. Whatever the query holds, it allocates nothing, waits for nothing and cannot panic. One thread at
/// a time; another is told PORTOLAN_STATUS_BUSY. Since 0.1.
///
/// # Safety
/// `reader` is NULL or a handle that lives; `query` is NULL or valid for reading `query_size` bytes, `reply` for
/// writing `capacity`, apart from each other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dns_answer(
    reader: *mut portolan_dns_reader,
    query: *const u8,
    query_size: usize,
    transport: u8,
    reply: *mut u8,
    capacity: usize,
    reply_size: Option<&mut MaybeUninit<usize>>,
    outcome: Option<&mut MaybeUninit<u8>>,
) -> portolan_status {
    // SAFETY: as promised.
    let reader = unsafe { reader.as_ref() };
    let (Some(reader), Some(reply_size), Some(outcome)) = (reader, reply_size, outcome) else {
        return portolan_status::Null;
    };
    if reply.is_null() || (query.is_null() && query_size != 0) {
        return portolan_status::Null;
    }
    let fits = |size| isize::try_from(size).is_ok();
    let transport = match transport {
        PORTOLAN_DNS_UDP => Transport::Udp,
        PORTOLAN_DNS_TCP => Transport::Tcp,
        _ => return portolan_status::Invalid,
    };
    if !fits(query_size) || !fits(capacity) {
        return portolan_status::Invalid;
    }
    let mut reader = match reader.reader.try_lock() {
        Ok(reader) => reader,
        Err(TryLockError::WouldBlock) => return portolan_status::Busy,
        Err(TryLockError::Poisoned(_)) => return portolan_status::Poisoned,
    };
    let query = if query_size == 0 {
        &[]
    } else {
        // SAFETY: not NULL and no larger than memory; readable as promised.
        unsafe { slice::from_raw_parts(query, query_size) }
    };
    // SAFETY: not NULL and no larger than memory; ours during the call, as promised.
    let reply = unsafe { slice::from_raw_parts_mut(reply, capacity) };
    let (size, number) = match reader.answer(query, transport, reply) {
        Outcome::Reply(size) => (size, PORTOLAN_DNS_REPLY),
        Outcome::Onward(size) => (size, PORTOLAN_DNS_ONWARD),
        Outcome::NotOurs => (0, PORTOLAN_DNS_NOT_OURS),
        Outcome::Silent => (0, PORTOLAN_DNS_SILENT),
    };
    reply_size.write(size);
    outcome.write(number);
    portolan_status::Ok
}
