//! Addresses and prefixes.

use crate::error::Failure;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use portolan::net::{Family, Prefix};

/// No address. (The number of portolan_address.family.)
pub const PORTOLAN_FAMILY_NONE: u8 = 0;
/// IPv4: the first 4 bytes hold the address.
pub const PORTOLAN_FAMILY_IPV4: u8 = 4;
/// IPv6: all 16 bytes hold the address.
pub const PORTOLAN_FAMILY_IPV6: u8 = 6;

/// An IPv4 or IPv6 address. This struct never grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct portolan_address {
    /// The address in network order; of IPv4 the first 4 bytes, the others zero.
    pub bytes: [u8; 16],
    /// PORTOLAN_FAMILY_...
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// An address prefix such as 10.96.0.0/16; host bits are ignored. This struct never grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct portolan_prefix {
    /// An address in the prefix.
    pub address: portolan_address,
    /// Number of leading bits that count.
    pub length: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// PORTOLAN_FAMILY_... of a family.
pub(crate) const fn family_number(family: Family) -> u8 {
    match family {
        Family::Ipv4 => PORTOLAN_FAMILY_IPV4,
        Family::Ipv6 => PORTOLAN_FAMILY_IPV6,
    }
}

impl portolan_address {
    pub(crate) const NONE: Self = Self {
        bytes: [0; 16],
        family: PORTOLAN_FAMILY_NONE,
        reserved: [0; 3],
    };

    pub(crate) fn to_ip(self, field: &str) -> Result<IpAddr, Failure> {
        match self.family {
            PORTOLAN_FAMILY_IPV4 => {
                let [a, b, c, d, ..] = self.bytes;
                Ok(Ipv4Addr::new(a, b, c, d).into())
            }
            PORTOLAN_FAMILY_IPV6 => Ok(Ipv6Addr::from(self.bytes).into()),
            other => {
                let message = format!("{other} is no family: must be 4 or 6");
                Err(Failure::invalid(&format!("{field}.family"), message))
            }
        }
    }
}

impl From<IpAddr> for portolan_address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let mut bytes = [0; 16];
                for (to, from) in bytes.iter_mut().zip(v4.octets()) {
                    *to = from;
                }
                Self {
                    bytes,
                    family: PORTOLAN_FAMILY_IPV4,
                    reserved: [0; 3],
                }
            }
            IpAddr::V6(v6) => Self {
                bytes: v6.octets(),
                family: PORTOLAN_FAMILY_IPV6,
                reserved: [0; 3],
            },
        }
    }
}

impl From<Prefix> for portolan_prefix {
    fn from(prefix: Prefix) -> Self {
        Self {
            address: prefix.address().into(),
            length: prefix.len(),
            reserved: [0; 3],
        }
    }
}

impl portolan_prefix {
    pub(crate) fn to_prefix(self, field: &str) -> Result<Prefix, Failure> {
        let address = self.address.to_ip(&format!("{field}.address"))?;
        Prefix::new(address, self.length).ok_or_else(|| {
            let message = format!("{} is longer than the address", self.length);
            Failure::invalid(&format!("{field}.length"), message)
        })
    }
}
