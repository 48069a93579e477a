//! Address prefixes (CIDR, RFC 4632).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An address prefix. Host bits are zero by construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

/// Why a string is no prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParsePrefixError {
    /// The part before the slash is no IP address.
    Address,
    /// The part after the slash is missing, no number, or longer than the address.
    Length,
}

impl fmt::Display for ParsePrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "must begin with an IPv4 or IPv6 address",
            Self::Length => "must end with a prefix length, such as 10.96.0.0/16 or fd96::/112",
        })
    }
}

impl core::error::Error for ParsePrefixError {}

impl Prefix {
    /// The prefix of `len` bits that `address` lies in; `None` if `len` is longer than the address.
    #[must_use]
    pub const fn new(address: IpAddr, len: u8) -> Option<Self> {
        match address {
            IpAddr::V4(v4) if len <= 32 => {
                let bits = v4.to_bits() & mask_v4(len);
                Some(Self {
                    address: IpAddr::V4(Ipv4Addr::from_bits(bits)),
                    len,
                })
            }
            IpAddr::V6(v6) if len <= 128 => {
                let bits = v6.to_bits() & mask_v6(len);
                Some(Self {
                    address: IpAddr::V6(Ipv6Addr::from_bits(bits)),
                    len,
                })
            }
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }

    /// The prefix that holds this one address.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        let len = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { address, len }
    }

    /// The lowest address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Number of leading bits that every address of the prefix shares.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a prefix length, not a number of elements"
    )]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Is `address` of this family and inside?
    #[must_use]
    #[inline]
    pub const fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(prefix), IpAddr::V4(v4)) => {
                (prefix.to_bits() ^ v4.to_bits()) & mask_v4(self.len) == 0
            }
            (IpAddr::V6(prefix), IpAddr::V6(v6)) => {
                (prefix.to_bits() ^ v6.to_bits()) & mask_v6(self.len) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

const fn mask_v4(len: u8) -> u32 {
    match u32::MAX.checked_shl(32 - len as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn mask_v6(len: u8) -> u128 {
    match u128::MAX.checked_shl(128 - len as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, ParsePrefixError> {
        let (address, len) = text.split_once('/').ok_or(ParsePrefixError::Length)?;
        let address = address.parse().map_err(|_| ParsePrefixError::Address)?;
        let len = len.parse().map_err(|_| ParsePrefixError::Length)?;
        Self::new(address, len).ok_or(ParsePrefixError::Length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cleared_and_membership_is_by_leading_bits() {
        for (prefix, inside, outside) in [
            ("10.96.7.1/12", "10.111.255.255", "10.112.0.0"),
            ("fd96::77/112", "fd96::ffff", "fd96::1:0"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "fe80::1", "0.0.0.0"),
            ("192.168.66.11/32", "192.168.66.11", "192.168.66.10"),
        ] {
            let parsed: Prefix = prefix.parse().expect(prefix);
            assert!(
                parsed.contains(inside.parse().expect(inside)),
                "{prefix} holds {inside}"
            );
            assert!(
                !parsed.contains(outside.parse().expect(outside)),
                "{prefix} without {outside}"
            );
        }
        let cleared: Prefix = "10.96.7.1/12".parse().expect("valid");
        assert_eq!(alloc::format!("{cleared}"), "10.96.0.0/12");
    }

    #[test]
    fn a_bad_prefix_says_which_part_is_bad() {
        assert_eq!("10.0.0.0".parse::<Prefix>(), Err(ParsePrefixError::Length));
        assert_eq!(
            "10.0.0.0/33".parse::<Prefix>(),
            Err(ParsePrefixError::Length)
        );
        assert_eq!("10.0.0/8".parse::<Prefix>(), Err(ParsePrefixError::Address));
    }
}
