//! The ways to choose among endpoints, by the names that IPVS and `KubeProxyConfiguration` give them.

use core::fmt;

/// How an endpoint is chosen for a new connection.
///
/// Endpoints of weight 0 get no new connections, whatever the scheduler. Source of each rule: the file named, in
/// Linux' `net/netfilter/ipvs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
#[non_exhaustive]
pub enum Scheduler {
    /// `random`: uniformly at random, as kube-proxy's iptables and nftables modes do.
    #[default]
    Random = 0,
    /// `rr`: one after another (`ip_vs_rr.c`).
    RoundRobin = 1,
    /// `wrr`: one after another, each as often as its weight says (`ip_vs_wrr.c`).
    WeightedRoundRobin = 2,
    /// `lc`: the one with the fewest connections (`ip_vs_lc.c`).
    LeastConnection = 3,
    /// `wlc`: the one with the fewest connections for its weight (`ip_vs_wlc.c`).
    WeightedLeastConnection = 4,
    /// `sh`: by the client's address, out of 256 buckets shared out by weight (`ip_vs_sh.c`).
    SourceHashing = 5,
    /// `dh`: by the address that the client connects to, out of 256 buckets (`ip_vs_dh.c`).
    DestinationHashing = 6,
    /// `sed`: the one that would be done first, counting the new connection (`ip_vs_sed.c`).
    ShortestExpectedDelay = 7,
    /// `nq`: an idle one if there is any, else as `sed` (`ip_vs_nq.c`).
    NeverQueue = 8,
    /// `mh`: Maglev's consistent hashing, shared out by weight (Eisenbud et al., NSDI 2016; `ip_vs_mh.c`).
    Maglev = 9,
}

impl Scheduler {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Random,
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnection,
        Self::WeightedLeastConnection,
        Self::SourceHashing,
        Self::DestinationHashing,
        Self::ShortestExpectedDelay,
        Self::NeverQueue,
        Self::Maglev,
    ];

    /// Its short name, as IPVS writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "rr",
            Self::WeightedRoundRobin => "wrr",
            Self::LeastConnection => "lc",
            Self::WeightedLeastConnection => "wlc",
            Self::SourceHashing => "sh",
            Self::DestinationHashing => "dh",
            Self::ShortestExpectedDelay => "sed",
            Self::NeverQueue => "nq",
            Self::Maglev => "mh",
        }
    }

    /// The scheduler of a short name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|scheduler| scheduler.as_str() == name)
    }

    /// Does it ask how many connections an endpoint has? Only then are they counted.
    #[must_use]
    #[inline]
    pub const fn counts_connections(self) -> bool {
        matches!(
            self,
            Self::LeastConnection
                | Self::WeightedLeastConnection
                | Self::ShortestExpectedDelay
                | Self::NeverQueue
        )
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
