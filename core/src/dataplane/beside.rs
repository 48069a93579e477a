//! A connection to an endpoint itself, beside one to a Service there from the same port of the same client: the
//! endpoint's answers could not be told apart. So it gets another source port, as netfilter gives it one, which follows
//! every connection (`nf_nat_core.c`, `get_unique_tuple`); here only these are followed, and all others pass.

use super::path::{Burst, Subject, transport};
use super::shared::Tracked;
use crate::conntrack::{EndpointLife, Opening, Target};
use crate::net::{Direction, Protocol};
use crate::packet::{PlainHeaders, tcp_flags};
use crate::table::hash::next_seed;

impl Burst<'_> {
    /// Is it certain that a packet to nobody is beside no connection? Seldom it is not; then the line is asked for
    /// where that connection would be found.
    #[inline(always)]
    pub(super) fn is_alone<A: Tracked>(&self, headers: &PlainHeaders<A>) -> bool {
        let (_, destination) = A::unpair(headers.addresses);
        if !may_begin(headers.protocol, headers.tcp_flags) || !self.table.may_know(destination) {
            return true;
        }
        self.ask_beside(headers);
        false
    }

    #[cold]
    #[inline(never)]
    fn ask_beside<A: Tracked>(&self, headers: &PlainHeaders<A>) {
        let connections = A::connections(self.shared);
        connections.prefetch(connections.hash(&headers.headers().tuple.reverse()));
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
