//! Numbers and addresses from C, checked: each mistake names its field.

use crate::address::{portolan_address, portolan_prefix};
use crate::call;
use crate::error::Failure;
use core::net::IpAddr;
use portolan::net::{Family, Prefix, Protocol};

/// An address that somebody can have.
pub(crate) fn concrete(address: portolan_address, field: &str) -> Result<IpAddr, Failure> {
    let ip = address.to_ip(field)?;
    if ip.is_unspecified() {
        return Err(Failure::invalid(
            field,
            format!("{ip} is no address of anybody"),
        ));
    }
    Ok(ip)
}

/// An array of addresses.
///
/// # Safety
/// `pointer` is NULL or valid for reading `count` addresses.
pub(crate) unsafe fn addresses(
    pointer: *const portolan_address,
    count: usize,
    field: &str,
) -> Result<Vec<IpAddr>, Failure> {
    // SAFETY: as promised.
    let list = unsafe { call::slice(pointer, count, field) }?;
    let numbered = list.iter().enumerate();
    numbered
        .map(|(index, address)| concrete(*address, &format!("{field}[{index}]")))
        .collect()
}

/// An array of prefixes.
///
/// # Safety
/// `pointer` is NULL or valid for reading `count` prefixes.
pub(crate) unsafe fn prefixes(
    pointer: *const portolan_prefix,
    count: usize,
    field: &str,
) -> Result<Vec<Prefix>, Failure> {
    // SAFETY: as promised.
    let list = unsafe { call::slice(pointer, count, field) }?;
    let numbered = list.iter().enumerate();
    numbered
        .map(|(index, prefix)| prefix.to_prefix(&format!("{field}[{index}]")))
        .collect()
}

pub(crate) fn port(port: u16, field: &str) -> Result<u16, Failure> {
    if port == 0 {
        return Err(Failure::invalid(field, "0 is not a port"));
    }
    Ok(port)
}

pub(crate) fn protocol(number: u8, field: &str) -> Result<Protocol, Failure> {
    Protocol::from_number(number).ok_or_else(|| {
        let message = format!("{number} is no protocol: must be 6, 17 or 132");
        Failure::invalid(field, message)
    })
}

pub(crate) fn family(number: u32, field: &str) -> Result<Family, Failure> {
    match number {
        4 => Ok(Family::Ipv4),
        6 => Ok(Family::Ipv6),
        other => Err(Failure::invalid(
            field,
            format!("{other} is no family: must be 4 or 6"),
        )),
    }
}
