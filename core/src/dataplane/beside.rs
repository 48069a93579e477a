//! A connection to an endpoint itself, beside one to a Service there from the same port of the same client: the
//! endpoint's answers could not be told apart. So it gets another source port, as netfilter gives it one, which follows
//! every connection (`nf_nat_core.c`, `get_unique_tuple`); here only these are followed, and all others pass.

use super::path::{Burst, Subject, transport};
use super::shared::Tracked;
use crate::conntrack::{EndpointLife, Opening, Target};
use crate::net::{Direction, Family, Protocol};
use crate::packet::{PlainHeaders, tcp_flags};
use crate::table::Home;
use crate::table::hash::next_seed;

/// A plain packet of no connection that the index knew, to nobody's address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stranger {
    hash: u64,
    /// The hash of its answer, if it may begin a connection.
    answer: Option<u64>,
    family: Family,
}

impl Burst<'_> {
    /// What must be looked at again when the turn of a packet comes that is of no connection and to nobody. The line is
    /// asked for where a connection beside it would be found.
    #[inline(always)]
    pub(super) fn stranger<A: Tracked>(&self, headers: &PlainHeaders<A>, hash: u64) -> Stranger {
        let answer = may_begin(headers.protocol, headers.tcp_flags).then(|| {
            let connections = A::connections(self.shared);
            let answer = connections.hash(&headers.headers().tuple.reverse());
            connections.prefetch(answer);
            answer
        });
        Stranger {
            hash,
            answer,
            family: A::FAMILY,
        }
    }

    /// Is it certain that a packet is of no connection, and beside none? Seldom it is not.
    #[inline(always)]
    pub(super) fn is_alone(&self, stranger: Stranger) -> bool {
        if self.opened.may_hold(stranger.hash) {
            return false;
        }
        let Some(answer) = stranger.answer else {
            return true;
        };
        let home = match stranger.family {
            Family::Ipv4 => self.shared.ipv4.candidate(answer),
            Family::Ipv6 => self.shared.ipv6.candidate(answer),
        };
        matches!(home, Home::Nothing)
    }

    /// What a packet that is not to a Service opens, and the endpoint's tag while it serves; `None` if the packet passes.
    #[inline]
    pub(super) fn beside<A: Tracked>(
        &mut self,
        subject: &Subject<'_, A>,
    ) -> Option<(Opening<A>, Option<u64>)> {
        let headers = subject.headers;
        if may_begin(headers.tuple.protocol, headers.tcp_flags) {
            self.rival(subject)
        } else {
            None
        }
    }

    #[cold]
    fn rival<A: Tracked>(&mut self, subject: &Subject<'_, A>) -> Option<(Opening<A>, Option<u64>)> {
        if !transport(subject.packet(), subject.headers)?.opens(false) {
            return None;
        }
        let original = subject.headers.tuple;
        let answer = original.reverse();
        let connections = A::connections(self.shared);
        let rival = connections.find(&answer, connections.hash(&answer), self.now)?;
        if rival.direction != Direction::Reply {
            return None;
        }
        let (endpoint, generation) = (
            rival.binding.endpoint(),
            rival.binding.endpoint_generation(),
        );
        let serving = match self.shared.endpoints.life(endpoint, generation) {
            EndpointLife::Serving(tag) => Some(tag),
            EndpointLife::Ended => None,
        };
        let target = Target {
            address: original.destination,
            port: original.destination_port,
            endpoint,
            generation,
            local: rival.binding.local_endpoint(),
            counted: false,
        };
        let ports = (self.shared.masquerade_ports, next_seed(self.random));
        let opening = Opening::new(connections, (&original, subject.hash), &target, None, ports);
        Some((opening, serving))
    }
}

/// May a packet be the first that is followed?
#[inline(always)]
const fn may_begin(protocol: Protocol, flags: u8) -> bool {
    match protocol {
        Protocol::Tcp => flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN,
        // Nothing in a datagram tells the first one, and to look twice for each is not worth it.
        Protocol::Udp => false,
        Protocol::Sctp => true,
    }
}
