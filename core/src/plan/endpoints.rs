//! Which endpoints a ServicePort has, and which of them new connections may choose.

use super::policy::Policy;
use super::{ClusterReason, EndpointPlan, EndpointState, LocalReason, PortKey};
use crate::model::{Conditions, EndpointSlice, SliceEndpoint, Weights};
use crate::net::Family;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};

/// An endpoint as slices name it, before it is decided whether it is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate<'slices> {
    address: SocketAddr,
    local: bool,
    conditions: Conditions,
    zone_hints: &'slices [String],
    node_hints: &'slices [String],
    weight: u16,
}

/// The endpoints of a ServicePort, and why those that may be chosen are these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Categories {
    pub(super) endpoints: Vec<EndpointPlan>,
    /// Of each endpoint: do connections to it live on?
    pub(super) serving: Vec<bool>,
    pub(super) cluster_reason: ClusterReason,
    pub(super) local_reason: LocalReason,
}

/// Slices of this family that the proxy looks at (`service.kubernetes.io/headless` hides a slice).
pub(super) fn visible<'slices>(
    slices: &[&'slices EndpointSlice],
    family: Family,
) -> impl Iterator<Item = &'slices EndpointSlice> {
    let own = slices.iter().copied();
    own.filter(move |slice| slice.family == family && !slice.headless)
}

/// Merges slices and decides which endpoints may be chosen (kube-proxy's `endpointslicecache.go` and
/// `CategorizeEndpoints` in `topology.go`).
pub(super) fn categorize(
    policy: &Policy,
    weights: &Weights,
    slices: &[&EndpointSlice],
    key: &PortKey,
    sound: impl Fn(IpAddr) -> bool,
) -> Categories {
    let candidates = merge(policy, weights, slices, key, sound);
    let (in_cluster_set, cluster_reason) = cluster_set(policy, &candidates);
    let (in_local_set, local_reason) = local_set(&candidates);
    let endpoints = candidates
        .iter()
        .zip(in_cluster_set.iter().zip(&in_local_set))
        .map(|(candidate, (cluster, local))| EndpointPlan {
            address: candidate.address,
            state: state(candidate.conditions),
            local: candidate.local,
            in_cluster_set: *cluster,
            in_local_set: *local,
            weight: candidate.weight,
        })
        .collect();
    let serving = candidates
        .iter()
        .map(|candidate| candidate.conditions.ready || candidate.conditions.serving)
        .collect();
    Categories {
        endpoints,
        serving,
        cluster_reason,
        local_reason,
    }
}

/// Ready addresses on this node, each once, over all ports and both families; terminating ones that are not
/// ready do not count though they still get traffic (`healthcheck/service_health.go`).
pub(super) fn local_ready_count(
    policy: &Policy,
    slices: &[&EndpointSlice],
    sound: impl Fn(IpAddr) -> bool,
) -> u32 {
    let visible = slices
        .iter()
        .filter(|slice| !slice.headless && !slice.ports.is_empty());
    let mut ready: Vec<IpAddr> = visible
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| endpoint.conditions.ready && is_local(policy, endpoint))
        .map(|endpoint| endpoint.address)
        .filter(|address| sound(*address))
        .collect();
    ready.sort_unstable();
    ready.dedup();
    u32::try_from(ready.len()).unwrap_or(u32::MAX)
}

fn is_local(policy: &Policy, endpoint: &SliceEndpoint) -> bool {
    endpoint.node_name.as_deref() == Some(policy.node_name.as_str())
}

/// Endpoints of all slices, sorted by address. Of several at one address a local one counts, then the one
/// in the best condition, so that the order of slices does not matter.
fn merge<'slices>(
    policy: &Policy,
    weights: &Weights,
    slices: &[&'slices EndpointSlice],
    key: &PortKey,
    sound: impl Fn(IpAddr) -> bool,
) -> Vec<Candidate<'slices>> {
    let mut candidates = Vec::new();
    for slice in visible(slices, key.family) {
        let ports = slice
            .ports
            .iter()
            .filter(|port| port.name == key.port_name && port.protocol == key.protocol);
        for port in ports {
            for endpoint in &slice.endpoints {
                if Family::of(endpoint.address) == key.family && sound(endpoint.address) {
                    candidates.push(Candidate {
                        address: SocketAddr::new(endpoint.address, port.port),
                        local: is_local(policy, endpoint),
                        conditions: endpoint.conditions,
                        zone_hints: &endpoint.zone_hints,
                        node_hints: &endpoint.node_hints,
                        weight: slice
                            .weights
                            .of(endpoint.address)
                            .or_else(|| weights.of(endpoint.address))
                            .unwrap_or(1),
                    });
                }
            }
        }
    }
    candidates.sort_unstable_by_key(|candidate| {
        let Conditions {
            ready,
            serving,
            terminating,
        } = candidate.conditions;
        (
            candidate.address,
            Reverse((candidate.local, ready, serving)),
            terminating,
            candidate.zone_hints,
            candidate.node_hints,
            Reverse(candidate.weight),
        )
    });
    candidates.dedup_by_key(|candidate| candidate.address);
    candidates
}

