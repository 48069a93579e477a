//! Keys and data of set elements, as the kernel compares them.

use super::Field;
use core::fmt;
use core::net::IpAddr;

/// The fields of a key or of an element's data, each padded with zeros to a multiple of four bytes: the way
/// `nf_tables` lays out concatenations. Addresses and ports are in network order, slots in the host's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes {
    bytes: [u8; Self::CAPACITY],
    len: u8,
}

impl Bytes {
    /// The longest key: address, protocol, port and another address of IPv6.
    pub const CAPACITY: usize = 40;
    /// Bytes of an interface's name, the last one zero.
    pub(super) const INTERFACE: usize = 16;

    /// No field yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; Self::CAPACITY],
            len: 0,
        }
    }

    /// What the kernel answered; `None` if it is longer than any key of ours.
    #[must_use]
    pub fn from_slice(slice: &[u8]) -> Option<Self> {
        (slice.len() <= Self::CAPACITY).then(|| Self::new().append(slice))
    }

    /// With one field more. A field that finds no room is left out; no set of ours has so many.
    #[must_use]
    fn append(mut self, field: &[u8]) -> Self {
        let start = usize::from(self.len);
        let end = start.saturating_add(field.len().next_multiple_of(4));
        debug_assert!(end <= Self::CAPACITY, "a key longer than any set's");
        if let Some(room) = self.bytes.get_mut(start..end)
            && let Some(room) = room.get_mut(..field.len())
            && let Ok(len) = u8::try_from(end)
        {
            room.copy_from_slice(field);
            self.len = len;
        }
        self
    }

    /// With an address.
    #[must_use]
    pub fn address(self, address: impl Into<IpAddr>) -> Self {
        match address.into() {
            IpAddr::V4(v4) => self.append(&v4.octets()),
            IpAddr::V6(v6) => self.append(&v6.octets()),
        }
    }

    /// With an IANA protocol number.
    #[must_use]
    pub fn protocol(self, number: u8) -> Self {
        self.append(&[number])
    }

    /// With a port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.append(&port.to_be_bytes())
    }

    /// With the number of a slot: what `numgen` draws.
    #[must_use]
    pub fn slot(self, slot: u32) -> Self {
        self.append(&slot.to_ne_bytes())
    }

    /// With the name of an interface, of which there are at most fifteen bytes.
    #[must_use]
    pub fn interface(self, name: &str) -> Self {
        self.append(&filled(name, 0))
    }

    /// With what is behind all names of interfaces that begin so, and before all others that come later.
    #[must_use]
    pub fn last_interface(self, prefix: &str) -> Self {
        self.append(&filled(prefix, u8::MAX))
    }

    /// All fields with their padding.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The fields as nft writes them, for instance `10.96.0.10 . tcp . 80`.
    #[must_use]
    pub const fn display(self, fields: &'static [Field]) -> Written {
        Written {
            bytes: self,
            fields,
        }
    }
}

/// A name, and `fill` behind it.
fn filled(name: &str, fill: u8) -> [u8; Bytes::INTERFACE] {
    let mut field = [fill; Bytes::INTERFACE];
    for (byte, of_name) in field.iter_mut().zip(name.bytes()) {
        *byte = of_name;
    }
    field
}

impl Default for Bytes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_slice() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Bytes with what they mean.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    bytes: Bytes,
    fields: &'static [Field],
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address or a name is as long as the other fields leave room for.
        let others = self.fields.iter().filter(|field| !field.is_long());
        let long = self.fields.iter().filter(|field| field.is_long());
        let left = self.bytes.as_slice().len() - others.count() * 4;
        let width = left.checked_div(long.count()).unwrap_or(0);
        let mut rest = self.bytes.as_slice();
        for (position, field) in self.fields.iter().enumerate() {
            if position > 0 {
                f.write_str(" . ")?;
            }
            let len = if field.is_long() { width } else { 4 };
            let Some((bytes, after)) = rest.split_at_checked(len) else {
                return f.write_str("?");
            };
            field.write(bytes, f)?;
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn a_key_is_laid_out_as_the_kernel_lays_out_concatenations() {
        let key = Bytes::new()
            .address(Ipv4Addr::new(10, 96, 0, 10))
            .protocol(6)
            .port(80);
        assert_eq!(key.as_slice(), [10, 96, 0, 10, 6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(Bytes::from_slice(key.as_slice()), Some(key));
        assert_eq!(Bytes::from_slice(&[0; 41]), None);
    }

    #[test]
    fn a_key_is_written_as_nft_writes_it() {
        let fields = &[Field::Address, Field::Protocol, Field::Port, Field::Address];
        let key = Bytes::new()
            .address(Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 10))
            .protocol(132)
            .port(9999)
            .address(Ipv6Addr::LOCALHOST);
        assert_eq!(
            format!("{}", key.display(fields)),
            "fd96::a . sctp . 9999 . ::1"
        );
    }
}
