//! A small cluster, and the queries that can be asked about it.

use core::net::IpAddr;
use portolan::dns::{Config, Outcome, Reader, Transport, Zone};
use portolan::model::{
    EndpointPort, EndpointSlice, ObjectKey, Service, ServicePort, SliceEndpoint, Weights,
};
use portolan::net::{Family, Protocol};

/// The types that are asked for: those that there are, those that are not, and those that are refused.
pub(crate) const KINDS: [u16; 12] = [1, 2, 5, 6, 12, 15, 16, 28, 33, 65, 252, 255];

/// Names of every sort, known and unknown.
pub(crate) const NAMES: [&str; 24] = [
    "web.shop.svc.cluster.local",
    "WEB.Shop.svc.Cluster.local",
    "_http._tcp.web.shop.svc.cluster.local",
    "_tcp.web.shop.svc.cluster.local",
    "db.shop.svc.cluster.local",
    "db-0.db.shop.svc.cluster.local",
    "10-200-0-9.db.shop.svc.cluster.local",
    "fd00-200--9.db.shop.svc.cluster.local",
    "_sql._tcp.db.shop.svc.cluster.local",
    "many.shop.svc.cluster.local",
    "_http._tcp.many.shop.svc.cluster.local",
    "alias.shop.svc.cluster.local",
    "alias-of-alias.shop.svc.cluster.local",
    "outside.shop.svc.cluster.local",
    "round.shop.svc.cluster.local",
    "nosuch.shop.svc.cluster.local",
    "shop.svc.cluster.local",
    "nosuch.svc.cluster.local",
    "dns-version.cluster.local",
    "ns.dns.cluster.local",
    "cluster.local",
    "80.0.96.10.in-addr.arpa",
    "9.0.200.10.in-addr.arpa",
    "www.example.com",
];

pub(crate) fn service(name: &str) -> Service {
    Service {
        key: ObjectKey::new("shop", name),
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..Service::default()
    }
}

pub(crate) fn cluster_ip(name: &str, address: &str) -> Service {
    Service {
        cluster_ips: vec![address.parse().expect("an address")],
        ..service(name)
    }
}

pub(crate) fn headless(name: &str) -> Service {
    Service {
        headless: true,
        ..service(name)
    }
}

pub(crate) fn alias(name: &str, target: &str) -> Service {
    Service {
        external_name: Some(target.into()),
        ..service(name)
    }
}

pub(crate) fn endpoint(address: IpAddr, hostname: Option<&str>) -> SliceEndpoint {
    SliceEndpoint {
        hostname: hostname.map(Into::into),
        ..SliceEndpoint::at(address)
    }
}

pub(crate) fn slice(service: &str, port: &str, endpoints: Vec<SliceEndpoint>) -> EndpointSlice {
    let first = endpoints.first().map(|endpoint| endpoint.address);
    EndpointSlice {
        key: ObjectKey::new("shop", format!("{service}-1")),
        service_name: service.into(),
        headless: false,
        family: first.map_or(Family::Ipv4, Family::of),
        endpoints,
        ports: vec![EndpointPort {
            name: port.into(),
            protocol: Protocol::Tcp,
            port: 8080,
        }],
        weights: Weights::default(),
    }
}

pub(crate) fn config() -> Config {
    Config {
        reverse_zones: vec!["10.in-addr.arpa".into(), "0.0.d.f.ip6.arpa".into()],
        name_server_addresses: vec!["10.96.0.10".parse().expect("an address")],
        ..Config::default()
    }
}

pub(crate) fn put(zone: &mut Zone, service: &Service, slices: &[&EndpointSlice]) {
    zone.put_service(&service.key, Some(service), slices);
}

/// The cluster that [`NAMES`] are about.
pub(crate) fn zone() -> Zone {
    let mut zone = Zone::new(config()).expect("a sound configuration");
    put(&mut zone, &cluster_ip("web", "10.96.0.80"), &[]);
    let ipv4 = |last: u8| IpAddr::from([10, 200, 0, last]);
    let ipv6 = "fd00:200::9".parse().expect("an address");
    let db = [
        slice(
            "db",
            "sql",
            vec![endpoint(ipv4(8), Some("db-0")), endpoint(ipv4(9), None)],
        ),
        slice("db", "sql", vec![endpoint(ipv6, None)]),
    ];
    put(&mut zone, &headless("db"), &db.each_ref());
    let many = (1..=250).map(|last| endpoint(IpAddr::from([10, 200, 1, last]), None));
    let many = slice("many", "http", many.collect());
    put(&mut zone, &headless("many"), &[&many]);
    for (name, target) in [
        ("alias", "many.shop.svc.cluster.local"),
        ("alias-of-alias", "alias.shop.svc.cluster.local"),
        ("outside", "www.example.com"),
        ("round", "round.shop.svc.cluster.local"),
    ] {
        put(&mut zone, &alias(name, target), &[]);
    }
    zone.set_synced(true);
    zone.publish(1).expect("no reader");
    zone
}

/// The bytes of a query; with `edns`, one that says so much fits.
pub(crate) fn query(name: &str, kind: u16, id: u16, edns: Option<u16>) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a label"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    if let Some(size) = edns {
        bytes.extend([0, 0, 41]);
        bytes.extend(size.to_be_bytes());
        bytes.extend([0; 6]);
    }
    bytes
}

/// Every name with every type, with and without EDNS.
pub(crate) fn queries() -> Vec<Vec<u8>> {
    let names = NAMES.iter().flat_map(|name| KINDS.map(|kind| (name, kind)));
    names
        .flat_map(|(name, kind)| {
            [None, Some(700), Some(4096)].map(|edns| query(name, kind, kind ^ 0x5052, edns))
        })
        .collect()
}

/// The reply's bytes, if there is one.
pub(crate) fn reply<'r>(
    reader: &mut Reader,
    query: &[u8],
    transport: Transport,
    room: &'r mut [u8],
) -> Option<&'r [u8]> {
    match reader.answer(query, transport, room) {
        Outcome::Reply(length) | Outcome::Onward(length) => {
            Some(room.get(..length).expect("no longer than there is room"))
        }
        Outcome::NotOurs | Outcome::Silent => None,
    }
}
