//! The memory of one burst: frames one behind the other, and their descriptors. Allocated once.
//!
//! Packets lie as close as their sizes allow, so a burst of small ones stays in the cache, while there is always
//! room for one of 64 KiB. Each packet begins on a cache line, with its link header, if it has one, and the virtio header
//! right before it.

use alloc::boxed::Box;
use alloc::vec;

use super::parties::{self, Party};
use super::port::Placed;
use super::segment::MAX_PACKET_LEN;
use super::{ethernet, virtio};
use crate::dataplane::Descriptor;

/// The most packets of one burst.
pub(super) const MAX_PACKETS: usize = 64;

/// Room before a packet, for its headers.
const HEADROOM: usize = 64;

/// Every packet has at least this room: the longest ICMP error (RFC 4443, 2.4: an IPv6 minimum MTU; RFC 1812,
/// 4.3.2.3: 576 bytes). An uneven number of cache lines with the headroom, so that headers spread over the
/// cache's sets.
const MIN_CAPACITY: usize = 1280;

const LINE: usize = 64;

/// Room that a read is given: one byte more than the longest packet, to see that one is too long.
const READ_ROOM: usize = (MAX_PACKET_LEN + LINE) / LINE * LINE;

const _: () = assert!(ethernet::ROOM_BEFORE <= HEADROOM && READ_ROOM > MAX_PACKET_LEN);
const _: () = assert!((HEADROOM + MIN_CAPACITY) / LINE % 2 == 1);

/// Frames and descriptors of one burst.
#[derive(Debug)]
pub(super) struct Burst {
    frames: Box<[u8]>,
    descriptors: Box<[Descriptor]>,
    /// Bytes of each packet's link header.
    link_lens: Box<[u8]>,
    /// Who sent each packet, where that is asked for.
    senders: Box<[Option<Party>]>,
    count: usize,
    /// Where the next packet's headroom begins.
    free: usize,
}

/// Where a packet that is being read will lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    offset: usize,
}

impl Burst {
    /// Bytes that [`Burst::new`] allocates.
    pub(super) const fn memory_bytes(frames_bytes: usize) -> usize {
        let room = HEADROOM + READ_ROOM;
        let frames = if frames_bytes < room {
            room
        } else {
            frames_bytes
        };
        frames
            + MAX_PACKETS * (size_of::<Descriptor>() + size_of::<u8>() + size_of::<Option<Party>>())
    }

    pub(super) fn new(frames_bytes: usize) -> Self {
        let frames = vec![0; frames_bytes.max(HEADROOM + READ_ROOM)];
        let descriptors = vec![Descriptor::default(); MAX_PACKETS];
        Self {
            frames: frames.into_boxed_slice(),
            descriptors: descriptors.into_boxed_slice(),
            link_lens: Box::new([0; MAX_PACKETS]),
            senders: Box::new([None; MAX_PACKETS]),
            count: 0,
            free: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.free = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Room for one more packet and the `before` bytes before it; `None` if the burst is full.
    pub(super) fn room(&mut self, before: usize) -> Option<(Slot, &mut [u8])> {
        let offset = self.free.checked_add(HEADROOM)?;
        if self.count >= MAX_PACKETS {
            return None;
        }
        let room = self
            .frames
            .get_mut(offset.checked_sub(before)?..offset.checked_add(READ_ROOM)?)?;
        Some((Slot { offset }, room))
    }

    /// Takes the packet that was read into `slot` into the burst. `false` if it is longer than any packet can
    /// be; it is then not taken.
    pub(super) fn push(&mut self, slot: Slot, placed: &Placed) -> bool {
        let Ok(link_len) = u8::try_from(placed.link_len) else {
            return false;
        };
        if placed.len > MAX_PACKET_LEN {
            return false;
        }
        let (Some(descriptor), Some(link)) = (
            self.descriptors.get_mut(self.count),
            self.link_lens.get_mut(self.count),
        ) else {
            return false;
        };
        let offset = slot.offset.saturating_add(placed.skip);
        let capacity = placed.len.max(MIN_CAPACITY).next_multiple_of(LINE);
        *descriptor = Descriptor::new(offset as u32, placed.len as u32);
        descriptor.capacity = capacity as u32;
        descriptor.offload = placed.offload;
        *link = link_len;
        self.count = self.count.saturating_add(1);
        self.free = offset.saturating_add(capacity).next_multiple_of(LINE);
        true
    }

    /// Remembers who sent the packet that was pushed last, as it says now, before it is translated.
    pub(super) fn note_sender(&mut self) {
        let Some(index) = self.count.checked_sub(1) else {
            return;
        };
        let sender = self
            .descriptor(index)
            .and_then(|descriptor| parties::sender(self.packet(&descriptor, 0)?));
        if let Some(place) = self.senders.get_mut(index) {
            *place = sender;
        }
    }

    /// Is the packet, as it is now, for the very party that sent it?
    pub(super) fn is_for_its_sender(&mut self, index: usize, descriptor: &Descriptor) -> bool {
        let receiver = self
            .packet(descriptor, 0)
            .and_then(|packet| parties::receiver(packet));
        receiver.is_some() && self.senders.get(index).copied().flatten() == receiver
    }

    /// Bytes that were read into `slot`, whose room began `before` bytes before it.
    pub(super) fn read(&self, slot: Slot, before: usize, begin: usize, end: usize) -> &[u8] {
        let room = slot.offset.saturating_sub(before);
        self.frames
            .get(room.saturating_add(begin)..room.saturating_add(end))
            .unwrap_or_default()
    }

    /// Frames and descriptors, as the packet calls want them.
    pub(super) fn parts(&mut self) -> (&mut [u8], &mut [Descriptor]) {
        let descriptors = self.descriptors.get_mut(..self.count).unwrap_or_default();
        (&mut self.frames, descriptors)
    }

    pub(super) fn descriptor(&self, index: usize) -> Option<Descriptor> {
        self.descriptors.get(..self.count)?.get(index).copied()
    }

    /// Bytes of the packet's link header.
    pub(super) fn link_len(&self, index: usize) -> usize {
        self.link_lens.get(index).copied().map_or(0, usize::from)
    }

    /// Overwrites the virtio header, which lies before the `before` last bytes before the packet.
    pub(super) fn set_header(
        &mut self,
        descriptor: &Descriptor,
        before: usize,
        header: [u8; virtio::HEADER_LEN],
    ) {
        let at = (descriptor.offset as usize).checked_sub(virtio::HEADER_LEN + before);
        if let Some(place) = at
            .and_then(|at| self.frames.get_mut(at..))
            .and_then(<[u8]>::first_chunk_mut)
        {
            *place = header;
        }
    }

    /// The packet with the `before` bytes before it.
    pub(super) fn packet(&mut self, descriptor: &Descriptor, before: usize) -> Option<&mut [u8]> {
        let offset = descriptor.offset as usize;
        let end = offset.checked_add(descriptor.len as usize)?;
        self.frames.get_mut(offset.checked_sub(before)?..end)
    }
}
