//! What a name stands for: the tree of Kubernetes' DNS specification, version 1.1.0.

use super::config::PodNames;
use super::name::{Labels, ZoneName, dashed_address, reverse_range};
use super::records::{Form, Host, Port, ServiceRecords};
use super::tables::Tables;
use crate::net::Protocol;
use core::net::IpAddr;

/// A name in one of our zones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Located<'t> {
    pub(super) zone: &'t ZoneName,
    /// Labels before the zone's.
    pub(super) below: usize,
    pub(super) found: Found<'t>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'t> {
    /// A zone itself.
    Apex,
    /// `ns.dns`.
    NameServer,
    /// `dns-version`.
    Version,
    /// A name without records that others stand below.
    Empty,
    /// A Service.
    Service(&'t ServiceRecords),
    /// A port of a Service, `_http._tcp.web`.
    Port(&'t ServiceRecords, &'t Port),
    /// An endpoint; others may share its name.
    Host(&'t ServiceRecords, &'t Host),
    /// A pod's name, which says its address.
    Pod(IpAddr),
    /// The reverse name of an address that somebody has.
    Reverse(IpAddr),
    /// Nothing.
    Missing,
}

impl<'t> Found<'t> {
    /// The Service and the name it stands for, if it is an ExternalName.
    pub(super) fn alias(&self) -> Option<(&'t ServiceRecords, &'t [u8])> {
        let Self::Service(service) = self else {
            return None;
        };
        match &service.form {
            Form::Alias(target) => Some((service, target)),
            Form::ClusterIp { .. } | Form::Headless => None,
        }
    }
}

impl Tables {
    /// What a name stands for; `None` if it is in none of our zones.
    pub(super) fn locate(&self, name: &Labels) -> Option<Located<'_>> {
        let settings = &*self.settings;
        if let Some(below) = settings.zone.below(name) {
            return Some(Located {
                zone: &settings.zone,
                below,
                found: self.forward(name, below),
            });
        }
        let zones = settings.reverse_zones.iter();
        let mut zones = zones.filter_map(|zone| Some((zone, zone.below(name)?)));
        let (zone, below) = zones.next()?;
        let found = self.reverse(name, below);
        Some(Located { zone, below, found })
    }

    fn forward(&self, name: &Labels, below: usize) -> Found<'_> {
        let label = |from_zone: usize| {
            let index = below.checked_sub(from_zone);
            index
                .and_then(|index| name.label(index))
                .unwrap_or_default()
        };
        match (below, label(1)) {
            (0, _) => Found::Apex,
            (1, b"svc" | b"pod" | b"dns") => Found::Empty,
            (1, b"dns-version") => Found::Version,
            (2, b"dns") if label(2) == b"ns" => Found::NameServer,
            (2, b"svc") if self.namespace_exists(name.between(0, 1)) => Found::Empty,
            (3..=5, b"svc") => {
                let below_service = below.saturating_sub(3);
                let key = name.between(below_service, below_service.saturating_add(2));
                match self.service(key) {
                    Some(service) if service.exists() => of_service(service, name, below_service),
                    Some(_) | None => Found::Missing,
                }
            }
            (2 | 3, b"pod") => self.pod(name, below),
            _ => Found::Missing,
        }
    }

    /// `namespace.pod` and `a-b-c-d.namespace.pod`.
    fn pod(&self, name: &Labels, below: usize) -> Found<'_> {
        let names = self.settings.config.pod_names;
        let namespace = name.between(below.saturating_sub(2), below.saturating_sub(1));
        if names == PodNames::Disabled || !self.namespace_exists(namespace) {
            return Found::Missing;
        }
        if below == 2 {
            return Found::Empty;
        }
        let address = dashed_address(name.label(0).unwrap_or_default());
        match address {
            Some(address) if names == PodNames::Insecure || self.pod_exists(address, namespace) => {
                Found::Pod(address)
            }
            Some(_) | None => Found::Missing,
        }
    }

    fn reverse(&self, name: &Labels, below: usize) -> Found<'_> {
        match reverse_range(name) {
            Some((address, last)) if address == last => {
                if self.owners(address).next().is_some() {
                    return Found::Reverse(address);
                }
            }
            Some((first, last)) if below > 0 && self.any_between(first, last) => {
                return Found::Empty;
            }
            Some(_) | None => {}
        }
        if below == 0 {
            Found::Apex
        } else {
            Found::Missing
        }
    }
}

/// What stands at or below the name of a Service; `below` labels stand before it.
fn of_service<'t>(service: &'t ServiceRecords, name: &Labels, below: usize) -> Found<'t> {
    if below == 0 {
        return Found::Service(service);
    }
    if matches!(service.form, Form::Alias(_)) {
        return Found::Missing;
    }
    let first = name.label(0).unwrap_or_default();
    if below == 1 {
        if let Some(host) = service.host_named(first) {
            return Found::Host(service, host);
        }
        let protocol = protocol(first);
        let has = service
            .ports
            .iter()
            .any(|port| Some(port.protocol) == protocol && !port.name.is_empty());
        return if has { Found::Empty } else { Found::Missing };
    }
    let protocol = name.label(1).and_then(protocol);
    let port = first.strip_prefix(b"_").filter(|name| !name.is_empty());
    let found = service
        .ports
        .iter()
        .find(|one| Some(one.protocol) == protocol && Some(one.name.as_bytes()) == port);
    found.map_or(Found::Missing, |port| Found::Port(service, port))
}

/// The protocol that a label such as `_tcp` names.
const fn protocol(label: &[u8]) -> Option<Protocol> {
    match label {
        b"_tcp" => Some(Protocol::Tcp),
        b"_udp" => Some(Protocol::Udp),
        b"_sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}
