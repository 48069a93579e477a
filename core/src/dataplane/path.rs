//! One packet's way: a known connection, a new one, an ICMP error about one, or a later fragment.

use super::allowance::Allowance;
use super::decide::{Choice, Decision, First, decide, destination};
use super::descriptor::descriptor_flags;
use super::endpoint_counters::EndpointCounters;
use super::opened::Opened;
use super::outcome::Outcome;
use super::shared::{Shared, Tracked, cut_with_endpoint};
use super::stats::{COUNTERS, ENDED_BYTES, ENDED_PACKETS, ServiceEvent};
use super::{EndedTcp, MidStream};
use crate::conntrack::{
    EndpointLife, Followed, FragmentKey, Hit, Moment, OpenError, Opening, Step, Transport,
};
use crate::net::{Arrival, Direction, DropReason, Protocol, ServiceId, Tuple};
use crate::packet::{
    ErrorRewrite, Headers, Kind, Offload, Rewrite, SctpChunk, TcpSegment, echo_reply,
    port_unreachable, rewrite, rewrite_error, tcp_flags, tcp_reset,
};
use crate::service::{Lookup, Table};
use crate::sync::CounterSlot;
use crate::table::hash::next_seed;

/// Rounds before a packet that meets connections beginning and ending under it, time and again, is dropped.
const MAX_ROUNDS: u32 = 8;

/// What one burst's packets have in common.
pub(super) struct Burst<'burst> {
    pub(super) table: &'burst Table,
    pub(super) shared: &'burst Shared,
    pub(super) counters: &'burst CounterSlot<COUNTERS>,
    pub(super) endpoints: &'burst EndpointCounters,
    pub(super) random: &'burst mut u64,
    /// Ticks.
    pub(super) now: u32,
    pub(super) moment: Moment,
    /// For new connections.
    pub(super) allowance: &'burst mut Allowance,
    /// Was any packet of this chunk decided on ahead?
    pub(super) decided: bool,
    /// Are packets between strangers told before anything is looked up? Only where there were some of late.
    pub(super) sift: bool,
    /// What this burst opened after its lookups were made.
    pub(super) opened: Opened,
    /// Packets by [`crate::net::Verdict`].
    pub(super) verdicts: [u64; 4],
    /// Bytes of all packets.
    pub(super) bytes: u64,
}

/// A packet and what was found of it so far.
pub(super) struct Subject<'packet, A: Tracked> {
    /// All the room there is; the packet is its first `len` bytes.
    pub(super) frame: &'packet mut [u8],
    pub(super) len: usize,
    pub(super) headers: &'packet Headers<A>,
    pub(super) offload: &'packet Offload,
    pub(super) arrival: Arrival,
    pub(super) hash: u64,
    /// What was decided when the index named no connection of this hash.
    pub(super) decision: Option<&'packet Decision<A>>,
}

/// What connection tracking reads of a packet's transport header; `None` if that is impossible.
#[inline(always)]
pub(super) fn transport<A: Tracked>(packet: &[u8], headers: &Headers<A>) -> Option<Transport> {
    match headers.tuple.protocol {
        Protocol::Tcp => TcpSegment::read(packet, headers).map(Transport::Tcp),
        Protocol::Udp => Some(Transport::Udp),
        Protocol::Sctp => SctpChunk::read(packet, headers).map(Transport::Sctp),
    }
}

