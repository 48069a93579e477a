//! What a table held before this process: whoever is still served keeps number, slots and endpoints' numbers.

use super::port::{Former, place};
use super::{Bytes, Element, Set, Ticket};
use crate::net::Family;
use crate::service::{EndpointSet, ServiceSpec};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// ServicePorts that nobody has claimed yet.
#[derive(Debug, Default)]
pub(super) struct Formers {
    /// The number of each frontend's ServicePort.
    frontends: BTreeMap<Bytes, u32>,
    ports: BTreeMap<u32, Former>,
}

impl Formers {
    /// Reads them out of a table's elements, sorted.
    pub(super) fn read(elements: &[Element], family: Family) -> Self {
        let mut formers = Self::default();
        let mut endpoints: BTreeMap<Ticket, SocketAddr> = BTreeMap::new();
        // What names endpoints of session affinity comes before what is named.
        for element in elements
            .iter()
            .filter(|one| one.set == Set::StickyEndpoints)
        {
            let name = Ticket::of_key(&element.key, family);
            let endpoint = element.data.and_then(|data| endpoint(&data, family));
            endpoints.extend(name.zip(endpoint));
        }
        for (name, endpoint) in &endpoints {
            let former = formers.ports.entry(name.number()).or_default();
            former.names.insert(*endpoint, name.endpoint_number());
            former.last_name = former.last_name.max(name.endpoint_number());
        }
        for element in elements {
            let Some(data) = element.data else {
                continue;
            };
            if element.set == Set::Services {
                if let Some(ticket) = Ticket::of_key(&data, family) {
                    formers.frontends.insert(element.key, ticket.number());
                    formers.ports.entry(ticket.number()).or_default();
                }
                continue;
            }
            let slot = if element.set == Set::Slots {
                endpoint(&data, family)
            } else if element.set == Set::StickySlots {
                Ticket::of_key(&data, family).and_then(|name| endpoints.get(&name).copied())
            } else {
                continue;
            };
            // They are sorted, so each comes behind the one before; where one is missing, the order is all that
            // can be kept.
            if let (Some(ticket), Some(endpoint)) = (Ticket::of_key(&element.key, family), slot) {
                let former = formers.ports.entry(ticket.number()).or_default();
                let local = ticket.set() == Ticket::new(ticket.number(), EndpointSet::Local);
                if let Some(slots) = former.slots.get_mut(usize::from(local)) {
                    slots.push(endpoint);
                }
            }
        }
        formers
    }

    /// The number and arrangement of a ServicePort that is served already, known by its frontends.
    pub(super) fn claim(&mut self, spec: &ServiceSpec, family: Family) -> Option<(u32, Former)> {
        debug_assert!(
            spec.frontends
                .iter()
                .all(|one| Family::of(one.address) == family)
        );
        let mut keys = spec.frontends.iter().map(|one| place(one, spec.protocol));
        keys.find_map(|key| {
            let number = *self.frontends.get(&key)?;
            Some((number, self.ports.remove(&number)?))
        })
    }

    /// All numbers that stand in elements, sorted.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.ports.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }
}

/// An address and a port.
fn endpoint(data: &Bytes, family: Family) -> Option<SocketAddr> {
    let bytes = data.as_slice();
    let (address, port): (IpAddr, _) = match family {
        Family::Ipv4 => (
            <[u8; 4]>::try_from(bytes.get(..4)?).ok()?.into(),
            bytes.get(4..6)?,
        ),
        Family::Ipv6 => (
            <[u8; 16]>::try_from(bytes.get(..16)?).ok()?.into(),
            bytes.get(16..18)?,
        ),
    };
    Some(SocketAddr::new(
        address,
        u16::from_be_bytes(port.try_into().ok()?),
    ))
}
