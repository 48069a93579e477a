//! The records of one name, written section by section.

use super::code::kind;
use super::name::Labels;
use super::records::{Form, Host, Leads, Port, ServiceRecords, Target};
use super::resolve::{Found, Located};
use super::tables::Tables;
use super::writer::{End, Full, Name, Section, Writer};
use core::net::IpAddr;

/// The version of the specification that is followed, and how long it stays so.
const VERSION: &[u8] = b"\x051.1.0";
const VERSION_TTL: u32 = 28_800;

/// The rest of the SOA records (CoreDNS's numbers), and the longest that a negative answer is remembered.
const REFRESH: u32 = 7_200;
const RETRY: u32 = 1_800;
const EXPIRE: u32 = 86_400;
const NEGATIVE_TTL: u32 = 300;

/// Names below the zone.
const NAME_SERVER: &[u8] = b"\x02ns\x03dns";
const HOSTMASTER: &[u8] = b"\x0ahostmaster";
const SVC: &[u8] = b"\x03svc";

/// A name that stands written out in the reply, and what it stands for.
pub(super) struct Place<'t> {
    pub(super) located: Located<'t>,
    pub(super) labels: Labels,
    /// Where it stands.
    pub(super) base: usize,
}

impl Place<'_> {
    /// The name from one of its labels on.
    fn from(&self, label: usize) -> Name<'static> {
        Name::at(self.base.saturating_add(self.labels.offset(label)))
    }
}

/// A reply's sections after the question.
pub(super) struct Sections<'w, 'r, 't> {
    pub(super) tables: &'t Tables,
    pub(super) place: &'w Place<'t>,
    pub(super) writer: &'w mut Writer<'r>,
    /// Which of several records comes first: a different one each time, for clients that try only that.
    pub(super) turn: usize,
    /// There is an answer.
    pub(super) written: bool,
}

/// `items` from the `turn`th on, and then those before it.
fn turned<T>(items: &[T], turn: usize) -> impl Iterator<Item = &T> + Clone {
    let first = turn.checked_rem(items.len()).unwrap_or_default();
    let (before, after) = items.split_at_checked(first).unwrap_or_default();
    after.iter().chain(before)
}