/// The set of policy Cluster: ready endpoints, narrowed by hints; or else those that serve while they
/// terminate, hints ignored.
fn cluster_set(policy: &Policy, candidates: &[Candidate<'_>]) -> (Vec<bool>, ClusterReason) {
    let (mut chosen, any_ready) = mark(candidates, |candidate| candidate.conditions.ready);
    if !any_ready {
        let (chosen, any) = mark(candidates, is_draining);
        let reason = if any {
            ClusterReason::Terminating
        } else {
            ClusterReason::Empty
        };
        return (chosen, reason);
    }
    let own_node = |candidate: &Candidate<'_>| candidate.node_hints.contains(&policy.node_name);
    if hinted(candidates, |candidate| candidate.node_hints, own_node) {
        narrow(&mut chosen, candidates, own_node);
        return (chosen, ClusterReason::NodeHints);
    }
    if let Some(zone) = &policy.zone {
        let own_zone = |candidate: &Candidate<'_>| candidate.zone_hints.contains(zone);
        if hinted(candidates, |candidate| candidate.zone_hints, own_zone) {
            narrow(&mut chosen, candidates, own_zone);
            return (chosen, ClusterReason::ZoneHints);
        }
    }
    (chosen, ClusterReason::AllReady)
}

/// The set of policy Local; it falls back on its own (KEP-1669), and hints never apply.
fn local_set(candidates: &[Candidate<'_>]) -> (Vec<bool>, LocalReason) {
    let ready = |candidate: &Candidate<'_>| candidate.local && candidate.conditions.ready;
    let (chosen, any) = mark(candidates, ready);
    if any {
        return (chosen, LocalReason::AllReady);
    }
    let draining = |candidate: &Candidate<'_>| candidate.local && is_draining(candidate);
    let (chosen, any) = mark(candidates, draining);
    let reason = if any {
        LocalReason::Terminating
    } else {
        LocalReason::Empty
    };
    (chosen, reason)
}

fn is_draining(candidate: &Candidate<'_>) -> bool {
    candidate.conditions.serving && candidate.conditions.terminating
}

/// Do hints of one kind count? Only if every ready endpoint has some, and at least one names this place.
fn hinted<'slices>(
    candidates: &[Candidate<'slices>],
    hints: impl Fn(&Candidate<'slices>) -> &'slices [String],
    names_us: impl Fn(&Candidate<'slices>) -> bool,
) -> bool {
    let mut ready = candidates
        .iter()
        .filter(|candidate| candidate.conditions.ready);
    ready.clone().all(|candidate| !hints(candidate).is_empty()) && ready.any(names_us)
}

fn mark<'slices>(
    candidates: &[Candidate<'slices>],
    wanted: impl Fn(&Candidate<'slices>) -> bool,
) -> (Vec<bool>, bool) {
    let chosen: Vec<bool> = candidates.iter().map(wanted).collect();
    let any = chosen.contains(&true);
    (chosen, any)
}

fn narrow<'slices>(
    chosen: &mut [bool],
    candidates: &[Candidate<'slices>],
    wanted: impl Fn(&Candidate<'slices>) -> bool,
) {
    for (mark, candidate) in chosen.iter_mut().zip(candidates) {
        *mark = *mark && wanted(candidate);
    }
}

const fn state(conditions: Conditions) -> EndpointState {
    match (conditions.ready, conditions.serving, conditions.terminating) {
        (true, _, _) => EndpointState::Ready,
        (false, true, true) => EndpointState::Terminating,
        (false, false, true) => EndpointState::TerminatingNotServing,
        (false, _, false) => EndpointState::NotReady,
    }
}