impl Burst<'_> {
    /// Decides on a packet, rewrites it, and says what became of it.
    #[inline]
    pub(super) fn packet<A: Tracked>(&mut self, subject: &mut Subject<'_, A>) -> Outcome {
        match subject.headers.kind {
            Kind::Whole | Kind::FirstFragment { .. } => self.leading(subject),
            Kind::LaterFragment {
                datagram, offset, ..
            } => self.later_fragment(subject, datagram, offset),
            Kind::IcmpError { .. } => self.icmp_error(subject),
            Kind::Other => self.other(subject),
        }
    }

    /// A whole packet or a first fragment.
    #[inline(always)]
    fn leading<A: Tracked>(&mut self, subject: &mut Subject<'_, A>) -> Outcome {
        if subject.decision.is_some()
            && !self.opened.may_hold(subject.hash)
            && let Some(outcome) = self.first_packet(subject)
        {
            return outcome;
        }
        self.again(subject)
    }

    /// A packet whose connection ended, or began, under it.
    #[cold]
    #[inline(never)]
    fn again<A: Tracked>(&mut self, subject: &mut Subject<'_, A>) -> Outcome {
        let connections = A::connections(self.shared);
        for _ in 0..MAX_ROUNDS {
            let tuple = &subject.headers.tuple;
            let outcome = match connections.find(tuple, subject.hash, self.now) {
                Some(found) => self.known(subject, &found),
                None => self.first_packet(subject),
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
        Outcome::dropped(DropReason::NoConnection)
    }

    /// A packet of a connection; `None` if the connection ended and the packet is to be looked up again.
    fn known<A: Tracked>(
        &mut self,
        subject: &mut Subject<'_, A>,
        hit: &Hit<'_, A>,
    ) -> Option<Outcome> {
        let connections = A::connections(self.shared);
        let binding = &hit.binding;
        let tag = match self
            .shared
            .endpoints
            .life(binding.endpoint(), binding.endpoint_generation())
        {
            EndpointLife::Serving(tag) => Some(tag),
            EndpointLife::Ended if cut_with_endpoint(binding.protocol()) => {
                connections.close(*hit);
                return None;
            }
            EndpointLife::Ended if self.resets(hit) => {
                connections.close(*hit);
                // A SYN may open a connection to another endpoint.
                let opens = subject.headers.tcp_flags & tcp_flags::SYN != 0;
                return (!opens).then(|| reset(subject));
            }
            EndpointLife::Ended => None,
        };
        let Some(transport) = transport(subject.packet(), subject.headers) else {
            return Some(Outcome::dropped(DropReason::InvalidTransport));
        };
        match connections.advance(hit, &transport, self.now)? {
            Step::Advance(_) | Step::Ignore => Some(self.translate(subject, hit, 0, tag)),
            Step::End => connections
                .close(*hit)
                .then(|| self.translate(subject, hit, 0, tag)),
            Step::Invalid => Some(Outcome::dropped(DropReason::InvalidTransport)),
            Step::Reopen => {
                connections.close(*hit);
                None
            }
        }
    }

    /// Is the client to be told that its connection's endpoint is gone?
    fn resets<A: Tracked>(&self, hit: &Hit<'_, A>) -> bool {
        self.shared.options.ended_tcp == EndedTcp::Reset
            && hit.binding.protocol() == Protocol::Tcp
            && hit.direction == Direction::Original
    }

    /// Rewrites a packet of a connection, whose endpoint has a tag while it is serving.
    fn translate<A: Tracked>(
        &mut self,
        subject: &mut Subject<'_, A>,
        hit: &Hit<'_, A>,
        news: u16,
        serving: Option<u64>,
    ) -> Outcome {
        let binding = &hit.binding;
        let tag = serving.unwrap_or(0);
        let to = binding.translated(hit.direction);
        let (network, transport) = binding.deltas(hit.direction);
        let to = Rewrite::with_deltas(&to, network, transport);
        let (headers, offload) = (subject.headers, subject.offload);
        if let Kind::FirstFragment { datagram } = headers.kind {
            // A datagram whose first fragment cannot be translated is not followed either.
            let ports = (headers.tuple.source_port, headers.tuple.destination_port);
            let translatable = headers.tuple.protocol != Protocol::Sctp
                || ports == (to.source_port, to.destination_port);
            let new = Some((to.source, to.destination, tag));
            if translatable && !self.lead(headers, datagram, new) {
                return Outcome::dropped(DropReason::FragmentTableFull);
            }
        }
        if let Err(reason) = rewrite(subject.packet_mut(), headers, &to, offload) {
            return Outcome::dropped(reason);
        }
        let bytes = subject.len as u64;
        if serving.is_some() {
            self.endpoints
                .packet(binding.endpoint(), hit.direction, bytes);
        } else {
            self.counters.add(ENDED_PACKETS, 1);
            self.counters.add(ENDED_BYTES, bytes);
        }
        let way = flags(
            hit.direction,
            binding.masquerade(),
            binding.local_endpoint(),
        );
        Outcome::forward(news | way, tag)
    }

    /// What is to become of a first packet; the line is asked for where its reply will be found.
    #[inline(always)]
    pub(super) fn decide<A: Tracked>(
        &mut self,
        headers: &Headers<A>,
        hash: u64,
        arrival: Arrival,
        found: Lookup,
    ) -> Decision<A> {
        let first = First {
            headers,
            hash,
            arrival,
            now: self.now,
            random: next_seed(self.random),
        };
        let decision = decide(self.table, self.shared, &first, found, &mut ());
        if let Decision::Open(choice) = &decision {
            A::connections(self.shared).ask_for_answer(&choice.opening);
        }
        decision
    }

    /// A packet that belongs to no connection; `None` if it does by now, and is to be looked up again.
    #[inline(never)]
    fn first_packet<A: Tracked>(&mut self, subject: &mut Subject<'_, A>) -> Option<Outcome> {
        let headers = subject.headers;
        let late;
        let decision = match subject.decision.take() {
            Some(decision) => decision,
            None => {
                let found = destination(self.table, &headers.tuple);
                late = self.decide(headers, subject.hash, subject.arrival, found);
                &late
            }
        };
        match decision {
            Decision::Pass => self.not_ours(subject),
            Decision::Reject(service) => Some(self.reject(subject, *service)),
            Decision::Drop(reason, service) => {
                self.count_drop(*reason, *service);
                Some(Outcome::dropped(*reason))
            }
            Decision::Open(choice) => {
                self.open(subject, &choice.opening, Some(choice), Some(choice.tag))
            }
        }
    }

    /// A packet that is not to a Service.
    #[inline]
    fn not_ours<A: Tracked>(&mut self, subject: &mut Subject<'_, A>) -> Option<Outcome> {
        if let Some((opening, serving)) = self.beside(subject) {
            return self.open(subject, &opening, None, serving);
        }
        if let Kind::FirstFragment { datagram } = subject.headers.kind
            && !self.lead(subject.headers, datagram, None)
        {
            return Some(Outcome::dropped(DropReason::FragmentTableFull));
        }
        Some(Outcome::PASS)
    }

    fn reject<A: Tracked>(
        &self,
        subject: &mut Subject<'_, A>,
        service: Option<ServiceId>,
    ) -> Outcome {
        if let Some(service) = service {
            self.shared.services.count(service, ServiceEvent::Rejected);
        }
        match port_unreachable(subject.frame, subject.headers) {
            Some(len) => Outcome::replied(len),
            None => Outcome::dropped(DropReason::RejectSuppressed),
        }
    }

    fn count_drop(&self, reason: DropReason, service: Option<ServiceId>) {
        let event = if reason == DropReason::NoLocalEndpoint {
            ServiceEvent::NoLocalEndpoint
        } else if reason == DropReason::SourceRange {
            ServiceEvent::SourceRange
        } else {
            return;
        };
        if let Some(service) = service {
            self.shared.services.count(service, event);
        }
    }

    /// Opens a connection, to what was chosen if it is to a Service; `None` if another worker did, or the packet is to be
    /// looked up again for another reason.
    fn open<A: Tracked>(
        &mut self,
        subject: &mut Subject<'_, A>,
        opening: &Opening<A>,
        choice: Option<&Choice<A>>,
        serving: Option<u64>,
    ) -> Option<Outcome> {
        let Some(transport) = transport(subject.packet(), subject.headers) else {
            return Some(Outcome::dropped(DropReason::InvalidTransport));
        };
        let limit = self.shared.options.new_connections_per_second;
        if !self.allowance.suffices(limit, self.now) {
            return Some(Outcome::dropped(DropReason::NewConnectionLimit));
        }
        match self.connect(opening, choice, &transport) {
            Ok(hit) => Some(self.translate(subject, &hit, descriptor_flags::NEW, serving)),
            Err(OpenError::Overtaken) => None,
            Err(OpenError::NotAnOpening)
                if self.shared.options.mid_stream == MidStream::Reset
                    && subject.headers.tuple.protocol == Protocol::Tcp =>
            {
                Some(reset(subject))
            }
            Err(error) => Some(Outcome::dropped(reason_of(error))),
        }
    }

    /// An ICMP error: about one of our connections, or not ours. It changes no state (RFC 5927, 4).
    #[inline(never)]
    fn icmp_error<A: Tracked>(&mut self, subject: &mut Subject<'_, A>) -> Outcome {
        let connections = A::connections(self.shared);
        let headers = subject.headers;
        let quoted = headers.tuple;
        // Whoever complains received the quoted packet, so an answer of theirs would have this tuple.
        let answer = quoted.reverse();
        let Some(hit) = connections.find(&answer, subject.hash, self.now) else {
            return Outcome::PASS;
        };
        let (source, destination) = headers.addresses(subject.packet());
        if destination != quoted.source {
            return Outcome::dropped(DropReason::IcmpMismatch);
        }
        if !connections.quotes_sent(&hit, quoted_sequence(subject.packet(), headers)) {
            return Outcome::dropped(DropReason::IcmpMismatch);
        }
        let binding = &hit.binding;
        let translated = binding.translated(hit.direction);
        // A router on the way keeps its own address: that is what path discovery wants to see.
        let source = if source == quoted.destination {
            translated.source
        } else {
            source
        };
        let to = ErrorRewrite {
            source,
            destination: translated.destination,
            quoted: binding.tuple(hit.direction.reverse()),
        };
        let tag = match self
            .shared
            .endpoints
            .life(binding.endpoint(), binding.endpoint_generation())
        {
            EndpointLife::Serving(tag) => tag,
            EndpointLife::Ended => 0,
        };
        match rewrite_error(subject.packet_mut(), headers, &to) {
            Ok(()) => {
                let direction = match hit.direction {
                    Direction::Original => 0,
                    Direction::Reply => descriptor_flags::REPLY_DIRECTION,
                };
                Outcome::forward(descriptor_flags::RELATED | direction, tag)
            }
            Err(reason) => Outcome::dropped(reason),
        }
    }

    /// ICMP that is no error about a connection: an echo request to a Service's address may be answered.
    #[cold]
    #[inline(never)]
    fn other<A: Tracked>(&self, subject: &mut Subject<'_, A>) -> Outcome {
        let headers = subject.headers;
        let asked = self.shared.options.answer_echo
            && self.table.is_service_address(headers.tuple.destination);
        let len = asked.then(|| echo_reply(subject.packet_mut(), headers));
        len.flatten().map_or(Outcome::PASS, Outcome::replied)
    }

    /// Remembers where a first fragment goes; `false` if there is no room, and its datagram cannot go anywhere.
    #[cold]
    #[inline(never)]
    fn lead<A: Tracked>(
        &self,
        headers: &Headers<A>,
        datagram: u32,
        translated: Option<(A, A, u64)>,
    ) -> bool {
        let Tuple {
            source,
            destination,
            ..
        } = headers.tuple;
        let key = FragmentKey {
            source,
            destination,
            datagram,
        };
        let data = headers.end.wrapping_sub(u32::from(headers.transport));
        let end = u16::try_from(data).unwrap_or(u16::MAX);
        self.shared.fragments.lead(&key, end, translated, self.now)
    }

    #[inline(never)]
    fn later_fragment<A: Tracked>(
        &self,
        subject: &mut Subject<'_, A>,
        datagram: u32,
        offset: u16,
    ) -> Outcome {
        let headers = subject.headers;
        let from = headers.tuple;
        let key = FragmentKey {
            source: from.source,
            destination: from.destination,
            datagram,
        };
        match self.shared.fragments.follow(&key, offset, self.now) {
            Followed::Pass => Outcome::PASS,
            Followed::Unmatched => Outcome::dropped(DropReason::FragmentUnmatched),
            Followed::Overlap => Outcome::dropped(DropReason::FragmentOverlap),
            Followed::Forward {
                source,
                destination,
                tag,
            } => {
                let (Some(source), Some(destination)) =
                    (A::from_ip(source), A::from_ip(destination))
                else {
                    return Outcome::dropped(DropReason::FragmentUnmatched);
                };
                let to = Rewrite::new(
                    &from,
                    &Tuple {
                        source,
                        destination,
                        ..from
                    },
                );
                let offload = subject.offload;
                match rewrite(subject.packet_mut(), headers, &to, offload) {
                    Ok(()) => Outcome::forward(0, tag),
                    Err(reason) => Outcome::dropped(reason),
                }
            }
        }
    }
}

/// Answers a segment by a reset, if it may be answered.
fn reset<A: Tracked>(subject: &mut Subject<'_, A>) -> Outcome {
    match tcp_reset(subject.frame, subject.headers) {
        Some(len) => Outcome::replied(len),
        None => Outcome::dropped(DropReason::NoConnection),
    }
}

/// The sequence number in the TCP header that an ICMP error quotes.
fn quoted_sequence<A: Tracked>(packet: &[u8], headers: &Headers<A>) -> u32 {
    let Kind::IcmpError {
        quote_transport, ..
    } = headers.kind
    else {
        return 0;
    };
    let quoted = packet.get(usize::from(quote_transport)..);
    match quoted.and_then(<[u8]>::first_chunk::<8>) {
        Some([_, _, _, _, s0, s1, s2, s3]) => u32::from_be_bytes([*s0, *s1, *s2, *s3]),
        None => 0,
    }
}

impl<A: Tracked> Subject<'_, A> {
    #[inline]
    pub(super) fn packet(&self) -> &[u8] {
        self.frame.get(..self.len).unwrap_or_default()
    }

    #[inline]
    fn packet_mut(&mut self) -> &mut [u8] {
        self.frame.get_mut(..self.len).unwrap_or_default()
    }
}

/// The descriptor's flags for a packet of a connection.
#[inline(always)]
pub(super) fn flags(direction: Direction, masquerade: bool, local_endpoint: bool) -> u16 {
    (u16::from(masquerade) * descriptor_flags::MASQUERADE)
        | (u16::from(local_endpoint) * descriptor_flags::LOCAL_ENDPOINT)
        | (u16::from(direction == Direction::Reply) * descriptor_flags::REPLY_DIRECTION)
}

pub(super) const fn reason_of(error: OpenError) -> DropReason {
    match error {
        OpenError::Overtaken | OpenError::NotAnOpening => DropReason::NoConnection,
        OpenError::TableFull => DropReason::ConnectionTableFull,
        OpenError::NoSourcePort => DropReason::NoSourcePort,
    }
}
