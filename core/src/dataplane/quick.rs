//! The common packet, moved in few steps: plain, of a live connection, to an endpoint that is serving.

use super::descriptor::Descriptor;
use super::lane::PlainLane;
use super::path::{Burst, flags};
use super::shared::Tracked;
use crate::conntrack::EndpointLife;
use crate::net::{Protocol, Verdict};
use crate::packet::rewrite_plain;

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
        let life = self
            .shared
            .endpoints
            .life(quick.endpoint(), quick.endpoint_generation());
        let EndpointLife::Serving(tag) = life else {
            return None;
        };
        let packet = frames.get_mut(descriptor.offset as usize..)?;
        match headers.protocol {
            Protocol::Tcp => {
                let segment = headers.segment(packet)?;
                connections.advance_tcp(&quick, &segment, self.now)?;
            }
            Protocol::Udp => connections.advance_udp(&quick, self.now)?,
            Protocol::Sctp => return None,
        }
        rewrite_plain(packet, headers, &quick.rewrite(), &descriptor.offload)?;
        let bytes = u64::from(descriptor.len);
        self.endpoints
            .packet(quick.endpoint(), quick.direction, bytes);
        descriptor.verdict = Verdict::Forward as u8;
        descriptor.reason = 0;
        descriptor.flags = flags(quick.direction, quick.masquerade(), quick.local_endpoint());
        descriptor.endpoint_tag = tag;
        Some(Verdict::Forward)
    }
}
