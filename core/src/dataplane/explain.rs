//! Why a packet would go where it would go: the decision of [`super::decide`], with a tracer that listens.

use super::MidStream;
use super::decide::{Decision, First, Note, Tracer, decide, destination};
use super::path::transport;
use super::shared::{Shared, Tracked, cut_with_endpoint};
use crate::conntrack::EndpointLife;
use crate::net::{
    Arrival, Direction, DropReason, EndpointId, Generation, Instant, ServiceId, Tuple, Verdict,
};
use crate::packet::{Headers, Kind, Offload, Parsed, parse};
use crate::service::{EndpointSet, FrontendKind, FrontendRef, SourceClass, Table};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Why a source is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MasqueradeCause {
    /// The frontend's rule for this class of senders asks for it.
    Rule,
    /// The endpoint would reach itself.
    Hairpin,
}

/// What would become of a packet, and what was found on the way. `None` where the way did not lead there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The generation of the Service table asked.
    pub generation: Generation,
    /// What would become of the packet.
    pub verdict: Verdict,
    /// Why it would be dropped.
    pub reason: Option<DropReason>,
    /// The packet's tuple. Of an ICMP error: the quoted packet's.
    pub tuple: Option<Tuple<IpAddr>>,
    /// It belongs to a connection, in this direction.
    pub connection: Option<Direction>,
    /// It is for a frontend of this kind.
    pub frontend: Option<FrontendKind>,
    /// The frontend's ServicePort.
    pub service: Option<ServiceId>,
    /// Who sends it.
    pub class: Option<SourceClass>,
    /// The endpoint set that the frontend's rule gives this class.
    pub set: Option<EndpointSet>,
    /// Every endpoint that may be chosen.
    pub choices: Vec<SocketAddr>,
    /// The endpoint that session affinity remembers for the sender.
    pub kept: Option<EndpointId>,
    /// The endpoint.
    pub endpoint: Option<SocketAddr>,
    /// Why the source would be translated too.
    pub masquerade: Option<MasqueradeCause>,
    /// What the tuple would become; the source port of a masqueraded new connection is not known before.
    pub translated: Option<Tuple<IpAddr>>,
}

#[derive(Default)]
struct Notes {
    frontend: Option<FrontendRef>,
    class: Option<SourceClass>,
    kept: Option<EndpointId>,
    hairpin: bool,
}

impl Tracer for Notes {
    const PEEKS: bool = true;

    fn note(&mut self, note: Note) {
        match note {
            Note::Frontend(frontend) => self.frontend = Some(frontend),
            Note::Class(class) => self.class = Some(class),
            Note::Kept(endpoint) => self.kept = Some(endpoint),
            Note::Hairpin => self.hairpin = true,
        }
    }
}

impl Explanation {
    const fn new(generation: Generation, verdict: Verdict) -> Self {
        Self {
            generation,
            verdict,
            reason: None,
            tuple: None,
            connection: None,
            frontend: None,
            service: None,
            class: None,
            set: None,
            choices: Vec::new(),
            kept: None,
            endpoint: None,
            masquerade: None,
            translated: None,
        }
    }
}

pub(super) fn explain(
    table: &Table,
    shared: &Shared,
    generation: Generation,
    now: Instant,
    (packet, arrival): (&[u8], Arrival),
) -> Explanation {
    let asked = Asked {
        table,
        shared,
        generation,
        now: now.ticks(),
        packet,
        arrival,
    };
    match parse(packet, &Offload::default()) {
        Parsed::NotOurs => Explanation::new(generation, Verdict::Pass),
        Parsed::Malformed(reason) => Explanation {
            reason: Some(reason),
            ..Explanation::new(generation, Verdict::Drop)
        },
        Parsed::Ipv4(headers) => headed(&asked, &headers),
        Parsed::Ipv6(headers) => headed(&asked, &headers),
    }
}

/// A packet that is asked about, and who is asked.
#[derive(Clone, Copy)]
struct Asked<'a> {
    table: &'a Table,
    shared: &'a Shared,
    generation: Generation,
    /// Ticks.
    now: u32,
    packet: &'a [u8],
    arrival: Arrival,
}

