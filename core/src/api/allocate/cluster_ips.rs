//! ClusterIPs: which Service has which address of the Service CIDRs.

use super::range::{Bands, Spread};
use crate::model::ObjectKey;
use crate::net::{Family, Prefix};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The widest IPv6 range that addresses are given out of, by its prefix length: Kubernetes takes no wider one.
const WIDEST_IPV6: u8 = 64;

/// Why an address could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// No range holds it, or it is a range's network or broadcast address; these are the ranges.
    NotInRange(Vec<Prefix>),
    /// This Service has it already.
    Allocated(ObjectKey),
    /// No address of this family is left, or none was ever configured.
    Full(Family),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInRange(ranges) => {
                f.write_str(
                    "the provided IP is not in the valid range. The range of valid IPs is ",
                )?;
                for (index, range) in ranges.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{range}")?;
                }
                Ok(())
            }
            Self::Allocated(owner) => {
                write!(
                    f,
                    "provided IP is already allocated: Service {owner} has it"
                )
            }
            Self::Full(_) => f.write_str("range is full"),
        }
    }
}

impl core::error::Error for AddressError {}

/// One Service CIDR: its usable addresses in two bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRange {
    prefix: Prefix,
    bands: Bands,
}

impl ServiceRange {
    /// The usable addresses of a prefix; `None` if none can be given out of it, as of IPv6 prefixes wider than /64.
    ///
    /// The network address is never used, and IPv4's broadcast address neither; IPv6's last address is.
    #[must_use]
    pub fn new(prefix: Prefix) -> Option<Self> {
        let (bits, broadcast) = match Family::of(prefix.address()) {
            Family::Ipv4 => (32, 1),
            Family::Ipv6 if prefix.len() < WIDEST_IPV6 => return None,
            Family::Ipv6 => (128, 0),
        };
        let size = 1_u128.checked_shl(bits - u32::from(prefix.len()))?;
        let network = number(prefix.address());
        let bands = Bands {
            first: network.checked_add(1)?,
            static_len: static_band(size, 16, 256),
            // The last block of all ends where numbers do: its last address is left out.
            end: network.saturating_add(size).saturating_sub(broadcast),
        };
        (bands.len() > 0).then_some(Self { prefix, bands })
    }

    /// The prefix.
    #[must_use]
    pub const fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// How many addresses can be given out.
    #[must_use]
    pub const fn usable(&self) -> u128 {
        self.bands.len()
    }

    /// First and last address of the band that explicit requests should use; `None` in a small range.
    #[must_use]
    pub fn static_band(&self) -> Option<(IpAddr, IpAddr)> {
        let last = self
            .bands
            .first
            .checked_add(self.bands.static_len)?
            .checked_sub(1)?;
        (self.bands.static_len > 0).then(|| (self.address(self.bands.first), self.address(last)))
    }

    /// First and last address of the band that is given out first to who asks for any address.
    #[must_use]
    pub fn dynamic_band(&self) -> (IpAddr, IpAddr) {
        let first = self.bands.first.saturating_add(self.bands.static_len);
        (
            self.address(first),
            self.address(self.bands.end.saturating_sub(1)),
        )
    }

    fn address(&self, number: u128) -> IpAddr {
        address(number, Family::of(self.prefix.address()))
    }
}

/// The static band of a range of `size` numbers: a part of it, within bounds, and nothing of a small one.
pub(super) fn static_band(size: u128, part: u128, most: u128) -> u128 {
    const LEAST: u128 = 16;
    if size <= LEAST {
        return 0;
    }
    size.checked_div(part).unwrap_or(0).clamp(LEAST, most)
}

/// An address as a number; both families fit side by side, since they are kept apart.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(number: u128, family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        Family::Ipv6 => Ipv6Addr::from(number).into(),
    }
}

/// Every ClusterIP and its owner, and the ranges that they come from.
///
/// Addresses may be held that lie in no range: a range that is gone takes no address away from a Service.
#[derive(Debug, Clone)]
pub struct ClusterIps {
    ranges: Vec<ServiceRange>,
    taken: [BTreeMap<u128, ObjectKey>; 2],
    spread: Spread,
}

