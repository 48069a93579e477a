//! Capacities, and what they cost before anything is allocated.

use crate::call::{ErrorOut, control, output};
use crate::error::Failure;
use crate::options::{
    PORTOLAN_ENDED_TCP_KEEP, PORTOLAN_MEMORY_ADVICE_HUGE_PAGES, PORTOLAN_MID_STREAM_DROP,
};
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use crate::timeouts::portolan_timeouts;
use core::mem::MaybeUninit;
use core::ops::RangeInclusive;
use portolan::dataplane::{Config, Limits};
use portolan::service::TableLimits;

/// Every capacity of a dataplane, how long its connections live, and what it does where its users differ. Memory for all
/// of it is taken once, by portolan_dataplane_new(); what is full is counted and said, nothing is cut off silently. Fill
/// with portolan_limits_init() first.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_limits {
    /// sizeof(portolan_limits).
    pub struct_size: u32,
    /// IPv4 connections: about 95 bytes each.
    pub connections_ipv4: u32,
    /// IPv6 connections: about 159 bytes each.
    pub connections_ipv6: u32,
    /// ServicePorts, counted once for each family. Ids of services are less than this.
    pub services: u32,
    /// Frontends, both families together.
    pub frontends: u32,
    /// Endpoints, both families together; an address behind two ServicePorts counts twice.
    pub endpoints: u32,
    /// Source ranges, counted once for each frontend that has them.
    pub source_ranges: u32,
    /// (ServicePort, client) pairs with session affinity.
    pub affinities: u32,
    /// Fragmented datagrams followed at a time.
    pub fragments: u32,
    /// Workers.
    pub workers: u32,
    /// Buckets of hashing schedulers' tables: for sh and dh 256 for each set of endpoints in use, for mh about 300 to
    /// 500 for each endpoint, at most 65,792.
    pub hash_buckets: u32,
    /// 1: count packets, bytes and connections of each endpoint, for 40 bytes of each endpoint and worker; 0: do not.
    pub endpoint_counters: u32,
    /// The first of the source ports that masqueraded connections get, and others whose own port is taken; 0: 1024.
    pub masquerade_port_first: u16,
    /// The last of them; 0: 65,535.
    pub masquerade_port_last: u16,
    /// How many connections each worker opens a second at most, of all protocols, so that a flood leaves time for what
    /// is open; 0: as many as come. A second's worth may come at once. First packets beyond it are dropped for
    /// PORTOLAN_DROP_NEW_CONNECTION_LIMIT; packets of open connections never are.
    pub new_connections_per_second: u32,
    /// What becomes of TCP connections whose endpoint ended: PORTOLAN_ENDED_TCP_...
    pub ended_tcp: u8,
    /// What becomes of a TCP segment to a frontend, of no connection and no SYN: PORTOLAN_MID_STREAM_...
    pub mid_stream: u8,
    /// 1: ICMP echo requests to ClusterIPs, external IPs and load balancers' addresses are answered (RFC 792; RFC
    /// 4443, 4.2), as where IPVS binds them; 0: they pass, as in kube-proxy's other modes.
    pub answer_echo: u8,
    /// What is asked for the memory that portolan_dataplane_new() takes: PORTOLAN_MEMORY_ADVICE_...
    pub memory_advice: u8,
    /// How long connections live without packets.
    pub timeouts: portolan_timeouts,
}

// SAFETY: repr(C), twelve u32, two u16, one u32, four u8, and a struct of u32.
unsafe impl SizedStruct for portolan_limits {
    const FIRST_SIZE: usize = 48;
}

impl portolan_limits {
    /// The source ports that may be given out.
    pub(crate) fn masquerade_ports(self) -> Result<RangeInclusive<u16>, Failure> {
        source_ports(
            (self.masquerade_port_first, self.masquerade_port_last),
            "limits.masquerade_port_last",
        )
    }

    pub(crate) const fn to_limits(self) -> Limits {
        Limits {
            connections_ipv4: self.connections_ipv4,
            connections_ipv6: self.connections_ipv6,
            table: TableLimits {
                services: self.services,
                frontends: self.frontends,
                endpoints: self.endpoints,
                source_ranges: self.source_ranges,
                hash_buckets: self.hash_buckets,
            },
            affinities: self.affinities,
            fragments: self.fragments,
            workers: self.workers,
            endpoint_counters: self.endpoint_counters != 0,
        }
    }
}

