//! What DNS says of one Service, compiled from its objects once, so that answering only looks up and copies.

use super::config::Settings;
use super::name::{MadeLabel, service_labels, wire, wire_label};
use crate::model::{EndpointSlice, Service, SliceEndpoint};
use crate::net::Protocol;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceRecords {
    /// Its name and namespace as labels of the wire, `\x03web\x04shop`: what names it below `svc`.
    pub(super) key: Box<[u8]>,
    pub(super) form: Form,
    /// Ready endpoints, by address.
    pub(super) hosts: Box<[Host]>,
    /// Indexes of the hosts that have a name, by name and address.
    named: Box<[u32]>,
    /// Ports, by name and protocol.
    pub(super) ports: Box<[Port]>,
    /// It has no ready endpoint, and such Services are to be ignored.
    pub(super) ignored: bool,
}

/// What a Service's own name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Its ClusterIPs, with or without endpoints.
    ClusterIp {
        ipv4: Option<Ipv4Addr>,
        ipv6: Option<Ipv6Addr>,
    },
    /// Its endpoints.
    Headless,
    /// Another name: `externalName` on the wire.
    Alias(Box<[u8]>),
}

/// A ready endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Host {
    pub(super) address: IpAddr,
    /// Its label, behind its length; without one its address makes it.
    pub(super) name: Option<Box<[u8]>>,
}

/// A port, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// Empty if it has none.
    pub(super) name: Box<str>,
    pub(super) protocol: Protocol,
    pub(super) leads: Leads,
}

/// Where an SRV record of a port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leads {
    /// To the Service, at its own port.
    Service(u16),
    /// To endpoints, at theirs: sorted, one for each name and number.
    Endpoints(Box<[Target]>),
}

/// An endpoint that an SRV record leads to. Of hosts that share a name it is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) host: u32,
    pub(super) number: u16,
}

impl Host {
    /// Its label, behind its length.
    pub(super) fn with_label<T>(&self, then: impl FnOnce(&[u8]) -> T) -> T {
        match &self.name {
            Some(name) => then(name),
            None => then(MadeLabel::of(self.address).wire()),
        }
    }
}

impl ServiceRecords {
    /// What DNS says of a Service; `None` if its names are no labels, so that nobody can ask for it, or its
    /// namespace is not served.
    pub(super) fn new(
        service: &Service,
        slices: &[&EndpointSlice],
        settings: &Settings,
    ) -> Option<Self> {
        if !settings.serves(&service.key.namespace) {
            return None;
        }
        let key = service_labels(&service.key)?;
        let form = match &service.external_name {
            Some(name) => Form::Alias(wire(name)?),
            None if service.headless => Form::Headless,
            None => cluster_ips(&service.cluster_ips),
        };
        let slices = match form {
            Form::Alias(_) => &[],
            Form::ClusterIp { .. } | Form::Headless => slices,
        };
        let hosts = hosts(slices, settings);
        let mut records = Self {
            key,
            named: named(&hosts),
            ports: Box::default(),
            ignored: settings.config.ignore_empty_service
                && hosts.is_empty()
                && matches!(form, Form::ClusterIp { .. }),
            hosts,
            form,
        };
        records.ports = match records.form {
            Form::Alias(_) => Box::default(),
            Form::ClusterIp { .. } => own_ports(service),
            Form::Headless => records.endpoint_ports(slices, settings),
        };
        Some(records)
    }

    /// The namespace's label, behind its length.
    pub(super) fn namespace(&self) -> &[u8] {
        let length = self.key.first().copied().unwrap_or_default();
        let after = usize::from(length).saturating_add(1);
        self.key.get(after..).unwrap_or_default()
    }

    /// Its ClusterIPs.
    pub(super) fn cluster_ips(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (ipv4, ipv6) = match self.form {
            Form::ClusterIp { ipv4, ipv6 } => (ipv4, ipv6),
            Form::Headless | Form::Alias(_) => (None, None),
        };
        let ipv4 = ipv4.map(IpAddr::V4).into_iter();
        ipv4.chain(ipv6.map(IpAddr::V6))
    }

    /// Does its name exist? That of a headless Service comes with its first ready endpoint, as in CoreDNS.
    pub(super) fn exists(&self) -> bool {
        !self.ignored && (self.form != Form::Headless || !self.hosts.is_empty())
    }

    /// The host that a label names: the first with this hostname, or the one without any whose address it says.
    pub(super) fn host_named(&self, label: &[u8]) -> Option<&Host> {
        // In the order of the labels behind their lengths.
        let name = |index: &u32| {
            let (_, text) = self.host(*index)?.name.as_deref()?.split_first()?;
            Some((text.len(), text))
        };
        let wanted = Some((label.len(), label));
        let first = self.named.partition_point(|index| name(index) < wanted);
        let named = self.named.get(first).filter(|index| name(index) == wanted);
        if let Some(index) = named {
            return self.host(*index);
        }
        let here = self.hosts_at(MadeLabel::address(label)?);
        here.iter().find(|host| host.name.is_none())
    }

