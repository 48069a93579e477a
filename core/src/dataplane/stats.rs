//! Counts: of each worker on lines of its own, and of each ServicePort where packets are rare.

use super::endpoint_counters::Traffic;
use crate::net::{DropReason, Family, ServiceId, Verdict};
use crate::service::TableUsage;
use crate::sync::Word;
use alloc::boxed::Box;

const VERDICTS: usize = 4;
pub(super) const BYTES: usize = VERDICTS;
pub(super) const RELATED: usize = BYTES + 1;
pub(super) const AFFINITY_FULL: usize = RELATED + 1;
pub(super) const ENDED_PACKETS: usize = AFFINITY_FULL + 1;
pub(super) const ENDED_BYTES: usize = ENDED_PACKETS + 1;
const OPENED: usize = ENDED_BYTES + 1;
const DROPS: usize = OPENED + 2;
/// How many counts a worker has.
pub(super) const COUNTERS: usize = DROPS + DropReason::COUNT;

/// The count of a verdict.
#[inline]
pub(super) const fn verdict_index(verdict: Verdict) -> usize {
    verdict as usize
}

/// The count of connections opened.
#[inline]
pub(super) const fn opened_index(family: Family) -> usize {
    match family {
        Family::Ipv4 => OPENED,
        Family::Ipv6 => OPENED + 1,
    }
}

/// The count of a drop reason.
#[inline]
pub(super) const fn drop_index(reason: DropReason) -> usize {
    DROPS + reason as usize
}

/// Totals since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Packets that were not ours.
    pub passed: u64,
    /// Packets translated.
    pub forwarded: u64,
    /// Packets answered with an ICMP error.
    pub replied: u64,
    /// Packets dropped, by [`DropReason`] number.
    pub drops: [u64; DropReason::COUNT],
    /// Bytes of all packets, from the IP header on.
    pub bytes: u64,
    /// ICMP errors about connections, translated.
    pub related: u64,
    /// What was forwarded for connections whose endpoint ended before them. It counts for no endpoint and no
    /// ServicePort any more.
    pub ended: Traffic,
    /// New connections whose client could not be remembered, for want of room.
    pub affinities_not_kept: u64,
    /// Connections opened, IPv4 and IPv6.
    pub connections_opened: [u64; 2],
    /// Connections evicted to make room for new ones.
    pub connections_evicted: [u64; 2],
    /// How full the tables are.
    pub usage: Usage,
}

/// What is in use, of what there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// IPv4 connections, expired ones not yet cleared away included.
    pub connections_ipv4: u64,
    /// IPv6 connections, likewise.
    pub connections_ipv6: u64,
    /// The Service table.
    pub table: TableUsage,
    /// (ServicePort, client) pairs remembered, expired ones not yet reused included.
    pub affinities: u64,
    /// Fragmented datagrams followed, likewise.
    pub fragments: u64,
}

impl Stats {
    pub(super) fn from_counters(counters: &[u64; COUNTERS]) -> Self {
        let count = |index: usize| counters.get(index).copied().unwrap_or(0);
        Self {
            passed: count(verdict_index(Verdict::Pass)),
            forwarded: count(verdict_index(Verdict::Forward)),
            replied: count(verdict_index(Verdict::Reply)),
            drops: core::array::from_fn(|reason| count(DROPS.saturating_add(reason))),
            bytes: count(BYTES),
            related: count(RELATED),
            ended: Traffic {
                packets: count(ENDED_PACKETS),
                bytes: count(ENDED_BYTES),
            },
            affinities_not_kept: count(AFFINITY_FULL),
            connections_opened: [Family::Ipv4, Family::Ipv6].map(|of| count(opened_index(of))),
            ..Self::default()
        }
    }

    /// Packets dropped, for all reasons.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// Packets dropped for one reason.
    #[must_use]
    pub fn drops_for(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }
}

/// What became of packets to one ServicePort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServiceStats {
    /// Connections opened; with [`super::Limits::endpoint_counters`] those included that clients opened to an endpoint
    /// itself and that are followed beside them.
    pub opened: u64,
    /// Rejected: no usable endpoint anywhere.
    pub rejected: u64,
    /// Dropped: endpoints exist, but the traffic policy allows none here.
    pub no_local_endpoint: u64,
    /// Dropped: the source lies outside `loadBalancerSourceRanges`.
    pub source_range: u64,
    /// What went to its endpoints, those included that it no longer has. Nothing without
    /// [`super::Limits::endpoint_counters`].
    pub original: Traffic,
    /// What came back from them.
    pub reply: Traffic,
}

#[derive(Debug, Default)]
struct ServiceWords {
    opened: Word,
    rejected: Word,
    no_local_endpoint: Word,
    source_range: Word,
}

/// [`ServiceStats`] of every ServicePort, written by all workers, at first packets only.
#[derive(Debug)]
pub(super) struct ServiceCounters {
    services: Box<[ServiceWords]>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum ServiceEvent {
    Opened,
    Rejected,
    NoLocalEndpoint,
    SourceRange,
}

impl ServiceCounters {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            services: (0..capacity).map(|_| ServiceWords::default()).collect(),
        }
    }

    pub(super) const fn memory_bytes(capacity: u32) -> u64 {
        (capacity as u64).saturating_mul(size_of::<ServiceWords>() as u64)
    }

    #[inline]
    pub(super) fn count(&self, service: ServiceId, event: ServiceEvent) {
        if let Some(words) = self.services.get(service.0 as usize) {
            let word = match event {
                ServiceEvent::Opened => &words.opened,
                ServiceEvent::Rejected => &words.rejected,
                ServiceEvent::NoLocalEndpoint => &words.no_local_endpoint,
                ServiceEvent::SourceRange => &words.source_range,
            };
            word.add(1);
        }
    }

    pub(super) fn read(&self, service: ServiceId) -> ServiceStats {
        self.services
            .get(service.0 as usize)
            .map_or_else(ServiceStats::default, |words| ServiceStats {
                opened: words.opened.read(),
                rejected: words.rejected.read(),
                no_local_endpoint: words.no_local_endpoint.read(),
                source_range: words.source_range.read(),
                ..ServiceStats::default()
            })
    }

    /// The id now names another ServicePort.
    pub(super) fn reset(&self, service: ServiceId) {
        if let Some(words) = self.services.get(service.0 as usize) {
            for word in [
                &words.opened,
                &words.rejected,
                &words.no_local_endpoint,
                &words.source_range,
            ] {
                word.write(0);
            }
        }
    }
}
