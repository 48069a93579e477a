//! The common packet, moved in few steps: plain, of a live connection, to an endpoint that is serving.

use super::decide::Decision;
use super::descriptor::Descriptor;
use super::lane::PlainLane;
use super::outcome::Outcome;
use super::path::{Burst, flags};
use super::shared::Tracked;
use crate::conntrack::EndpointLife;
use crate::net::{Protocol, Verdict};
use crate::packet::rewrite_plain;

impl Burst<'_> {
    /// Moves the packet and settles its descriptor. `None`: it is not such a packet, and nothing has changed.
    #[inline(never)]
    pub(super) fn quick<A: Tracked>(
        &self,
        frames: &mut [u8],
        descriptor: &mut Descriptor,
        lane: &PlainLane<A>,
    ) -> Option<()> {
        let connections = A::connections(self.shared);
        let headers = &lane.headers;
        let Some(candidate) = lane.candidate else {
            return self.pass(descriptor, lane);
        };
        let quick = connections.quick(candidate, headers, self.now)?;
        let life = self
            .shared
            .endpoints
            .life(quick.endpoint, quick.endpoint_generation);
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
        rewrite_plain(packet, headers, &quick.rewrite, &descriptor.offload)?;
        let bytes = u64::from(descriptor.len);
        self.endpoints
            .packet(quick.endpoint, quick.direction, bytes);
        descriptor.verdict = Verdict::Forward as u8;
        descriptor.reason = 0;
        descriptor.flags = flags(quick.direction, quick.masquerade, quick.local_endpoint);
        descriptor.endpoint_tag = tag;
        Some(())
    }

    /// Lets a packet pass that is nobody's. `None`: it may be somebody's.
    #[inline(always)]
    fn pass<A: Tracked>(&self, descriptor: &mut Descriptor, lane: &PlainLane<A>) -> Option<()> {
        if !matches!(lane.decision, Some(Decision::Pass))
            || self.opened.may_hold(lane.hash)
            || !self.is_alone(&lane.headers)
        {
            return None;
        }
        descriptor.settle(&Outcome::PASS);
        Some(())
    }
}