    /// The hosts that share the name of one of them.
    pub(super) fn hosts_like<'s>(
        &'s self,
        host: &'s Host,
    ) -> impl Iterator<Item = &'s Host> + Clone {
        let name = &host.name;
        let of = |index: &u32| self.host(*index).map(|host| &host.name);
        let first = self.named.partition_point(|index| of(index) < Some(name));
        let after = self.named.partition_point(|index| of(index) <= Some(name));
        let range = if name.is_some() { first..after } else { 0..0 };
        let named = self.named.get(range).unwrap_or_default();
        let alone = name.is_none().then_some(host);
        let named = named.iter().filter_map(|index| self.host(*index));
        named.chain(alone)
    }

    /// The hosts at an address: under several names there are several.
    pub(super) fn hosts_at(&self, address: IpAddr) -> &[Host] {
        let first = self.hosts.partition_point(|host| host.address < address);
        let after = self.hosts.partition_point(|host| host.address <= address);
        self.hosts.get(first..after).unwrap_or_default()
    }

    /// The hosts of one family, IPv6 if `ipv6`.
    pub(super) fn hosts_of(&self, ipv6: bool) -> &[Host] {
        let split = self.hosts.partition_point(|host| host.address.is_ipv4());
        let (ipv4_hosts, ipv6_hosts) = self.hosts.split_at_checked(split).unwrap_or_default();
        if ipv6 { ipv6_hosts } else { ipv4_hosts }
    }

    /// A host by its index.
    pub(super) fn host(&self, index: u32) -> Option<&Host> {
        self.hosts.get(usize::try_from(index).ok()?)
    }

    /// Ports of endpoints, by name and protocol, from the slices: they need not be the Service's own.
    fn endpoint_ports(&self, slices: &[&EndpointSlice], settings: &Settings) -> Box<[Port]> {
        let mut ports: BTreeMap<(&str, Protocol), Vec<Target>> = BTreeMap::new();
        for slice in slices {
            for endpoint in ready(slice) {
                let Some(host) = self.target(&host(endpoint, settings)) else {
                    continue;
                };
                for port in &slice.ports {
                    let number = port.port;
                    let targets = ports.entry((&port.name, port.protocol)).or_default();
                    targets.push(Target { host, number });
                }
            }
        }
        let port = |((name, protocol), mut targets): ((&str, _), Vec<_>)| {
            targets.sort_unstable();
            targets.dedup();
            Port {
                name: name.to_ascii_lowercase().into(),
                protocol,
                leads: Leads::Endpoints(targets.into()),
            }
        };
        ports.into_iter().map(port).collect()
    }

    /// The index of a host, or of the first that shares its name.
    fn target(&self, host: &Host) -> Option<u32> {
        if host.name.is_some() {
            let name = |index: &u32| self.host(*index).map(|host| &host.name);
            let first = self
                .named
                .partition_point(|index| name(index) < Some(&host.name));
            return self.named.get(first).copied();
        }
        let index = self.hosts.binary_search(host).ok()?;
        u32::try_from(index).ok()
    }
}

/// The ClusterIPs, at most one of each family.
fn cluster_ips(addresses: &[IpAddr]) -> Form {
    let ipv4 = addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let ipv6 = addresses.iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    });
    Form::ClusterIp { ipv4, ipv6 }
}

/// The endpoints of a slice that DNS may name. Only `ready` counts: a terminating endpoint is not, though it may
/// serve, and whoever made the slice has said ready of all pods of a Service with `publishNotReadyAddresses`.
fn ready(slice: &EndpointSlice) -> impl Iterator<Item = &SliceEndpoint> {
    let endpoints = slice.endpoints.iter();
    endpoints.filter(|endpoint| endpoint.conditions.ready)
}

fn host(endpoint: &SliceEndpoint, settings: &Settings) -> Host {
    let pod = || {
        let names = settings.config.endpoint_pod_names;
        endpoint.pod_name.as_deref().filter(|_| names)
    };
    let name = endpoint.hostname.as_deref().or_else(pod);
    Host {
        address: endpoint.address,
        name: name.and_then(wire_label),
    }
}

/// Ready endpoints of all slices, each once.
fn hosts(slices: &[&EndpointSlice], settings: &Settings) -> Box<[Host]> {
    let all = slices.iter().flat_map(|slice| ready(slice));
    let mut hosts: Vec<Host> = all.map(|endpoint| host(endpoint, settings)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.into()
}

fn named(hosts: &[Host]) -> Box<[u32]> {
    let named = (0..).zip(hosts).filter(|(_, host)| host.name.is_some());
    let mut named: Vec<(u32, &Host)> = named.collect();
    named.sort_by_key(|(_, host)| (&host.name, host.address));
    named.into_iter().map(|(index, _)| index).collect()
}

fn own_ports(service: &Service) -> Box<[Port]> {
    let ports = service.ports.iter().map(|port| Port {
        name: port.name.to_ascii_lowercase().into(),
        protocol: port.protocol,
        leads: Leads::Service(port.port),
    });
    ports.collect()
}
