//! Node ports: which Service has which port of the nodes.

use super::cluster_ips::static_band;
use super::range::{Bands, Spread};
use crate::model::ObjectKey;
use alloc::collections::BTreeMap;
use core::fmt;
use core::str::FromStr;

/// The ports that may be node ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePortRange {
    first: u16,
    last: u16,
}

impl NodePortRange {
    /// 30000 to 32767, as the API server's `--service-node-port-range` is by default.
    pub const DEFAULT: Self = Self {
        first: 30_000,
        last: 32_767,
    };

    /// A range; `None` if it is empty or holds port 0.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first == 0 || last < first {
            return None;
        }
        Some(Self { first, last })
    }

    /// How many ports there are.
    #[must_use]
    pub fn usable(&self) -> usize {
        usize::try_from(self.bands().len()).unwrap_or(usize::MAX)
    }

    /// First and last port of the band that explicit requests should use; `None` in a small range.
    #[must_use]
    pub fn static_band(&self) -> Option<(u16, u16)> {
        let len = u16::try_from(self.bands().static_len).unwrap_or(u16::MAX);
        let last = self.first.saturating_add(len).checked_sub(1)?;
        (len > 0).then_some((self.first, last))
    }

    /// First and last port of the band that is given out first to who asks for any port.
    #[must_use]
    pub fn dynamic_band(&self) -> (u16, u16) {
        let first = self
            .static_band()
            .map_or(self.first, |(_, last)| last.saturating_add(1));
        (first, self.last)
    }

    fn bands(&self) -> Bands {
        let (first, end) = (
            u128::from(self.first),
            u128::from(self.last).saturating_add(1),
        );
        Bands {
            first,
            static_len: static_band(end.saturating_sub(first), 32, 128),
            end,
        }
    }
}

impl fmt::Display for NodePortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for NodePortRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text
            .split_once('-')
            .ok_or("must be two ports: 30000-32767")?;
        let port = |text: &str| text.trim().parse().ok();
        port(first)
            .zip(port(last))
            .and_then(|(first, last)| Self::new(first, last))
            .ok_or("must be two ports from 1 to 65535, the lesser first: 30000-32767")
    }
}

/// Why a port could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortError {
    /// It lies outside the range.
    NotInRange(NodePortRange),
    /// This Service has it already.
    Allocated(ObjectKey),
    /// No port is left.
    Full,
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInRange(range) => write!(
                f,
                "provided port is not in the valid range. The range of valid ports is {range}"
            ),
            Self::Allocated(owner) => {
                write!(
                    f,
                    "provided port is already allocated: Service {owner} has it"
                )
            }
            Self::Full => f.write_str("range is full"),
        }
    }
}

impl core::error::Error for PortError {}

/// Every node port and its owner. One number is taken for all protocols.
#[derive(Debug, Clone)]
pub struct NodePorts {
    range: NodePortRange,
    taken: BTreeMap<u128, ObjectKey>,
    spread: Spread,
}

impl NodePorts {
    /// Nothing is taken yet; the same seed gives the same ports.
    #[must_use]
    pub fn new(range: NodePortRange, seed: u64) -> Self {
        Self {
            range,
            taken: BTreeMap::new(),
            spread: Spread::new(seed),
        }
    }

    /// The range.
    #[must_use]
    pub const fn range(&self) -> NodePortRange {
        self.range
    }

    /// Replaces the range; ports that are taken stay so.
    pub const fn set_range(&mut self, range: NodePortRange) {
        self.range = range;
    }

    /// Takes one port for a Service.
    ///
    /// # Errors
    ///
    /// [`PortError::NotInRange`] and [`PortError::Allocated`]; nothing has changed then.
    pub fn allocate(&mut self, port: u16, owner: &ObjectKey) -> Result<(), PortError> {
        if !self.range.bands().contains(port.into()) {
            return Err(PortError::NotInRange(self.range));
        }
        self.hold(port, owner)
    }

    /// Takes any port for a Service.
    ///
    /// # Errors
    ///
    /// [`PortError::Full`]; nothing has changed then.
    pub fn allocate_next(&mut self, owner: &ObjectKey) -> Result<u16, PortError> {
        let free = self.range.bands().pick(&self.taken, &mut self.spread);
        let free = free.ok_or(PortError::Full)?;
        self.taken.insert(free, owner.clone());
        u16::try_from(free).map_err(|_| PortError::Full)
    }

    /// Notes that a stored Service has a port, which may lie outside the range.
    ///
    /// # Errors
    ///
    /// [`PortError::Allocated`] if a Service has it, be it the same one.
    pub fn hold(&mut self, port: u16, owner: &ObjectKey) -> Result<(), PortError> {
        if let Some(other) = self.taken.get(&port.into()) {
            return Err(PortError::Allocated(other.clone()));
        }
        self.taken.insert(port.into(), owner.clone());
        Ok(())
    }

    /// Gives a port back; one that is free stays free.
    pub fn release(&mut self, port: u16) {
        self.taken.remove(&port.into());
    }

    /// Who has a port.
    #[must_use]
    pub fn owner(&self, port: u16) -> Option<&ObjectKey> {
        self.taken.get(&port.into())
    }

    /// How many ports of the range are free.
    #[must_use]
    pub fn free(&self) -> usize {
        let Bands { first, end, .. } = self.range.bands();
        self.range
            .usable()
            .saturating_sub(self.taken.range(first..end).count())
    }
}
