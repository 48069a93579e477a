//! Addresses and ports by name, so that tests need not parse.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address and port: a [`SocketAddr`], or its text.
pub trait ToSocket {
    /// The address and port.
    fn to_socket(&self) -> SocketAddr;
}

impl ToSocket for SocketAddr {
    fn to_socket(&self) -> SocketAddr {
        *self
    }
}

impl ToSocket for &str {
    fn to_socket(&self) -> SocketAddr {
        self.parse()
            .expect("an address and port, such as 10.0.0.1:80 or [fd00::1]:80")
    }
}

impl<A: Into<IpAddr> + Copy> ToSocket for (A, u16) {
    fn to_socket(&self) -> SocketAddr {
        SocketAddr::new(self.0.into(), self.1)
    }
}

/// An address: an [`IpAddr`], or its text.
pub trait ToAddress {
    /// The address.
    fn to_address(&self) -> IpAddr;
}

impl ToAddress for &str {
    fn to_address(&self) -> IpAddr {
        self.parse()
            .expect("an address, such as 10.0.0.1 or fd00::1")
    }
}

macro_rules! addresses {
    ($($address:ty),*) => {
        $(impl ToAddress for $address {
            fn to_address(&self) -> IpAddr {
                (*self).into()
            }
        })*
    };
}
addresses!(IpAddr, Ipv4Addr, Ipv6Addr);
