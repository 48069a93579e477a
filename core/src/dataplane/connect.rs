//! A first packet's connection is opened, and accounted for; the common one's in few steps: plain, and decided on when it was
//! looked up.

use super::MidStream;
use super::decide::{Choice, Decision};
use super::descriptor::{Descriptor, descriptor_flags};
use super::lane::PlainLane;
use super::outcome::Outcome;
use super::path::{Burst, flags, reason_of};
use super::shared::Tracked;
use super::stats::{AFFINITY_FULL, ServiceEvent, opened_index};
use crate::conntrack::{Hit, OpenError, Opening, Transport};
use crate::net::{Direction, Protocol, TICKS_PER_SECOND, Verdict};
use crate::service::{Kept, Lookup};

impl<'burst> Burst<'burst> {
    /// Opens the connection of such a packet, translates it, settles its descriptor and says how. `None`: it is another
    /// packet, or is to be looked up again.
    #[inline(always)]
    pub(super) fn quick_first<A: Tracked>(
        &mut self,
        frames: &mut [u8],
        descriptor: &mut Descriptor,
        lane: &PlainLane<A>,
    ) -> Option<Verdict> {
        let Some(Decision::Open(choice)) = &lane.decision else {
            return None;
        };
        let limit = self.shared.options.new_connections_per_second;
        if !self.allowance.suffices(limit, self.now) {
            return None;
        }
        let headers = &lane.headers;
        let packet = frames.get_mut(descriptor.offset as usize..)?;
        let transport = match headers.protocol {
            Protocol::Tcp => Transport::Tcp(headers.segment_with_options(packet)?),
            Protocol::Udp => Transport::Udp,
            Protocol::Sctp => return None,
        };
        let hit = match self.connect(&choice.opening, Some(choice), &transport) {
            Ok(hit) => hit,
            Err(OpenError::Overtaken | OpenError::NotAnOpening) => return None,
            Err(error) => {
                return Some(self.settle(descriptor, &Outcome::dropped(reason_of(error))));
            }
        };
        let (binding, direction) = (&hit.binding, Direction::Original);
        let to = binding.rewrite(direction);
        to.write(packet, headers)?;
        let bytes = u64::from(descriptor.len);
        self.endpoints.packet(binding.endpoint(), direction, bytes);
        let way = flags(direction, binding.masquerade(), binding.local_endpoint());
        descriptor.settle(&Outcome::forward(descriptor_flags::NEW | way, choice.tag));
        Some(Verdict::Forward)
    }

    /// Opens a connection, and accounts for it.
    #[inline(always)]
    pub(super) fn connect<A: Tracked>(
        &mut self,
        opening: &Opening<A>,
        choice: Option<&Choice<A>>,
        transport: &Transport,
    ) -> Result<Hit<'burst, A>, OpenError> {
        let Self { table, shared, .. } = *self;
        let binding = opening.binding();
        // A masqueraded reply must not look like a new connection to a frontend on the same address.
        let usable = |port: u16| {
            if !binding.masquerade() {
                return true;
            }
            let address = binding.translated(Direction::Original).source;
            let protocol = binding.protocol();
            let hash = table.hash(address, port, protocol);
            let found = table.lookup(address, port, protocol, hash);
            !matches!(found, Lookup::Frontend(_))
        };
        let pick_up = shared.options.mid_stream == MidStream::PickUp;
        let connections = A::connections(shared);
        let (hit, answer) = connections.open(opening, transport, pick_up, self.now, usable)?;
        self.opened.add(opening.hash());
        self.opened.add(answer);
        self.allowance.spend();
        self.counters.add(opened_index(A::FAMILY), 1);
        let counted = self.endpoints.opened(binding.endpoint());
        if let Some(choice) = choice {
            if !counted {
                shared.services.count(choice.service, ServiceEvent::Opened);
            }
            if let Some(seconds) = choice.affinity_seconds {
                self.remember(choice, seconds);
            }
        }
        Ok(hit)
    }

    /// Remembers a client's endpoint for so many seconds.
    #[cold]
    #[inline(never)]
    fn remember<A: Tracked>(&self, choice: &Choice<A>, seconds: u32) {
        let binding = choice.opening.binding();
        let kept = Kept {
            endpoint: binding.endpoint(),
            generation: binding.endpoint_generation(),
        };
        let timeout = seconds.saturating_mul(TICKS_PER_SECOND);
        let client = binding.tuple(Direction::Original).source;
        let service = choice.service;
        if !self
            .shared
            .affinity
            .remember(service, client, kept, timeout, self.now)
        {
            self.counters.add(AFFINITY_FULL, 1);
        }
    }
}
