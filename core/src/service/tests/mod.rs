//! The table against a plain model, at its limits, and in what an edit costs.

mod address_marks;
mod affinity;
mod limits;
mod lists;
mod model;
mod schedulers;
mod selection;

use super::*;
use crate::net::{Address, EndpointId, Protocol, ServiceId, Tuple};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::IpAddr;

const CLUSTER: SourceRule = SourceRule {
    set: EndpointSet::Cluster,
    masquerade: false,
};
const LOCAL: SourceRule = SourceRule {
    set: EndpointSet::Local,
    masquerade: true,
};

fn address(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn frontend(at: IpAddr, port: u16) -> Frontend {
    Frontend {
        address: at,
        port,
        kind: FrontendKind::ClusterIp,
        rules: [CLUSTER, CLUSTER, LOCAL],
        source_ranges: Vec::new(),
    }
}

fn endpoint(at: IpAddr, port: u16) -> EndpointSpec {
    EndpointSpec {
        address: at,
        port,
        local: false,
        in_cluster_set: true,
        in_local_set: false,
        weight: 1,
        tag: 0,
    }
}

fn numbered(base: &str, number: u32) -> IpAddr {
    match address(base) {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() + number).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() + u128::from(number)).into()),
    }
}

/// ServicePort number `number` with its own ClusterIP and so many endpoints.
fn spec(number: u32, endpoints: u32) -> ServiceSpec {
    let at = |count| endpoint(numbered("10.200.0.0", number * 64 + count), 8080);
    ServiceSpec {
        protocol: Protocol::Tcp,
        frontends: vec![frontend(numbered("10.96.0.0", number), 80)],
        endpoints: (0..endpoints).map(at).collect(),
        affinity_seconds: None,
        schedule: Schedule::default(),
    }
}

fn put(id: u32, spec: ServiceSpec) -> Edit {
    Edit::Put(ServiceId(id), spec.into())
}

fn small() -> TableLimits {
    TableLimits {
        services: 8,
        frontends: 12,
        endpoints: 40,
        source_ranges: 6,
        hash_buckets: 4_096,
    }
}

fn table(limits: TableLimits) -> Table {
    Table::new(&limits, 7).expect("a small table")
}

fn apply(table: &mut Table, edit: &Edit) -> Effects {
    let mut effects = Effects::default();
    table.apply(edit, &mut effects).expect("within the limits");
    effects
}

fn tuple<A: Address>(source: A, destination: A, port: u16, protocol: Protocol) -> Tuple<A> {
    Tuple {
        source,
        destination,
        source_port: 40_000,
        destination_port: port,
        protocol,
    }
}

fn draw<'packet, A>(
    tuple: &'packet Tuple<A>,
    random: u64,
    balance: &'packet Balance,
) -> Draw<'packet, A> {
    Draw {
        tuple,
        random,
        now: 0,
        balance,
        peek: false,
    }
}
