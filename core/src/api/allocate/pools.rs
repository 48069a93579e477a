//! Load balancer addresses, out of pools of the operator's own: what a cloud does for a cluster, and nobody else for
//! an appliance.

use crate::model::ObjectKey;
use crate::net::{Family, Prefix};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A named set of addresses that Services of type LoadBalancer may be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// What it is called in messages.
    pub name: String,
    /// Its addresses, all of them, in the order in which they are given out.
    pub cidrs: Vec<Prefix>,
    /// Are addresses given to Services that ask for none in particular? Else only to those that name one.
    pub automatic: bool,
}

/// What a Service wants of its load balancer addresses, beside the addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// Protocol and port of each of its ports.
    pub ports: BTreeSet<(String, i32)>,
    /// Services of the same key may share an address; without a key none does.
    pub sharing_key: Option<String>,
    /// `externalTrafficPolicy: Local`: the nodes that answer for the address are those with endpoints of the Service.
    pub local: bool,
    /// Its selector: two Services that select the same pods have endpoints on the same nodes.
    pub selector: BTreeMap<String, String>,
}

impl Claim {
    /// May both have one address? Both must say so, no door may be twice, and whoever announces the address by where
    /// its endpoints are must not be sent the other's connections.
    fn agrees_with(&self, other: &Self) -> bool {
        self.sharing_key.is_some()
            && self.sharing_key == other.sharing_key
            && self.ports.is_disjoint(&other.ports)
            && ((!self.local && !other.local) || self.selector == other.selector)
    }
}

/// Why a load balancer address could not be had. The Service is sound all the same: it waits, as in a cluster whose
/// cloud has none left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// No pool holds the address that was asked for.
    NotInPool(IpAddr),
    /// This Service has the address that was asked for, and the two may not share it.
    Taken(IpAddr, ObjectKey),
    /// Every address of the families wanted is taken.
    Full(Vec<Family>),
    /// There are no pools of these families.
    NoPool(Vec<Family>),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |families: &[Family]| {
            let names: Vec<_> = families
                .iter()
                .map(|it| crate::api::family_name(*it))
                .collect();
            names.join(" and ")
        };
        match self {
            Self::NotInPool(address) => write!(f, "{address} is in no load balancer pool"),
            Self::Taken(address, owner) => write!(
                f,
                "{address} is taken: Service {owner} has it, and the two do not agree to share it"
            ),
            Self::Full(families) => {
                write!(
                    f,
                    "every {} address of the load balancer pools is taken",
                    of(families)
                )
            }
            Self::NoPool(families) => {
                write!(f, "no load balancer pool has {} addresses", of(families))
            }
        }
    }
}

impl core::error::Error for PoolError {}

/// Every load balancer address, and the Services that have it.
#[derive(Debug, Clone, Default)]
pub struct LoadBalancerIps {
    pools: Vec<Pool>,
    taken: BTreeMap<IpAddr, BTreeMap<ObjectKey, Claim>>,
}

impl LoadBalancerIps {
    /// Nothing is taken yet. The order of the pools is the order in which they are used.
    #[must_use]
    pub const fn new(pools: Vec<Pool>) -> Self {
        Self {
            pools,
            taken: BTreeMap::new(),
        }
    }

    /// Replaces the pools; addresses that are taken stay so until their Services are given others.
    pub fn set_pools(&mut self, pools: Vec<Pool>) {
        self.pools = pools;
    }

    /// Is there any pool?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// Who has an address.
    pub fn owners(&self, address: IpAddr) -> impl Iterator<Item = &ObjectKey> {
        self.taken
            .get(&address)
            .into_iter()
            .flat_map(BTreeMap::keys)
    }

    /// Notes that a Service has an address.
    fn hold(&mut self, address: IpAddr, owner: &ObjectKey, claim: &Claim) {
        let owners = self.taken.entry(address).or_default();
        owners.insert(owner.clone(), claim.clone());
    }

    /// Gives back everything that a Service has.
    pub fn release(&mut self, owner: &ObjectKey, addresses: &[IpAddr]) {
        for address in addresses {
            if let Some(owners) = self.taken.get_mut(address) {
                owners.remove(owner);
                if owners.is_empty() {
                    self.taken.remove(address);
                }
            }
        }
    }

    /// Gives a Service its addresses: those `wanted` if it names any, else one of each family, those that it `had`
    /// if they will do.
    ///
    /// # Errors
    ///
    /// See [`PoolError`]; the Service has no load balancer address then.
    pub fn assign(
        &mut self,
        owner: &ObjectKey,
        wanted: &[IpAddr],
        families: &[Family],
        had: &[IpAddr],
        claim: &Claim,
    ) -> Result<Vec<IpAddr>, PoolError> {
        self.release(owner, had);
        let found = if wanted.is_empty() {
            self.any(families, had, claim)?
        } else {
            for &address in wanted {
                self.check(address, claim)?;
            }
            wanted.to_vec()
        };
        for &address in &found {
            self.hold(address, owner, claim);
        }
        Ok(found)
    }

    fn check(&self, address: IpAddr, claim: &Claim) -> Result<(), PoolError> {
        let mut cidrs = self.pools.iter().flat_map(|pool| &pool.cidrs);
        if !cidrs.any(|cidr| cidr.contains(address)) {
            return Err(PoolError::NotInPool(address));
        }
        match self.opponent(address, claim) {
            Some(owner) => Err(PoolError::Taken(address, owner.clone())),
            None => Ok(()),
        }
    }

