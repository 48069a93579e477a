//! Who serves an (address, port, protocol) that two Services name.
//!
//! The older Service has it; of two of one age the one whose key sorts first. So it does not matter which
//! arrived first, and when the owner leaves the next takes over.

use super::PortKey;
use super::planner::ServiceNumber;
use crate::net::Protocol;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

/// What is contested.
pub(super) type Place = (IpAddr, u16, Protocol);

/// One ServicePort's wish to serve a place. Sorted by precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// Creation time in seconds; a Service without one is the youngest.
    created: i64,
    key: Arc<PortKey>,
    service: ServiceNumber,
}

impl Claim {
    pub(super) fn new(created: Option<i64>, key: &Arc<PortKey>, service: ServiceNumber) -> Self {
        Self {
            created: created.unwrap_or(i64::MAX),
            key: Arc::clone(key),
            service,
        }
    }
}

/// The claims to one place.
#[derive(Debug)]
enum Claimants {
    /// Nearly always.
    One(Claim),
    /// Two or more, the owner first.
    Several(Vec<Claim>),
}

impl Claimants {
    fn owner(&self) -> Option<&Claim> {
        match self {
            Self::One(claim) => Some(claim),
            Self::Several(claims) => claims.first(),
        }
    }
}

/// All claims, and which places changed hands since [`Claims::settle`].
#[derive(Debug, Default)]
pub(super) struct Claims {
    places: BTreeMap<Place, Claimants>,
    /// The owner before the first change of each place where two met.
    touched: BTreeMap<Place, Option<Claim>>,
}

impl Claims {
    pub(super) fn owner(&self, place: &Place) -> Option<&Arc<PortKey>> {
        Some(&self.places.get(place)?.owner()?.key)
    }

    pub(super) fn add(&mut self, place: Place, claim: Claim) {
        let Some(claimants) = self.places.get_mut(&place) else {
            self.places.insert(place, Claimants::One(claim));
            return;
        };
        let before = claimants.owner().cloned();
        self.touched.entry(place).or_insert(before);
        match claimants {
            Claimants::One(other) => {
                let mut claims = Vec::from([other.clone(), claim]);
                claims.sort_unstable();
                *claimants = Claimants::Several(claims);
            }
            Claimants::Several(claims) => {
                if let Err(position) = claims.binary_search(&claim) {
                    claims.insert(position, claim);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, place: Place, key: &PortKey) {
        match self.places.get_mut(&place) {
            Some(Claimants::One(claim)) if *claim.key == *key => {
                // Whoever takes the place in the same batch is looked at anyway.
                self.places.remove(&place);
            }
            Some(Claimants::Several(claims)) => {
                let before = claims.first().cloned();
                self.touched.entry(place).or_insert(before);
                claims.retain(|claim| *claim.key != *key);
                if let [claim] = &mut claims[..] {
                    let claim = claim.clone();
                    self.places.insert(place, Claimants::One(claim));
                }
            }
            Some(Claimants::One(_)) | None => {}
        }
    }

    /// The Services that a change of owner since the last call concerns: who lost the place, and all who
    /// claim it now, for those who do not have it are told who does.
    pub(super) fn settle(&mut self) -> Vec<ServiceNumber> {
        let mut moved = Vec::new();
        for (place, before) in core::mem::take(&mut self.touched) {
            let after = self.places.get(&place);
            let owner = after.and_then(Claimants::owner);
            if before.as_ref().map(|claim| &claim.key) == owner.map(|claim| &claim.key) {
                continue;
            }
            moved.extend(before.map(|claim| claim.service));
            match after {
                Some(Claimants::One(claim)) => moved.push(claim.service),
                Some(Claimants::Several(claims)) => {
                    moved.extend(claims.iter().map(|claim| claim.service));
                }
                None => {}
            }
        }
        moved
    }
}
