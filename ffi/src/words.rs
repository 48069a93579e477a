//! Verdicts and drop reasons, as numbers and in words.

use crate::error::c_string;
use core::ffi::{CStr, c_char};
use portolan::net::{DropReason, Verdict};
use std::ffi::CString;
use std::sync::OnceLock;

/// Not ours: untouched, go on as if Portolan were not there. (A number of portolan_descriptor.verdict.)
pub const PORTOLAN_VERDICT_PASS: u8 = 0;
/// Rewritten in place: route it by its new destination.
pub const PORTOLAN_VERDICT_FORWARD: u8 = 1;
/// Replaced by an answer to its sender: send it back to where it came from.
pub const PORTOLAN_VERDICT_REPLY: u8 = 2;
/// To be dropped, untouched, for the reason given.
pub const PORTOLAN_VERDICT_DROP: u8 = 3;

/// The packet is shorter than its headers say. (A number of portolan_descriptor.reason.)
pub const PORTOLAN_DROP_MALFORMED_TRUNCATED: u8 = 1;
/// A header field contradicts its RFC.
pub const PORTOLAN_DROP_MALFORMED_HEADER: u8 = 2;
/// The IPv4 header checksum is wrong.
pub const PORTOLAN_DROP_MALFORMED_CHECKSUM: u8 = 3;
/// The chain of IPv6 extension headers is too long or out of order.
pub const PORTOLAN_DROP_MALFORMED_EXTENSIONS: u8 = 4;
/// The descriptor does not lie inside the frames.
pub const PORTOLAN_DROP_MALFORMED_DESCRIPTOR: u8 = 5;
/// The offload fields do not fit the packet.
pub const PORTOLAN_DROP_MALFORMED_OFFLOAD: u8 = 6;
/// Endpoints exist, but the Service's traffic policy is Local and none is on this node.
pub const PORTOLAN_DROP_NO_LOCAL_ENDPOINT: u8 = 8;
/// The source lies outside the Service's loadBalancerSourceRanges.
pub const PORTOLAN_DROP_SOURCE_RANGE: u8 = 9;
/// The address lies in a ServiceCIDR, but no Service has it.
pub const PORTOLAN_DROP_UNALLOCATED_ADDRESS: u8 = 10;
/// The segment belongs to no connection and cannot open one.
pub const PORTOLAN_DROP_NO_CONNECTION: u8 = 11;
/// A loopback, multicast or unspecified address where none can be.
pub const PORTOLAN_DROP_MARTIAN_ADDRESS: u8 = 12;
/// The connection table is full and nothing in it may be evicted.
pub const PORTOLAN_DROP_CONNECTION_TABLE_FULL: u8 = 13;
/// Every source port towards this endpoint is in use.
pub const PORTOLAN_DROP_NO_SOURCE_PORT: u8 = 14;
/// A later fragment whose first fragment is not known.
pub const PORTOLAN_DROP_FRAGMENT_UNMATCHED: u8 = 15;
/// The fragment overlaps the transport header of its datagram.
pub const PORTOLAN_DROP_FRAGMENT_OVERLAP: u8 = 16;
/// The table of fragmented datagrams is full.
pub const PORTOLAN_DROP_FRAGMENT_TABLE_FULL: u8 = 17;
/// The checksum of a fragmented datagram of this protocol cannot be translated.
pub const PORTOLAN_DROP_FRAGMENT_UNTRANSLATABLE: u8 = 18;
/// The ICMP error does not fit the connection that it quotes.
pub const PORTOLAN_DROP_ICMP_MISMATCH: u8 = 19;
/// The packet is to be rejected, but its sender must not be answered.
pub const PORTOLAN_DROP_REJECT_SUPPRESSED: u8 = 20;
/// The transport header's flags or chunks are impossible.
pub const PORTOLAN_DROP_INVALID_TRANSPORT: u8 = 21;
/// The worker may not open more connections a second.
pub const PORTOLAN_DROP_NEW_CONNECTION_LIMIT: u8 = 22;
/// One more than the greatest reason there will be: the size of portolan_stats.drops.
pub const PORTOLAN_DROP_COUNT: usize = 32;