    /// A Service that has the address and does not share it with this claim.
    fn opponent(&self, address: IpAddr, claim: &Claim) -> Option<&ObjectKey> {
        let mut owners = self.taken.get(&address)?.iter();
        owners
            .find(|(_, other)| !claim.agrees_with(other))
            .map(|(owner, _)| owner)
    }

    /// One address of each family that has pools.
    fn any(
        &self,
        families: &[Family],
        had: &[IpAddr],
        claim: &Claim,
    ) -> Result<Vec<IpAddr>, PoolError> {
        let mut found = Vec::new();
        let mut pooled = false;
        for &family in families {
            let kept = had.iter().copied().find(|&address| {
                Family::of(address) == family
                    && self.automatic(family).any(|cidr| cidr.contains(address))
                    && self.opponent(address, claim).is_none()
            });
            pooled |= self.automatic(family).next().is_some();
            let address = kept.or_else(|| {
                self.automatic(family)
                    .find_map(|cidr| self.first_free(cidr))
            });
            found.extend(address);
        }
        match (found.is_empty(), pooled) {
            (false, _) => Ok(found),
            (true, true) => Err(PoolError::Full(families.to_vec())),
            (true, false) => Err(PoolError::NoPool(families.to_vec())),
        }
    }

    fn automatic(&self, family: Family) -> impl Iterator<Item = Prefix> + '_ {
        let pools = self.pools.iter().filter(|pool| pool.automatic);
        let cidrs = pools.flat_map(|pool| pool.cidrs.iter().copied());
        cidrs.filter(move |cidr| Family::of(cidr.address()) == family)
    }

    /// The first address of a prefix that nobody has.
    fn first_free(&self, cidr: Prefix) -> Option<IpAddr> {
        let mut candidate = cidr.address();
        for taken in self.taken.range(candidate..).map(|(address, _)| *address) {
            if taken != candidate {
                break;
            }
            candidate = next(candidate)?;
        }
        cidr.contains(candidate).then_some(candidate)
    }
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4)
            .checked_add(1)
            .map(|it| Ipv4Addr::from(it).into()),
        IpAddr::V6(v6) => u128::from(v6)
            .checked_add(1)
            .map(|it| Ipv6Addr::from(it).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn pools() -> LoadBalancerIps {
        let cidr = |text: &str| crate::api::syntax::cidr(text);
        let pool = |name: &str, cidrs: &[&str], automatic| Pool {
            name: name.into(),
            cidrs: cidrs.iter().filter_map(|text| cidr(text)).collect(),
            automatic,
        };
        LoadBalancerIps::new(vec![
            pool("kept", &["203.0.113.64/31"], false),
            pool("public", &["203.0.113.0/31", "2001:db8::/127"], true),
        ])
    }

    fn claim(port: i32, key: Option<&str>) -> Claim {
        Claim {
            ports: [("TCP".to_string(), port)].into(),
            sharing_key: key.map(Into::into),
            ..Claim::default()
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    fn service(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    const BOTH: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    #[test]
    fn a_service_gets_one_address_of_each_family_until_none_is_left() {
        let mut ips = pools();
        let mut assign = |name: &str| ips.assign(&service(name), &[], &BOTH, &[], &claim(80, None));
        assert_eq!(assign("a"), Ok(vec![ip("203.0.113.0"), ip("2001:db8::")]));
        assert_eq!(assign("b"), Ok(vec![ip("203.0.113.1"), ip("2001:db8::1")]));
        assert_eq!(assign("c"), Err(PoolError::Full(BOTH.to_vec())));
        let had = [ip("203.0.113.0"), ip("2001:db8::")];
        ips.release(&service("a"), &had);
        let again = ips.assign(&service("c"), &[], &BOTH, &[], &claim(80, None));
        assert_eq!(again, Ok(had.to_vec()));
    }

    #[test]
    fn an_address_that_is_asked_for_must_be_in_a_pool_and_free() {
        let mut ips = pools();
        let kept = ip("203.0.113.64");
        let first = ips.assign(&service("a"), &[kept], &BOTH, &[], &claim(80, None));
        assert_eq!(first, Ok(vec![kept]));
        let second = ips.assign(&service("b"), &[kept], &BOTH, &[], &claim(81, None));
        assert_eq!(second, Err(PoolError::Taken(kept, service("a"))));
        let strange = ip("198.51.100.1");
        let third = ips.assign(&service("b"), &[strange], &BOTH, &[], &claim(81, None));
        assert_eq!(third, Err(PoolError::NotInPool(strange)));
    }

    #[test]
    fn an_address_is_shared_by_agreement_and_by_port() {
        let mut ips = pools();
        let shared = ip("203.0.113.0");
        let mut ask = |name: &str, claim: &Claim| {
            ips.assign(&service(name), &[shared], &BOTH, &[], claim)
                .is_ok()
        };
        assert!(ask("a", &claim(80, Some("k"))));
        assert!(ask("b", &claim(443, Some("k"))));
        assert!(!ask("c", &claim(80, Some("k"))), "the port is taken");
        assert!(!ask("c", &claim(53, Some("other"))), "another key");
        assert!(!ask("c", &claim(53, None)), "no key");
        let local = Claim {
            local: true,
            selector: [("app".into(), "x".into())].into(),
            ..claim(53, Some("k"))
        };
        assert!(!ask("c", &local), "only where its own endpoints are");
    }

    #[test]
    fn an_address_once_had_is_kept() {
        let mut ips = pools();
        let had = vec![ip("203.0.113.1"), ip("2001:db8::1")];
        let kept = ips.assign(&service("a"), &[], &BOTH, &had, &claim(80, None));
        assert_eq!(kept, Ok(had));
    }
}
