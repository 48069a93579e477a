//! What only the host knows, because it has the clock and the sockets: how long publishing took, and what
//! probes were answered.

use super::Histogram;
use crate::net::Family;
use core::time::Duration;

/// What kube-proxy calls "syncing proxy rules": bringing the dataplane to the objects. One publication serves
/// both families; each has a record because kube-proxy has a proxier for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncMetrics {
    pub(super) families: [FamilySync; 2],
    pub(super) last_queued: Option<Duration>,
    pub(super) service_changes: u64,
    pub(super) endpoint_changes: u64,
}

/// One family's part of [`SyncMetrics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FamilySync {
    pub(super) durations: Histogram,
    pub(super) last: Option<Duration>,
}

/// What is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/healthz`.
    Healthz,
    /// `/livez`.
    Livez,
}

/// How probes were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeCounts {
    /// Well (200), not well (503).
    healthz: [u64; 2],
    livez: [u64; 2],
}

impl SyncMetrics {
    /// Changes were learned of, at `unix` (time since 1970): of so many Services, of so many EndpointSlices.
    pub const fn queued(&mut self, unix: Duration, services: u64, slices: u64) {
        self.last_queued = Some(unix);
        self.service_changes = self.service_changes.saturating_add(services);
        self.endpoint_changes = self.endpoint_changes.saturating_add(slices);
    }

    /// They took effect at `unix`; planning and publishing took so long.
    pub fn synced(&mut self, family: Family, unix: Duration, took: Duration) {
        let [ipv4, ipv6] = &mut self.families;
        let sync = match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        };
        sync.durations.observe(took);
        sync.last = Some(unix);
    }
}

impl ProbeCounts {
    /// A probe was answered with this status: 200, or something else.
    pub const fn answered(&mut self, probe: Probe, status: u16) {
        let [well, unwell] = match probe {
            Probe::Healthz => &mut self.healthz,
            Probe::Livez => &mut self.livez,
        };
        let count = if status == 200 { well } else { unwell };
        *count = count.saturating_add(1);
    }

    /// How often 200 was answered, and how often 503.
    #[must_use]
    pub const fn of(&self, probe: Probe) -> [u64; 2] {
        match probe {
            Probe::Healthz => self.healthz,
            Probe::Livez => self.livez,
        }
    }
}