/// Fills `limits` with the defaults of a node: 256k connections of each family, 16k ServicePorts, 64k
/// endpoints, 8 workers; about 130 MiB; netfilter's timeouts. `struct_size` is sizeof(portolan_limits), and is written too.
/// PORTOLAN_STATUS_NULL and PORTOLAN_STATUS_SIZE leave `limits` as it is. Any thread. Since 0.1.
///
/// # Safety
/// `limits` is NULL or valid for writing `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_limits_init(
    limits: *mut portolan_limits,
    struct_size: u32,
) -> portolan_status {
    control(None, || {
        if limits.is_null() {
            return Err(Failure::null("limits"));
        }
        let known = portolan_limits::FIRST_SIZE..=4096;
        if !known.contains(&(struct_size as usize)) {
            return Err(Failure::new(
                portolan_status::Size,
                "struct_size",
                "is not known",
            ));
        }
        if !limits.is_aligned() {
            return Err(Failure::invalid("limits", "is misaligned"));
        }
        // SAFETY: not NULL, aligned; writable as promised.
        unsafe { limits.cast::<u8>().write_bytes(0, struct_size as usize) };
        // SAFETY: likewise; the size stands first.
        unsafe { limits.cast::<u32>().write(struct_size) };
        let Limits { table, .. } = Limits::default();
        let defaults = Limits::default();
        let value = portolan_limits {
            struct_size,
            connections_ipv4: defaults.connections_ipv4,
            connections_ipv6: defaults.connections_ipv6,
            services: table.services,
            frontends: table.frontends,
            endpoints: table.endpoints,
            source_ranges: table.source_ranges,
            affinities: defaults.affinities,
            fragments: defaults.fragments,
            workers: defaults.workers,
            hash_buckets: table.hash_buckets,
            endpoint_counters: defaults.endpoint_counters.into(),
            masquerade_port_first: 0,
            masquerade_port_last: 0,
            new_connections_per_second: 0,
            ended_tcp: PORTOLAN_ENDED_TCP_KEEP,
            mid_stream: PORTOLAN_MID_STREAM_DROP,
            answer_echo: 0,
            memory_advice: PORTOLAN_MEMORY_ADVICE_HUGE_PAGES,
            timeouts: portolan_timeouts::netfilter(),
        };
        // SAFETY: as many bytes as the size just written are writable, as promised.
        unsafe { sized::write(limits, &value, "limits") }
    })
}

/// Source ports by their first and their last, either 0 for what it is by default.
pub(crate) fn source_ports(
    (first, last): (u16, u16),
    field: &'static str,
) -> Result<RangeInclusive<u16>, Failure> {
    let all = Config::default().masquerade_ports;
    let or = |port, default: &u16| if port == 0 { *default } else { port };
    let (first, last) = (or(first, all.start()), or(last, all.end()));
    if first > last {
        let message = format!("{last} is before the first, {first}");
        return Err(Failure::invalid(field, message));
    }
    Ok(first..=last)
}

/// Bytes beside the tables: handles, and what alignment leaves between pieces.
const BESIDE_TABLES: u64 = 64 << 10;

/// How much memory a dataplane of these limits takes.
pub(crate) fn memory_required(limits: &Limits) -> u64 {
    limits.memory().total().saturating_add(BESIDE_TABLES)
}

/// Writes to `bytes` how much memory a dataplane of these limits takes. Allocates nothing. Any thread.
/// Since 0.1.
///
/// # Safety
/// `limits` is NULL or points to as many readable bytes as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_memory_required(
    limits: *const portolan_limits,
    bytes: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<*mut crate::error::portolan_error>>,
) -> portolan_status {
    let error: ErrorOut<'_> = error;
    control(error, || {
        let bytes = output(bytes, "bytes")?;
        // SAFETY: as promised.
        let limits = unsafe { sized::read(limits, "limits") }?;
        bytes.write(memory_required(&limits.to_limits()));
        Ok(())
    })
}
