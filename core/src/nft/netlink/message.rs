//! Netlink messages: a header of 16 bytes, netfilter's own header of 4, attributes.
//!
//! Reading is total: bytes that are no message end the list.

use alloc::vec::Vec;

use super::attribute::padded;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`.
const NETFILTER_HEADER: usize = 4;
/// Where the attributes of a message of netfilter begin.
pub(super) const HEADERS: usize = HEADER + NETFILTER_HEADER;

/// What a message of netfilter says before its attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// `nfgen_family`.
    pub(super) family: u8,
    /// `res_id`: whom a batch is for.
    pub(super) resource: u16,
}

/// `nlmsg_type` of a message of one of netfilter's subsystems.
pub(super) const fn kind_of(subsystem: u8, message: u8) -> u16 {
    u16::from_be_bytes([subsystem, message])
}

/// Opens a message; attributes follow, then [`end`].
pub(super) fn begin(out: &mut Vec<u8>, header: Header) -> usize {
    let at = out.len();
    out.extend_from_slice(&0_u32.to_ne_bytes());
    out.extend_from_slice(&header.kind.to_ne_bytes());
    out.extend_from_slice(&header.flags.to_ne_bytes());
    out.extend_from_slice(&header.sequence.to_ne_bytes());
    // The kernel knows the sender by its socket.
    out.extend_from_slice(&0_u32.to_ne_bytes());
    // The version of nfnetlink has always been 0.
    out.extend_from_slice(&[header.family, 0]);
    out.extend_from_slice(&header.resource.to_be_bytes());
    at
}

/// Writes the length of the message that begins at `at` and ends where `out` ends.
pub(super) fn end(out: &mut [u8], at: usize) {
    let len = out.len().saturating_sub(at);
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *field = len.to_ne_bytes();
    }
}

/// Adds flags to the message that begins at `at`.
pub(super) fn add_flags(out: &mut [u8], at: usize, flags: u16) {
    let field = out.get_mut(at..).and_then(|message| message.get_mut(6..));
    if let Some(field) = field.and_then(<[u8]>::first_chunk_mut) {
        *field = (u16::from_ne_bytes(*field) | flags).to_ne_bytes();
    }
}

/// One message out of what a socket received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    /// `nlmsg_type`.
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// `nlmsg_pid`: the socket that the message answers, or whose doing it tells of.
    pub(super) port: u32,
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// `nfgen_family` and the attributes, of a message of netfilter.
    pub(super) fn netfilter(&self) -> Option<(u8, &'a [u8])> {
        let (header, attributes) = self.payload.split_first_chunk::<NETFILTER_HEADER>()?;
        let [family, ..] = *header;
        Some((family, attributes))
    }

    /// The subsystem and the message's number in it.
    pub(super) const fn subsystem(&self) -> (u8, u8) {
        let [subsystem, message] = self.kind.to_be_bytes();
        (subsystem, message)
    }
}

/// The messages in what a socket received, in order.
#[derive(Debug, Clone)]
pub(super) struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    pub(super) const fn new(received: &'a [u8]) -> Self {
        Self(received)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let (len, rest) = self.0.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        let (flags, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let port = rest.first_chunk()?;
        let len = usize::try_from(u32::from_ne_bytes(*len)).ok()?;
        let payload = self.0.get(HEADER..len)?;
        self.0 = self.0.get(padded(len)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes(*kind),
            flags: u16::from_ne_bytes(*flags),
            sequence: u32::from_ne_bytes(*sequence),
            port: u32::from_ne_bytes(*port),
            payload,
        })
    }
}
