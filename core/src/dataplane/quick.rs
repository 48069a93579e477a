//! The common packet, moved in few steps: plain, of a live connection, to an endpoint that is serving.

use super::descriptor::Descriptor;
use super::lane::PlainLane;
use super::path::{Burst, flags};
use super::shared::Tracked;
use crate::conntrack::{EndpointLife, Quick, QuickStep};
use crate::net::{Protocol, Verdict};
use crate::packet::PlainRewrite;

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
        let headers = &lane.headers;
        let quick = connections.quick(lane.candidate?, headers, self.now)?;
        let packet = frames.get_mut(descriptor.offset as usize..)?;
        match headers.protocol {
            Protocol::Tcp => {
                let (network, header) = headers.bytes(packet)?;
                let step = connections.step_tcp(&quick, header, headers.tcp_payload)?;
                let to = self.advance(descriptor, &quick, &step)?;
                to.tcp(network, header, headers.partial)?;
            }
            Protocol::Udp => {
                let (network, header) = headers.bytes(packet)?;
                let step = connections.step_udp(&quick, self.now)?;
                let to = self.advance(descriptor, &quick, &step)?;
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
        step: &QuickStep,
    ) -> Option<PlainRewrite<A>> {
        let bound = quick.bound();
        let life = self
            .shared
            .endpoints
            .life(bound.endpoint(), bound.endpoint_generation());
        let EndpointLife::Serving(tag) = life else {
            return None;
        };
        let to = quick.settle(step, self.now)?;
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
