//! How much a table holds, and what is said when that is not enough.

use core::fmt;

/// Greatest number of addresses in a [`super::NodeSpec`].
pub const MAX_NODE_ADDRESSES: u32 = 256;
/// Greatest number of prefixes in each list of a [`super::NodeSpec`].
pub const MAX_NODE_PREFIXES: u32 = 64;
/// Greatest number of addresses in [`super::NodeSpec::foreign_addresses`].
pub const MAX_FOREIGN_ADDRESSES: u32 = 16 * 1024;

/// Capacities of a [`super::Table`]. Memory for all of them is taken once, before the first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableLimits {
    /// ServicePorts, counted once for each family.
    pub services: u32,
    /// Frontends, both families together.
    pub frontends: u32,
    /// Endpoints, both families together; an address behind two ServicePorts counts twice.
    pub endpoints: u32,
    /// Prefixes in `loadBalancerSourceRanges`, counted once for each frontend that has them.
    pub source_ranges: u32,
    /// Buckets of hashing schedulers' tables, in chunks of 256. `sh` and `dh` take 256 for each set of endpoints in
    /// use, `mh` about 300 to 500 for each endpoint, at most 65,792.
    pub hash_buckets: u32,
}

impl Default for TableLimits {
    fn default() -> Self {
        Self {
            services: 16 * 1024,
            frontends: 32 * 1024,
            endpoints: 64 * 1024,
            source_ranges: 4 * 1024,
            hash_buckets: 512 * 1024,
        }
    }
}

/// What there is not enough of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TableLimit {
    /// [`TableLimits::services`]: an id must be less than it.
    Services,
    /// [`TableLimits::frontends`].
    Frontends,
    /// [`TableLimits::endpoints`].
    Endpoints,
    /// [`TableLimits::source_ranges`].
    SourceRanges,
    /// [`TableLimits::hash_buckets`].
    HashBuckets,
    /// [`MAX_NODE_ADDRESSES`].
    NodeAddresses,
    /// [`MAX_NODE_PREFIXES`], of pods.
    PodPrefixes,
    /// [`MAX_NODE_PREFIXES`], of Services.
    ServicePrefixes,
    /// [`MAX_FOREIGN_ADDRESSES`].
    ForeignAddresses,
}

impl TableLimit {
    /// The limit's name, in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Frontends => "frontends",
            Self::Endpoints => "endpoints",
            Self::SourceRanges => "source ranges",
            Self::HashBuckets => "hash buckets",
            Self::NodeAddresses => "node addresses",
            Self::PodPrefixes => "pod prefixes",
            Self::ServicePrefixes => "service prefixes",
            Self::ForeignAddresses => "addresses of other proxies' Services",
        }
    }
}

/// An edit needs more than the table was made for. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitExceeded {
    /// What there is not enough of.
    pub what: TableLimit,
    /// How many there would be.
    pub wanted: u64,
    /// How many there may be.
    pub allowed: u32,
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            wanted,
            allowed,
        } = self;
        write!(f, "{wanted} {} wanted, {allowed} allowed", what.as_str())
    }
}

impl core::error::Error for LimitExceeded {}
