//! Where a new connection goes. The packets and [`super::Explanation`] ask the same function; what it noted on
//! its way is a type parameter that compiles to nothing for packets.

use super::shared::{Shared, Tracked};
use crate::conntrack::{EndpointLife, Opening, Target};
use crate::net::{Arrival, DropReason, EndpointId, ServiceId, Tuple};
use crate::packet::Headers;
use crate::service::{Draw, FrontendEntry, FrontendRef, Lookup, Selection, SourceClass, Table};

/// Something that a decision found on its way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Note {
    Frontend(FrontendRef),
    Class(SourceClass),
    Kept(EndpointId),
    Hairpin,
}

/// Who listens to notes.
pub(super) trait Tracer {
    /// Is it only asked what would be decided? Then nobody's turn is taken.
    const PEEKS: bool;

    fn note(&mut self, note: Note);
}

impl Tracer for () {
    const PEEKS: bool = false;

    #[inline]
    fn note(&mut self, _: Note) {}
}

/// What is to become of a first packet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Decision<A: Tracked> {
    /// Not ours.
    Pass,
    /// ICMP port unreachable, on behalf of a ServicePort if there is one.
    Reject(Option<ServiceId>),
    Drop(DropReason, Option<ServiceId>),
    Open(Choice<A>),
}

/// A first packet, and what its connection's way depends on beside the tables.
#[derive(Debug)]
pub(super) struct First<'packet, A> {
    pub(super) headers: &'packet Headers<A>,
    /// The hash under which its connection would be found.
    pub(super) hash: u64,
    /// By what it entered.
    pub(super) arrival: Arrival,
    /// Ticks.
    pub(super) now: u32,
    /// Chooses where nothing else does.
    pub(super) random: u64,
}

/// An endpoint chosen for a new connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice<A: Tracked> {
    pub(super) service: ServiceId,
    pub(super) tag: u64,
    /// Seconds for which the client is to keep the endpoint.
    pub(super) affinity_seconds: Option<u32>,
    pub(super) opening: Opening<A>,
}

/// What a first packet's destination is.
#[inline]
pub(super) fn destination<A: Tracked>(table: &Table, tuple: &Tuple<A>) -> Lookup {
    let (address, port) = (tuple.destination, tuple.destination_port);
    let hash = table.hash(address, port, tuple.protocol);
    table.lookup(address, port, tuple.protocol, hash)
}

/// Decides where the connection of a first packet goes, whose destination was found to be `found`. Changes nothing but
/// whose turn it is, and not even that for a tracer that peeks; same arguments and same turn, same answer.
#[inline(always)]
pub(super) fn decide<A: Tracked, T: Tracer>(
    table: &Table,
    shared: &Shared,
    first: &First<'_, A>,
    found: Lookup,
    tracer: &mut T,
) -> Decision<A> {
    match found {
        Lookup::None => Decision::Pass,
        Lookup::Rejected => Decision::Reject(None),
        Lookup::Unallocated => Decision::Drop(DropReason::UnallocatedAddress, None),
        Lookup::Frontend(frontend) => {
            tracer.note(Note::Frontend(frontend));
            choose(table, shared, first, frontend, tracer)
        }
    }
}

#[inline(always)]
fn choose<A: Tracked, T: Tracer>(
    table: &Table,
    shared: &Shared,
    first: &First<'_, A>,
    frontend: FrontendRef,
    tracer: &mut T,
) -> Decision<A> {
    let (tuple, now, random) = (&first.headers.tuple, first.now, first.random);
    let Some(entry) = table.frontend(frontend) else {
        return Decision::Pass;
    };
    let service = entry.service();
    if first.headers.martian() {
        return Decision::Drop(DropReason::MartianAddress, Some(service));
    }
    let class = table.classify(tuple.source, first.arrival);
    tracer.note(Note::Class(class));
    let kept = entry
        .affinity_seconds()
        .and_then(|_| kept(shared, service, tuple, now));
    if let Some(endpoint) = kept {
        tracer.note(Note::Kept(endpoint));
    }
    let draw = Draw {
        tuple,
        random,
        now,
        balance: &shared.balance,
        peek: T::PEEKS,
    };
    let (endpoint, by_rule) = match table.select(frontend, class, kept, &draw) {
        Selection::Endpoint { id, masquerade } => (id, masquerade),
        Selection::SourceRange => return Decision::Drop(DropReason::SourceRange, Some(service)),
        Selection::NoneUsable => return Decision::Reject(Some(service)),
        Selection::NoneAllowed => {
            return Decision::Drop(DropReason::NoLocalEndpoint, Some(service));
        }
    };
    let chosen = (endpoint, by_rule);
    open_to(table, shared, first, entry, chosen, tracer)
}

/// What is opened to the endpoint that was chosen, masqueraded if the rule says so.
#[inline(always)]
fn open_to<A: Tracked, T: Tracer>(
    table: &Table,
    shared: &Shared,
    first: &First<'_, A>,
    frontend: &FrontendEntry,
    (endpoint, by_rule): (EndpointId, bool),
    tracer: &mut T,
) -> Decision<A> {
    let (tuple, service) = (&first.headers.tuple, frontend.service());
    // Before the entry is read: an endpoint that ends meanwhile has another generation afterwards.
    let generation = shared.endpoints.generation(endpoint);
    let Some(chosen) = table.endpoint(endpoint) else {
        return Decision::Reject(Some(service));
    };
    let address: A = chosen.address();
    // An endpoint that reaches itself must see an answer come back through us, whatever the rule says.
    let hairpin = address == tuple.source;
    if hairpin {
        tracer.note(Note::Hairpin);
    }
    let masquerade = (by_rule || hairpin).then(|| table.masquerade_address());
    if masquerade == Some(None) {
        return Decision::Drop(DropReason::NoSourcePort, Some(service));
    }
    let target = Target {
        address,
        port: chosen.port(),
        endpoint,
        generation,
        local: chosen.is_local(),
        counted: frontend.counts_connections(),
    };
    Decision::Open(Choice {
        service,
        tag: chosen.tag(),
        affinity_seconds: frontend.affinity_seconds(),
        opening: Opening::new(
            A::connections(shared),
            (tuple, first.hash),
            &target,
            masquerade.flatten(),
            (shared.masquerade_ports, first.random),
        ),
    })
}

/// The endpoint that session affinity remembers for the client, if it is still serving.
fn kept<A: Tracked>(
    shared: &Shared,
    service: ServiceId,
    tuple: &Tuple<A>,
    now: u32,
) -> Option<EndpointId> {
    let kept = shared.affinity.recall(service, tuple.source, now)?;
    let life = shared.endpoints.life(kept.endpoint, kept.generation);
    matches!(life, EndpointLife::Serving(_)).then_some(kept.endpoint)
}
