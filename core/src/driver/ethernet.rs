//! The Ethernet frame around a packet: where the packet begins, the VLAN tag that the kernel took out put back, and
//! the way back to whoever sent it.

use super::virtio;
use crate::packet::{Offload, offload_flags};

/// Two addresses and the type of what follows (IEEE 802.3, 3.2).
const HEADER_LEN: usize = 14;

/// A VLAN tag, between the addresses and the type (IEEE 802.1Q, 9.3).
const TAG_LEN: usize = 4;

const ADDRESS_LEN: usize = 6;

/// Room before a packet: a VLAN tag that the kernel took out, the virtio header, and the frame's own.
pub(super) const ROOM_BEFORE: usize = TAG_LEN + virtio::HEADER_LEN + HEADER_LEN;

/// Where in that room a frame is read to, its virtio header first.
pub(super) const READ_AT: usize = TAG_LEN;

/// Tags behind the one that the kernel took out: a service provider's tag has a customer's behind it (802.1ad).
const MAX_INNER_TAGS: usize = 2;

/// The longest link header that a packet is looked for behind.
pub(super) const MAX_LINK_LEN: usize = HEADER_LEN + (1 + MAX_INNER_TAGS) * TAG_LEN;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const VLAN: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// A frame that was read into a room, its headers one behind the other: virtio, link, packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where in the room the virtio header begins.
    pub(super) begin: usize,
    /// Bytes of the link header, with all tags.
    pub(super) link_len: usize,
    /// Bytes behind it.
    pub(super) payload_len: usize,
    /// Is that an IP packet, of one byte at least?
    pub(super) is_ip: bool,
    /// What the virtio header says, with offsets from the packet's own beginning.
    pub(super) offload: Offload,
}

impl Frame {
    /// Understands `len` bytes that were read at [`READ_AT`] of `room`, and puts `tag` back where it was on the wire.
    /// `None` for what is shorter than its headers, comes from a group of stations (802.3, 3.2.3), or contradicts its
    /// virtio header.
    pub(super) fn read(room: &mut [u8], len: usize, tag: Option<[u8; TAG_LEN]>) -> Option<Self> {
        let end = READ_AT.checked_add(len)?;
        let begin = match tag {
            Some(tag) => {
                put_tag(room.get_mut(..end)?, tag)?;
                0
            }
            None => READ_AT,
        };
        let (header, frame) = room.get(begin..end)?.split_first_chunk()?;
        let (addresses, mut rest) = frame.split_at_checked(2 * ADDRESS_LEN)?;
        let [_, _, _, _, _, _, sender, ..] = addresses else {
            return None;
        };
        if sender & 1 != 0 {
            return None;
        }
        let (mut kind, mut payload) = rest.split_first_chunk::<2>()?;
        for _ in 0..=MAX_INNER_TAGS {
            if !VLAN.contains(kind) {
                break;
            }
            rest = payload.get(2..)?;
            (kind, payload) = rest.split_first_chunk()?;
        }
        let link_len = frame.len().checked_sub(payload.len())?;
        let mut offload = virtio::decode(header);
        if tag.is_some() {
            offload = moved(offload, |offset| offset.checked_add(TAG_LEN as u16))?;
        }
        let (payload_len, is_ip) = (payload.len(), [IPV4, IPV6].contains(kind));
        if tag.is_some() {
            *room.first_chunk_mut()? = virtio::encode(&offload);
        }
        let distance = u16::try_from(link_len).ok()?;
        Some(Self {
            begin,
            link_len,
            payload_len,
            is_ip: is_ip && payload_len > 0,
            offload: moved(offload, |offset| offset.checked_sub(distance))?,
        })
    }
}

/// Moves virtio header and addresses to the front, and writes the tag behind them.
fn put_tag(room: &mut [u8], tag: [u8; TAG_LEN]) -> Option<()> {
    let head = virtio::HEADER_LEN + 2 * ADDRESS_LEN;
    let (front, _) = room.split_at_mut_checked(READ_AT + head)?;
    front.copy_within(READ_AT.., 0);
    *front.get_mut(head..)?.first_chunk_mut()? = tag;
    Some(())
}

/// The offload of a packet behind a link header of that length, as the virtio header before that says it. `None`: no
/// packet is so long.
pub(super) fn behind_link(offload: Offload, link_len: usize) -> Option<Offload> {
    let distance = u16::try_from(link_len).ok()?;
    moved(offload, |offset| offset.checked_add(distance))
}

/// Changes what counts from a beginning that moves. What is not in use is left alone.
fn moved(mut offload: Offload, by: impl Fn(u16) -> Option<u16>) -> Option<Offload> {
    if offload.flags & offload_flags::PARTIAL != 0 {
        offload.checksum_start = by(offload.checksum_start)?;
    }
    if offload.gso_type != virtio::gso_type::NONE {
        // A hint (virtio 1.2, 5.1.6.2): the kernel counts the bytes that lie together.
        offload.header_len = by(offload.header_len).unwrap_or_default();
    }
    Some(offload)
}

/// Turns a link header round: to whom it came from, from whom it was sent to.
pub(super) fn turn_round(link: &mut [u8]) {
    if let Some((to, rest)) = link.split_at_mut_checked(ADDRESS_LEN)
        && let Some(from) = rest.get_mut(..ADDRESS_LEN)
    {
        to.swap_with_slice(from);
    }
}

#[cfg(test)]
mod tests;