fn headed<A: Tracked>(asked: &Asked<'_>, headers: &Headers<A>) -> Explanation {
    let Asked {
        table,
        shared,
        generation,
        now,
        packet,
        arrival,
    } = *asked;
    let base = Explanation {
        tuple: Some(headers.tuple.to_ip()),
        ..Explanation::new(generation, Verdict::Pass)
    };
    let tuple = match headers.kind {
        Kind::Whole | Kind::FirstFragment { .. } => headers.tuple,
        Kind::IcmpError { .. } => headers.tuple.reverse(),
        Kind::LaterFragment { .. } | Kind::Other => return base,
    };
    let connections = A::connections(shared);
    let hash = connections.hash(&tuple);
    let hit = connections.find(&tuple, hash, now).filter(|hit| {
        let life = shared
            .endpoints
            .life(hit.binding.endpoint(), hit.binding.endpoint_generation());
        life != EndpointLife::Ended || !cut_with_endpoint(tuple.protocol)
    });
    if let Some(hit) = hit {
        let reply = hit.binding.tuple(Direction::Reply);
        return Explanation {
            verdict: Verdict::Forward,
            connection: Some(hit.direction),
            endpoint: Some(SocketAddr::new(reply.source.into(), reply.source_port)),
            translated: Some(hit.binding.translated(hit.direction).to_ip()),
            ..base
        };
    }
    if matches!(headers.kind, Kind::IcmpError { .. }) {
        return base;
    }
    let mut notes = Notes::default();
    let first = First {
        headers,
        hash,
        arrival,
        now,
        random: table.hash(tuple.source, tuple.source_port, tuple.protocol),
    };
    let found = destination(table, &tuple);
    let decision = decide(table, shared, &first, found, &mut notes);
    let picked_up = shared.options.mid_stream == MidStream::PickUp;
    let opens = transport(packet, headers).is_some_and(|transport| transport.opens(picked_up));
    describe(table, base, &tuple, decision, &notes, opens)
}

fn describe<A: Tracked>(
    table: &Table,
    base: Explanation,
    tuple: &Tuple<A>,
    decision: Decision<A>,
    notes: &Notes,
    opens: bool,
) -> Explanation {
    let mut explanation = base;
    explanation.class = notes.class;
    explanation.kept = notes.kept;
    if let Some(frontend) = notes.frontend
        && let Some(entry) = table.frontend(frontend)
    {
        explanation.frontend = Some(entry.kind());
        explanation.service = Some(entry.service());
        if let Some(class) = notes.class {
            explanation.set = Some(entry.rule(class).set);
            explanation.choices = table
                .choices(frontend, class)
                .filter_map(|id| table.endpoint(id))
                .map(|entry| SocketAddr::new(entry.address::<A>().into(), entry.port()))
                .collect();
        }
    }
    match decision {
        Decision::Pass => {}
        Decision::Reject(_) => explanation.verdict = Verdict::Reply,
        Decision::Drop(reason, _) => {
            explanation.verdict = Verdict::Drop;
            explanation.reason = Some(reason);
        }
        Decision::Open(_) if !opens => {
            explanation.verdict = Verdict::Drop;
            explanation.reason = Some(DropReason::NoConnection);
        }
        Decision::Open(choice) => {
            explanation.verdict = Verdict::Forward;
            let binding = choice.opening.binding();
            let translated = Tuple {
                // What it will be is not known: others may have taken it.
                source_port: tuple.source_port,
                ..binding.translated(Direction::Original)
            };
            let (address, port) = (translated.destination, translated.destination_port);
            explanation.endpoint = Some(SocketAddr::new(address.into(), port));
            explanation.masquerade = binding.masquerade().then_some(if notes.hairpin {
                MasqueradeCause::Hairpin
            } else {
                MasqueradeCause::Rule
            });
            explanation.translated = Some(translated.to_ip());
        }
    }
    explanation
}
