//! The common packet, moved in few steps: plain, of a live connection, to an endpoint that is serving.

use super::descriptor::Descriptor;
use super::lane::PlainLane;
use super::path::{Burst, flags};
use super::shared::Tracked;
use crate::conntrack::{EndpointLife, Quick};
use crate::net::{Protocol, Verdict};
use crate::packet::{PlainHeaders, PlainRewrite};

impl Burst<'_> {
    /// Moves the packet, settles its descriptor and says how. `None`: it is not such a packet, and nothing has changed.
    #[inline(always)]
    pub(super) fn quick<A: Tracked>(
        &self,
        frames: &mut [u8],
        descriptor: &mut Descriptor,
        lane: &PlainLane<A>,
    ) -> Option<Verdict> {
        let connections = A::connections(self.shared);
        let (entry, headers, start) = (lane.candidate?, &lane.headers, descriptor.offset);
        match headers.protocol {
            Protocol::Tcp => {
                let mut quick = connections.quick_tcp(entry, headers)?;
                let (network, header) = PlainHeaders::<A>::bytes(frames, start)?;
                let seen = quick.advance_tcp(header, headers.tcp_payload, &self.moment)?;
                let to = self.advance(descriptor, &quick, Some(seen))?;
                to.tcp(network, header, headers.partial)?;
            }
            Protocol::Udp => {
                let mut quick = connections.quick(entry, headers, &self.moment)?;
                let (network, header) = PlainHeaders::<A>::bytes(frames, start)?;
                quick.advance_udp(connections, &self.moment)?;
                let to = self.advance(descriptor, &quick, None)?;
                to.udp(network, header, headers.partial)?;
            }
            Protocol::Sctp => return None,
        }
        Some(Verdict::Forward)
    }

    /// Takes the step, if the endpoint is serving, and settles the descriptor.
    #[inline(always)]
    fn advance<A: Tracked>(
        &self,
        descriptor: &mut Descriptor,
        quick: &Quick<'_, A>,
        seen: Option<u64>,
    ) -> Option<PlainRewrite<A>> {
        let bound = quick.bound();
        let life = self
            .shared
            .endpoints
            .life(bound.endpoint(), bound.endpoint_generation());
        let EndpointLife::Serving(tag) = life else {
            return None;
        };
        let to = quick.settle(seen)?;
        let bytes = u64::from(descriptor.len);
        self.endpoints
            .packet(bound.endpoint(), quick.direction, bytes);
        descriptor.verdict = Verdict::Forward as u8;
        descriptor.reason = 0;
        descriptor.flags = flags(quick.direction, bound.masquerade(), bound.local_endpoint());
        descriptor.endpoint_tag = tag;
        Some(to)
    }
}