const _: () = {
    assert!(PORTOLAN_VERDICT_PASS == Verdict::Pass as u8);
    assert!(PORTOLAN_VERDICT_FORWARD == Verdict::Forward as u8);
    assert!(PORTOLAN_VERDICT_REPLY == Verdict::Reply as u8);
    assert!(PORTOLAN_VERDICT_DROP == Verdict::Drop as u8);
    assert!(PORTOLAN_DROP_COUNT == DropReason::COUNT);
    assert!(PORTOLAN_DROP_MALFORMED_TRUNCATED == DropReason::MalformedTruncated as u8);
    assert!(PORTOLAN_DROP_MALFORMED_HEADER == DropReason::MalformedHeader as u8);
    assert!(PORTOLAN_DROP_MALFORMED_CHECKSUM == DropReason::MalformedChecksum as u8);
    assert!(PORTOLAN_DROP_MALFORMED_EXTENSIONS == DropReason::MalformedExtensions as u8);
    assert!(PORTOLAN_DROP_MALFORMED_DESCRIPTOR == DropReason::MalformedDescriptor as u8);
    assert!(PORTOLAN_DROP_MALFORMED_OFFLOAD == DropReason::MalformedOffload as u8);
    assert!(PORTOLAN_DROP_NO_LOCAL_ENDPOINT == DropReason::NoLocalEndpoint as u8);
    assert!(PORTOLAN_DROP_SOURCE_RANGE == DropReason::SourceRange as u8);
    assert!(PORTOLAN_DROP_UNALLOCATED_ADDRESS == DropReason::UnallocatedAddress as u8);
    assert!(PORTOLAN_DROP_NO_CONNECTION == DropReason::NoConnection as u8);
    assert!(PORTOLAN_DROP_MARTIAN_ADDRESS == DropReason::MartianAddress as u8);
    assert!(PORTOLAN_DROP_CONNECTION_TABLE_FULL == DropReason::ConnectionTableFull as u8);
    assert!(PORTOLAN_DROP_NO_SOURCE_PORT == DropReason::NoSourcePort as u8);
    assert!(PORTOLAN_DROP_FRAGMENT_UNMATCHED == DropReason::FragmentUnmatched as u8);
    assert!(PORTOLAN_DROP_FRAGMENT_OVERLAP == DropReason::FragmentOverlap as u8);
    assert!(PORTOLAN_DROP_FRAGMENT_TABLE_FULL == DropReason::FragmentTableFull as u8);
    assert!(PORTOLAN_DROP_FRAGMENT_UNTRANSLATABLE == DropReason::FragmentUntranslatable as u8);
    assert!(PORTOLAN_DROP_ICMP_MISMATCH == DropReason::IcmpMismatch as u8);
    assert!(PORTOLAN_DROP_REJECT_SUPPRESSED == DropReason::RejectSuppressed as u8);
    assert!(PORTOLAN_DROP_INVALID_TRANSPORT == DropReason::InvalidTransport as u8);
    assert!(PORTOLAN_DROP_NEW_CONNECTION_LIMIT == DropReason::NewConnectionLimit as u8);
    assert!(DropReason::ALL.len() == 21); // none is without a number here
};

/// A verdict's name, such as "forward"; never NULL. Owned by the library, lives for ever. Any thread.
/// Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_strverdict(verdict: u8) -> *const c_char {
    let name = match Verdict::from_number(verdict) {
        Some(Verdict::Pass) => c"pass",
        Some(Verdict::Forward) => c"forward",
        Some(Verdict::Reply) => c"reply",
        Some(Verdict::Drop) => c"drop",
        None => c"no verdict",
    };
    name.as_ptr()
}

/// One sentence on why a packet was dropped; never NULL, "" for 0. Owned by the library, lives for ever. Any
/// thread. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_strdrop(reason: u8) -> *const c_char {
    static TEXTS: OnceLock<Vec<CString>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let text = |number| {
            let reason = DropReason::from_number(number);
            c_string(reason.map_or("", DropReason::explanation))
        };
        (0..=u8::MAX).map(text).collect()
    });
    let text = texts.get(usize::from(reason)).map(CString::as_c_str);
    CStr::as_ptr(text.unwrap_or_default())
}