impl ClusterIps {
    /// Nothing is taken yet. The order of the ranges is the order in which they are used; the same seed gives the
    /// same addresses.
    #[must_use]
    pub fn new(ranges: Vec<ServiceRange>, seed: u64) -> Self {
        Self {
            ranges,
            taken: [BTreeMap::new(), BTreeMap::new()],
            spread: Spread::new(seed),
        }
    }

    /// Replaces the ranges; addresses that are taken stay so.
    pub fn set_ranges(&mut self, ranges: Vec<ServiceRange>) {
        self.ranges = ranges;
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[ServiceRange] {
        &self.ranges
    }

    const fn taken(&self, family: Family) -> &BTreeMap<u128, ObjectKey> {
        let [ipv4, ipv6] = &self.taken;
        match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }

    const fn taken_mut(&mut self, family: Family) -> &mut BTreeMap<u128, ObjectKey> {
        let [ipv4, ipv6] = &mut self.taken;
        match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }

    /// Takes one address for a Service.
    ///
    /// # Errors
    ///
    /// [`AddressError::NotInRange`] and [`AddressError::Allocated`]; nothing has changed then.
    pub fn allocate(&mut self, wanted: IpAddr, owner: &ObjectKey) -> Result<(), AddressError> {
        let (number, family) = (number(wanted), Family::of(wanted));
        let within = |range: &ServiceRange| {
            Family::of(range.prefix.address()) == family && range.bands.contains(number)
        };
        if !self.ranges.iter().any(within) {
            let ranges = self.ranges.iter().map(|range| range.prefix);
            let ranges = ranges.filter(|range| Family::of(range.address()) == family);
            return Err(AddressError::NotInRange(ranges.collect()));
        }
        match self.owner(wanted) {
            Some(other) => Err(AddressError::Allocated(other.clone())),
            None => self.hold(wanted, owner),
        }
    }

    /// Takes any address of a family for a Service.
    ///
    /// # Errors
    ///
    /// [`AddressError::Full`]; nothing has changed then.
    pub fn allocate_next(
        &mut self,
        family: Family,
        owner: &ObjectKey,
    ) -> Result<IpAddr, AddressError> {
        let (mut spread, taken) = (self.spread.clone(), self.taken(family));
        let mut ranges = self.ranges.iter();
        let free = ranges.find_map(|range| {
            let same = Family::of(range.prefix.address()) == family;
            same.then(|| range.bands.pick(taken, &mut spread)).flatten()
        });
        self.spread = spread;
        let free = free.ok_or(AddressError::Full(family))?;
        self.taken_mut(family).insert(free, owner.clone());
        Ok(address(free, family))
    }

    /// Notes that a stored Service has an address, which may lie in no range.
    ///
    /// # Errors
    ///
    /// [`AddressError::Allocated`] if another Service has it.
    pub fn hold(&mut self, held: IpAddr, owner: &ObjectKey) -> Result<(), AddressError> {
        let taken = self.taken_mut(Family::of(held));
        match taken.get(&number(held)) {
            Some(other) if other != owner => Err(AddressError::Allocated(other.clone())),
            Some(_) => Ok(()),
            None => {
                taken.insert(number(held), owner.clone());
                Ok(())
            }
        }
    }

    /// Gives an address back; one that is free stays free.
    pub fn release(&mut self, address: IpAddr) {
        self.taken_mut(Family::of(address)).remove(&number(address));
    }

    /// Who has an address.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&ObjectKey> {
        self.taken(Family::of(address)).get(&number(address))
    }

    /// How many addresses of a range are taken.
    #[must_use]
    pub fn used(&self, range: &ServiceRange) -> usize {
        let family = Family::of(range.prefix.address());
        let Bands { first, end, .. } = range.bands;
        self.taken(family).range(first..end).count()
    }
}
