//! Numbers of the protocol: record types and response codes, as IANA lists them.

/// A response code. What exceeds four bits needs EDNS (RFC 6891, section 6.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rcode(pub(super) u16);

impl Rcode {
    pub(super) const NO_ERROR: Self = Self(0);
    pub(super) const FORMAT_ERROR: Self = Self(1);
    pub(super) const SERVER_FAILURE: Self = Self(2);
    pub(super) const NO_SUCH_NAME: Self = Self(3);
    pub(super) const NOT_IMPLEMENTED: Self = Self(4);
    pub(super) const REFUSED: Self = Self(5);
    pub(super) const BAD_VERSION: Self = Self(16);
}

/// The class of the Internet.
pub(super) const INTERNET: u16 = 1;

/// The record types that are answered, and those that are refused.
pub(super) mod kind {
    pub(in crate::dns) const A: u16 = 1;
    pub(in crate::dns) const NS: u16 = 2;
    pub(in crate::dns) const CNAME: u16 = 5;
    pub(in crate::dns) const SOA: u16 = 6;
    pub(in crate::dns) const PTR: u16 = 12;
    pub(in crate::dns) const TXT: u16 = 16;
    pub(in crate::dns) const AAAA: u16 = 28;
    pub(in crate::dns) const SRV: u16 = 33;
    pub(in crate::dns) const OPT: u16 = 41;
    pub(in crate::dns) const IXFR: u16 = 251;
    pub(in crate::dns) const AXFR: u16 = 252;
    pub(in crate::dns) const ANY: u16 = 255;
}
