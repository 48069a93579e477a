//! Who serves an (address, port, protocol) that two Services name.
//!
//! The older Service has it; of two of one age the one whose key sorts first. So it does not matter which
//! arrived first, and when the owner leaves the next takes over.

use super::PortKey;
use crate::net::Protocol;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

/// What is contested.
pub(super) type Place = (IpAddr, u16, Protocol);

/// One ServicePort's wish to serve a place. Sorted by precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// Creation time in seconds; a Service without one is the youngest.
    created: i64,
    key: Arc<PortKey>,
}

/// All claims, and which places changed hands since [`Claims::settle`].
#[derive(Debug, Default)]
pub(super) struct Claims {
    places: BTreeMap<Place, Vec<Claim>>,
    /// The owner before the first change of each place that was touched.
    touched: BTreeMap<Place, Option<Arc<PortKey>>>,
}

impl Claims {
    pub(super) fn owner(&self, place: &Place) -> Option<&Arc<PortKey>> {
        Some(&self.places.get(place)?.first()?.key)
    }

    pub(super) fn add(&mut self, place: Place, created: Option<i64>, key: &Arc<PortKey>) {
        self.touch(place);
        let claim = Claim {
            created: created.unwrap_or(i64::MAX),
            key: Arc::clone(key),
        };
        let claims = self.places.entry(place).or_default();
        if let Err(position) = claims.binary_search(&claim) {
            claims.insert(position, claim);
        }
    }

    pub(super) fn remove(&mut self, place: Place, key: &PortKey) {
        self.touch(place);
        if let Some(claims) = self.places.get_mut(&place) {
            claims.retain(|claim| *claim.key != *key);
            if claims.is_empty() {
                self.places.remove(&place);
            }
        }
    }

    fn touch(&mut self, place: Place) {
        if !self.touched.contains_key(&place) {
            let owner = self.owner(&place).cloned();
            self.touched.insert(place, owner);
        }
    }

    /// The ServicePorts that lost or won a place since the last call.
    pub(super) fn settle(&mut self) -> Vec<Arc<PortKey>> {
        let mut moved = Vec::new();
        for (place, before) in core::mem::take(&mut self.touched) {
            let after = self.owner(&place).cloned();
            if before != after {
                moved.extend(before);
                moved.extend(after);
            }
        }
        moved
    }
}