impl<'r, 't> Sections<'_, 'r, 't> {
    /// The records of a type that the name has; none is no error.
    pub(super) fn answer(&mut self, wanted: u16) -> Result<(), Full> {
        let owner = self.place.from(0);
        match (self.place.located.found, wanted) {
            (Found::Apex, kind::SOA) => {
                self.written = true;
                self.soa(Section::Answer, self.ttl())
            }
            (Found::Apex, kind::NS) => self.name_servers(owner),
            (Found::NameServer, kind::A | kind::AAAA) => {
                let addresses = &self.tables.settings.config.name_server_addresses;
                let wanted = addresses
                    .iter()
                    .filter(|it| it.is_ipv6() == (wanted == kind::AAAA));
                wanted
                    .copied()
                    .try_for_each(|address| self.address(owner, address))
            }
            (Found::Version, kind::TXT) => self.write(owner, (kind::TXT, VERSION_TTL), |writer| {
                writer.put(VERSION)
            }),
            (Found::Service(service), kind::A | kind::AAAA) => {
                self.addresses_of(Section::Answer, owner, service, wanted == kind::AAAA)
            }
            (Found::Service(service), kind::SRV) => self.services(service, &service.ports),
            (Found::Port(service, port), kind::SRV) => {
                self.services(service, core::slice::from_ref(port))
            }
            (Found::Host(service, host), kind::A | kind::AAAA) => service
                .hosts_like(host)
                .filter(|host| host.address.is_ipv6() == (wanted == kind::AAAA))
                .try_for_each(|host| self.address(owner, host.address)),
            (Found::Pod(address @ IpAddr::V4(_)), kind::A)
            | (Found::Pod(address @ IpAddr::V6(_)), kind::AAAA) => self.address(owner, address),
            (Found::Reverse(address), kind::PTR) => self.pointers(owner, address),
            (_, _) => Ok(()),
        }
    }

    /// Says that there is no such name, or nothing of this type: the SOA record of the name's zone (RFC 2308).
    pub(super) fn negative(&mut self) -> Result<(), Full> {
        self.soa(Section::Authority, self.ttl().min(NEGATIVE_TTL))
    }

    fn ttl(&self) -> u32 {
        self.tables.settings.config.ttl
    }

    fn write(
        &mut self,
        owner: Name<'_>,
        (kind, ttl): (u16, u32),
        data: impl FnOnce(&mut Writer<'r>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        self.writer
            .record(Section::Answer, owner, (kind, ttl), data)?;
        self.written = true;
        Ok(())
    }

    /// How names of the cluster's zone end: as the name in the reply does, if that is one.
    fn cluster_end(&self) -> End<'t> {
        let zone = &self.tables.settings.zone;
        let place = self.place;
        if core::ptr::eq(zone, place.located.zone) {
            return place.from(place.located.below).end;
        }
        End::Wire(zone.wire())
    }

    fn soa(&mut self, section: Section, ttl: u32) -> Result<(), Full> {
        let owner = self.place.from(self.place.located.below);
        let end = self.cluster_end();
        let (serial, minimum) = (self.tables.serial, self.ttl());
        self.writer
            .record(section, owner, (kind::SOA, ttl), |writer| {
                writer.put_name(Name::below([NAME_SERVER, &[], &[]], end))?;
                writer.put_name(Name::below([HOSTMASTER, &[], &[]], end))?;
                [serial, REFRESH, RETRY, EXPIRE, minimum]
                    .into_iter()
                    .try_for_each(|number| writer.put_u32(number))
            })
    }

    /// The zone's name server: the Service in front of it, if that is known, else `ns.dns`.
    fn name_servers(&mut self, owner: Name<'_>) -> Result<(), Full> {
        let end = self.cluster_end();
        let settings = &self.tables.settings;
        let service = settings.dns_service.as_deref();
        let service = service.and_then(|labels| self.tables.service(labels));
        let service = service.filter(|service| service.exists());
        let labels = match service {
            Some(service) => [&service.key, SVC, &[]],
            None => [NAME_SERVER, &[], &[]],
        };
        let mut at = 0;
        self.write(owner, (kind::NS, self.ttl()), |writer| {
            at = writer.position();
            writer.put_name(Name::below(labels, end))
        })?;
        // What does not fit here can be asked for.
        let _ = match service {
            Some(service) => self.both_families(Name::at(at), service),
            None => settings
                .config
                .name_server_addresses
                .iter()
                .try_for_each(|address| {
                    self.put_address(Section::Additional, Name::at(at), *address)
                }),
        };
        Ok(())
    }

    fn both_families(&mut self, owner: Name<'_>, service: &ServiceRecords) -> Result<(), Full> {
        self.addresses_of(Section::Additional, owner, service, false)?;
        self.addresses_of(Section::Additional, owner, service, true)
    }

    /// The addresses that a Service's own name has.
    fn addresses_of(
        &mut self,
        section: Section,
        owner: Name<'_>,
        service: &ServiceRecords,
        ipv6: bool,
    ) -> Result<(), Full> {
        let cluster_ips = service.cluster_ips();
        let mut cluster_ips = cluster_ips.filter(|address| address.is_ipv6() == ipv6);
        if matches!(service.form, Form::ClusterIp { .. }) {
            return cluster_ips.try_for_each(|address| self.put_address(section, owner, address));
        }
        let mut before = None;
        for host in turned(service.hosts_of(ipv6), self.turn) {
            // Under several names it is one address all the same.
            if before.replace(host.address) != Some(host.address) {
                self.put_address(section, owner, host.address)?;
            }
        }
        Ok(())
    }

    fn address(&mut self, owner: Name<'_>, address: IpAddr) -> Result<(), Full> {
        self.put_address(Section::Answer, owner, address)
    }

    fn put_address(
        &mut self,
        section: Section,
        owner: Name<'_>,
        address: IpAddr,
    ) -> Result<(), Full> {
        let ttl = self.ttl();
        match address {
            IpAddr::V4(address) => {
                self.writer
                    .record(section, owner, (kind::A, ttl), |writer| {
                        writer.put(&address.octets())
                    })?
            }
            IpAddr::V6(address) => {
                self.writer
                    .record(section, owner, (kind::AAAA, ttl), |writer| {
                        writer.put(&address.octets())
                    })?
            }
        }
        self.written |= section == Section::Answer;
        Ok(())
    }

    /// SRV records of these ports of a Service, each target and number once, and the targets' addresses.
    fn services(&mut self, service: &'t ServiceRecords, ports: &'t [Port]) -> Result<(), Full> {
        let mut count = 0_u16;
        each_lead(ports, self.turn, |_| {
            count = count.saturating_add(1);
            Ok(())
        })?;
        // CoreDNS's weight: a share of 100.
        let weight = 100_u16.checked_div(count).unwrap_or_default().max(1);
        let turn = self.turn;
        each_lead(ports, turn, |lead| self.service(service, lead, weight))?;
        if count > 0 {
            // What does not fit here can be asked for.
            let _ = self.targets(service, ports);
        }
        Ok(())
    }

    /// One SRV record. Its target is written out (RFC 2782).
    fn service(&mut self, service: &ServiceRecords, lead: Lead, weight: u16) -> Result<(), Full> {
        let zone = End::Wire(self.tables.settings.zone.wire());
        let owner = self.place.from(0);
        let (number, host) = match lead {
            Lead::Service(number) => (number, None),
            Lead::Endpoint(target) => (target.number, service.host(target.host)),
        };
        self.write(owner, (kind::SRV, self.ttl()), |writer| {
            [0, weight, number]
                .into_iter()
                .try_for_each(|number| writer.put_u16(number))?;
            match host {
                None => writer.put_name(Name::below([&service.key, SVC, &[]], zone)),
                Some(host) => host.with_label(|label| {
                    writer.put_name(Name::below([label, &service.key, SVC], zone))
                }),
            }
        })
    }

    /// Addresses of what SRV records lead to.
    fn targets(&mut self, service: &'t ServiceRecords, ports: &'t [Port]) -> Result<(), Full> {
        // The Service's own name stands in that of its port.
        let below = self.place.located.below.saturating_sub(3);
        let own = self.place.from(below);
        if ports
            .iter()
            .any(|port| matches!(port.leads, Leads::Service(_)))
        {
            return self.both_families(own, service);
        }
        for (index, port) in ports.iter().enumerate() {
            let earlier = ports.get(..index).unwrap_or_default();
            let Leads::Endpoints(targets) = &port.leads else {
                continue;
            };
            let mut before = None;
            for target in turned(targets, self.turn) {
                let again = before.replace(target.host) == Some(target.host);
                if again || earlier.iter().any(|port| leads_to_host(port, target.host)) {
                    continue;
                }
                if let Some(host) = service.host(target.host) {
                    self.addresses_of_target(own, service, host)?;
                }
            }
        }
        Ok(())
    }

    fn addresses_of_target(
        &mut self,
        service_name: Name<'_>,
        service: &ServiceRecords,
        host: &Host,
    ) -> Result<(), Full> {
        host.with_label(|label| {
            let owner = Name::below([label, &[], &[]], service_name.end);
            let mut hosts = service.hosts_like(host);
            hosts.try_for_each(|host| self.put_address(Section::Additional, owner, host.address))
        })
    }

    /// Names of an address: the Services that have it as ClusterIP, else the endpoints that have it.
    fn pointers(&mut self, owner: Name<'_>, address: IpAddr) -> Result<(), Full> {
        let zone = End::Wire(self.tables.settings.zone.wire());
        let owners = self.tables.owners(address);
        for service in owners.clone() {
            if service.cluster_ips().any(|own| own == address) {
                self.pointer(owner, Name::below([&service.key, SVC, &[]], zone))?;
            }
        }
        if self.written {
            return Ok(());
        }
        for service in owners {
            for host in service.hosts_at(address) {
                host.with_label(|label| {
                    self.pointer(owner, Name::below([label, &service.key, SVC], zone))
                })?;
            }
        }
        Ok(())
    }

    fn pointer(&mut self, owner: Name<'_>, target: Name<'_>) -> Result<(), Full> {
        self.write(owner, (kind::PTR, self.ttl()), |writer| {
            writer.put_name(target)
        })
    }
}

