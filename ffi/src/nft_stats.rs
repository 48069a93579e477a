//! Counts of what was done to nftables.

use crate::call::{control, enter};
use crate::nft::portolan_nft;
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;

/// What was done to the tables since portolan_nft_open().
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_nft_stats {
    /// sizeof(portolan_nft_stats).
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Transactions that were committed.
    pub transactions: u64,
    /// Their operations.
    pub operations: u64,
    /// How often tables were read and compared, at the start or because something had been different.
    pub repairs: u64,
    /// How often the kernel's IPv4 connections were read: UDP of endpoints that serve no more may be there.
    pub flow_reads_ipv4: u64,
    /// How often the kernel's IPv6 connections were read.
    pub flow_reads_ipv6: u64,
    /// IPv4 UDP connections that the kernel was made to forget then.
    pub stale_flows_ipv4: u64,
    /// IPv6 UDP connections that the kernel was made to forget.
    pub stale_flows_ipv6: u64,
}

// SAFETY: repr(C), two u32, then u64 only.
unsafe impl SizedStruct for portolan_nft_stats {
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Writes the counts. Set `stats->struct_size` first; it stays. Since 0.1.
///
/// # Safety
/// `nft` is NULL or a handle that lives; `stats` is NULL or points to as many writable bytes as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_nft_stats_read(
    nft: *const portolan_nft,
    stats: *mut portolan_nft_stats,
) -> portolan_status {
    // SAFETY: as promised.
    let nft = unsafe { nft.as_ref() };
    control(None, || {
        let done = enter(nft.map(|handle| &handle.table), "nft")?.stats();
        let [flow_reads_ipv4, flow_reads_ipv6] = done.flow_reads;
        let [stale_flows_ipv4, stale_flows_ipv6] = done.stale_flows;
        let counts = portolan_nft_stats {
            struct_size: 0,
            reserved: 0,
            transactions: done.transactions,
            operations: done.operations,
            repairs: done.repairs,
            flow_reads_ipv4,
            flow_reads_ipv6,
            stale_flows_ipv4,
            stale_flows_ipv6,
        };
        // SAFETY: as promised.
        unsafe { sized::write(stats, &counts, "stats") }
    })
}
