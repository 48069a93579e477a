//! What became of a packet, and why.

use core::fmt;

/// What the host is to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// Not ours: untouched, go on as if Portolan were not there.
    Pass = 0,
    /// Rewritten in place: route it by its new destination.
    Forward = 1,
    /// Replaced by an answer to its sender: send it back to where it came from.
    Reply = 2,
    /// To be dropped, untouched, for the [`DropReason`] given.
    Drop = 3,
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Why a packet was dropped. Numbers are stable; gaps are never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum DropReason { $($(#[$doc])* $name = $number,)* }

        impl DropReason {
            /// Every reason, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
            /// One more than the greatest number: the size of an array indexed by reason.
            pub const COUNT: usize = 32;

            /// The reason of a number; `None` for 0 and unknown numbers.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// The name as written in metrics and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
        const _: () = { $(assert!($number < DropReason::COUNT);)* };
    };
}

drop_reasons! {
    /// Shorter than its headers, or than a header says.
    MalformedTruncated = 1, "the packet is shorter than its headers say";
    /// A header says something that cannot be.
    MalformedHeader = 2, "a header field contradicts its RFC";
    /// The IPv4 header checksum is wrong.
    MalformedChecksum = 3, "the IPv4 header checksum is wrong";
    /// More IPv6 extension headers than are followed.
    MalformedExtensions = 4, "the chain of IPv6 extension headers is too long or out of order";
    /// The descriptor points outside the frames, or its capacity is less than its length.
    MalformedDescriptor = 5, "the descriptor does not lie inside the frames";
    /// An offload field points outside the packet or contradicts it.
    MalformedOffload = 6, "the offload fields do not fit the packet";
    /// Endpoints exist, but the traffic policy allows none of them on this node.
    NoLocalEndpoint = 8, "endpoints exist, but the Service's traffic policy is Local and none is on this node";
    /// The source lies outside `loadBalancerSourceRanges`.
    SourceRange = 9, "the source lies outside the Service's loadBalancerSourceRanges";
    /// The destination lies in a Service range, but no Service has this address.
    UnallocatedAddress = 10, "the address lies in a ServiceCIDR, but no Service has it";
    /// A segment that opens nothing, for a frontend, without a connection.
    NoConnection = 11, "the segment belongs to no connection and cannot open one";
    /// A loopback, multicast, broadcast or unspecified address where none can be.
    MartianAddress = 12, "a loopback, multicast or unspecified address where none can be";
    /// The connection table is full of connections that must not be evicted.
    ConnectionTableFull = 13, "the connection table is full and nothing in it may be evicted";
    /// No source port is left for masquerading towards this endpoint.
    NoSourcePort = 14, "every source port towards this endpoint is in use";
    /// A later fragment without its first, or a fragment that overlaps.
    FragmentUnmatched = 15, "a later fragment whose first fragment is not known";
    /// A fragment that overlaps its first one.
    FragmentOverlap = 16, "the fragment overlaps the transport header of its datagram";
    /// The table of fragmented datagrams is full.
    FragmentTableFull = 17, "the table of fragmented datagrams is full";
    /// A fragment whose checksum cannot be translated.
    FragmentUntranslatable = 18, "the checksum of a fragmented datagram of this protocol cannot be translated";
    /// An ICMP error whose outer and quoted addresses contradict each other, or that quotes out of window.
    IcmpMismatch = 19, "the ICMP error does not fit the connection that it quotes";
    /// A packet to be rejected that must not be answered (RFC 1122 3.2.2, RFC 4443 2.4).
    RejectSuppressed = 20, "the packet is to be rejected, but its sender must not be answered";
    /// An SCTP chunk or TCP flags that no state allows.
    InvalidTransport = 21, "the transport header's flags or chunks are impossible";
    /// The worker has opened as many connections as it may in this second.
    NewConnectionLimit = 22, "the worker may not open more connections a second";
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Verdict {
    /// The verdict of a number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Pass),
            1 => Some(Self::Forward),
            2 => Some(Self::Reply),
            3 => Some(Self::Drop),
            _ => None,
        }
    }
}
