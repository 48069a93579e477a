//! A connection to an endpoint itself, beside one to a Service there from the same port of the same client: the
//! endpoint's answers could not be told apart. So it gets another source port, as netfilter gives it one, which follows
//! every connection (`nf_nat_core.c`, `get_unique_tuple`); here only these are followed, and all others pass.

use super::path::{Burst, Subject, transport};
use super::shared::Tracked;
use crate::conntrack::{EndpointLife, Opening};
use crate::net::{Direction, Protocol};
use crate::packet::{PlainHeaders, tcp_flags};
use crate::table::Home;
use crate::table::hash::next_seed;

impl Burst<'_> {
    /// The hashes of a packet that is not to a Service, and of its answer, if it is certain that it is beside no
    /// connection yet; its own twice if it begins none. `None` is seldom.
    #[inline(always)]
    pub(super) fn alone<A: Tracked>(
        &self,
        headers: &PlainHeaders<A>,
        hash: u64,
    ) -> Option<[u64; 2]> {
        if !may_begin(headers.protocol, headers.tcp_flags) {
            return Some([hash; 2]);
        }
        let connections = A::connections(self.shared);
        let answer = connections.hash(&headers.headers().tuple.reverse());
        matches!(connections.candidate(answer), Home::Nothing).then_some([hash, answer])
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
        let (endpoint, generation) = (rival.binding.endpoint, rival.binding.endpoint_generation);
        let serving = match self.shared.endpoints.life(endpoint, generation) {
            EndpointLife::Serving(tag) => Some(tag),
            EndpointLife::Ended => None,
        };
        let opening = Opening {
            original,
            hash: subject.hash,
            endpoint_address: original.destination,
            endpoint_port: original.destination_port,
            endpoint,
            endpoint_generation: generation,
            local_endpoint: rival.binding.local_endpoint,
            counted: false,
            pick_up: false,
            masquerade: None,
            ports: self.shared.masquerade_ports,
            random: next_seed(self.random),
        };
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
