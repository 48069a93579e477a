//! Counts.

use crate::call::{control, enter};
use crate::dataplane::portolan_dataplane;
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use crate::words::PORTOLAN_DROP_COUNT;

/// Counts of a dataplane since its start, summed over all workers, and how full its tables are.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_stats {
    /// sizeof(portolan_stats).
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Packets that were not ours.
    pub passed: u64,
    /// Packets translated.
    pub forwarded: u64,
    /// Packets answered with an ICMP error.
    pub replied: u64,
    /// Packets dropped, for all reasons.
    pub dropped: u64,
    /// Packets dropped, by PORTOLAN_DROP_...
    pub drops: [u64; PORTOLAN_DROP_COUNT],
    /// Bytes of all packets, from the IP header on.
    pub bytes: u64,
    /// ICMP errors about connections, translated.
    pub related: u64,
    /// New connections whose client could not be remembered, for want of room (limits.affinities).
    pub affinities_not_kept: u64,
    /// IPv4 connections opened.
    pub opened_ipv4: u64,
    /// IPv6 connections opened.
    pub opened_ipv6: u64,
    /// IPv4 connections evicted to make room for new ones.
    pub evicted_ipv4: u64,
    /// IPv6 connections evicted to make room for new ones.
    pub evicted_ipv6: u64,
    /// IPv4 connections in use, of limits.connections_ipv4; expired ones not cleared away yet included.
    pub connections_ipv4: u64,
    /// IPv6 connections in use, of limits.connections_ipv6; expired ones not cleared away yet included.
    pub connections_ipv6: u64,
    /// ServicePorts in use, of limits.services.
    pub services: u64,
    /// Frontends in use, of limits.frontends.
    pub frontends: u64,
    /// Endpoints in use, of limits.endpoints.
    pub endpoints: u64,
    /// Source ranges in use, of limits.source_ranges.
    pub source_ranges: u64,
    /// Buckets of hashing schedulers in use, of limits.hash_buckets.
    pub hash_buckets: u64,
    /// Clients that keep their endpoint, of limits.affinities; expired ones not used again yet included.
    pub affinities: u64,
    /// Fragmented datagrams followed, of limits.fragments; expired ones not used again yet included.
    pub fragments: u64,
    /// Packets forwarded for connections whose endpoint ended before them: they count for no service.
    pub ended_packets: u64,
    /// Their bytes.
    pub ended_bytes: u64,
}

// SAFETY: repr(C), two u32, then u64 only.
unsafe impl SizedStruct for portolan_stats {
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Writes the counts. Set `stats->struct_size` first; it stays. Workers are not held up. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives; `stats` is NULL or points to as many writable bytes as its
/// `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_stats_read(
    dataplane: *const portolan_dataplane,
    stats: *mut portolan_stats,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(None, || {
        let state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        let counts = state.dataplane.stats();
        let [opened_ipv4, opened_ipv6] = counts.connections_opened;
        let [evicted_ipv4, evicted_ipv6] = counts.connections_evicted;
        let table = counts.usage.table;
        let value = portolan_stats {
            struct_size: 0,
            reserved: 0,
            passed: counts.passed,
            forwarded: counts.forwarded,
            replied: counts.replied,
            dropped: counts.dropped(),
            drops: counts.drops,
            bytes: counts.bytes,
            related: counts.related,
            affinities_not_kept: counts.affinities_not_kept,
            opened_ipv4,
            opened_ipv6,
            evicted_ipv4,
            evicted_ipv6,
            connections_ipv4: counts.usage.connections_ipv4,
            connections_ipv6: counts.usage.connections_ipv6,
            services: table.services.into(),
            frontends: table.frontends.into(),
            endpoints: table.endpoints.into(),
            source_ranges: table.source_ranges.into(),
            hash_buckets: table.hash_buckets.into(),
            affinities: counts.usage.affinities,
            fragments: counts.usage.fragments,
            ended_packets: counts.ended.packets,
            ended_bytes: counts.ended.bytes,
        };
        // SAFETY: as promised.
        unsafe { sized::write(stats, &value, "stats") }
    })
}