/// Where one SRV record leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    Service(u16),
    Endpoint(Target),
}

/// Every lead of these ports, each once however many ports have it.
fn each_lead(
    ports: &[Port],
    turn: usize,
    mut then: impl FnMut(Lead) -> Result<(), Full>,
) -> Result<(), Full> {
    for (index, port) in ports.iter().enumerate() {
        let earlier = ports.get(..index).unwrap_or_default();
        match &port.leads {
            Leads::Service(number) => {
                if earlier.iter().all(|other| other.leads != port.leads) {
                    then(Lead::Service(*number))?;
                }
            }
            Leads::Endpoints(targets) => {
                for target in turned(targets, turn) {
                    if !earlier.iter().any(|other| leads_to(other, target)) {
                        then(Lead::Endpoint(*target))?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn leads_to(port: &Port, target: &Target) -> bool {
    match &port.leads {
        Leads::Service(_) => false,
        Leads::Endpoints(targets) => targets.binary_search(target).is_ok(),
    }
}

fn leads_to_host(port: &Port, host: u32) -> bool {
    match &port.leads {
        Leads::Service(_) => false,
        Leads::Endpoints(targets) => {
            let first = targets.partition_point(|target| target.host < host);
            targets.get(first).is_some_and(|target| target.host == host)
        }
    }
}
