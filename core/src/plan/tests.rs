//! What a change costs: how many Services are looked at.

use super::*;
use crate::model::{EndpointSlice, Kind, ObjectKey, Service, ServicePort};
use crate::net::{Family, Generation, Protocol};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::cell::Cell;
use core::net::{IpAddr, Ipv4Addr};

/// Services that count how often they are read.
struct Counted {
    services: Vec<Service>,
    slices: Vec<Vec<EndpointSlice>>,
    reads: Cell<u32>,
}

impl Objects for Counted {
    fn of_service(&self, number: ServiceNumber) -> ServiceObjects<'_> {
        self.reads.set(self.reads.get() + 1);
        let position = number.0 as usize;
        ServiceObjects {
            service: self.services.get(position),
            slices: self.slices[position].iter().collect(),
            slice_kind: Kind::EndpointSlice,
        }
    }
}

fn service(number: u32) -> Service {
    Service {
        key: ObjectKey::new("default", format!("service-{number}")),
        created: Some(i64::from(number)),
        cluster_ips: vec![IpAddr::V4(Ipv4Addr::from_bits(0x0a60_0000 + number))],
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..Service::default()
    }
}

fn numbers(count: u32) -> Vec<ServiceNumber> {
    (0..count).map(ServiceNumber).collect()
}

#[test]
fn a_changed_service_is_looked_at_twice_and_no_other_at_all_however_many_there_are() {
    for count in [10, 1_000] {
        let mut objects = Counted {
            services: (0..count).map(service).collect(),
            slices: (0..count).map(|_| Vec::new()).collect(),
            reads: Cell::new(0),
        };
        let mut planner = Planner::default();
        let policy = Policy::new(&NodeConfig::default(), None);
        planner.update(&objects, Some(policy), &numbers(count));
        assert_eq!(planner.plan().port_count(), count as usize);
        let seen = planner.generation();

        objects.reads.set(0);
        objects.services[3].affinity_seconds = Some(60);
        let touched = planner.update(&objects, None, &[ServiceNumber(3)]);
        assert_eq!(touched, [ServiceNumber(3)]);
        assert_eq!(objects.reads.get(), 2);
        assert_eq!(planner.changes(seen).changes.len(), 1);

        // An address that another has: that other one is looked at too, to be told or to yield.
        objects.reads.set(0);
        objects.services[3].cluster_ips = service(2).cluster_ips;
        let touched = planner.update(&objects, None, &[ServiceNumber(3)]);
        assert_eq!(touched, [ServiceNumber(3)]);
        objects.services[1].cluster_ips = service(2).cluster_ips;
        let touched = planner.update(&objects, None, &[ServiceNumber(1)]);
        assert_eq!(touched, [1, 2, 3].map(ServiceNumber));
        assert_eq!(objects.reads.get(), 2 + 4);
        assert_eq!(planner.rejections().count(), 2);
    }
}

#[test]
fn a_change_that_the_plan_does_not_show_is_no_generation() {
    let mut objects = Counted {
        services: (0..4).map(service).collect(),
        slices: (0..4).map(|_| Vec::new()).collect(),
        reads: Cell::new(0),
    };
    let mut planner = Planner::default();
    let policy = Policy::new(&NodeConfig::default(), None);
    planner.update(&objects, Some(policy.clone()), &numbers(4));
    assert_eq!(planner.generation(), Generation(1));
    objects.services[0].publish_not_ready_addresses = true;
    planner.update(&objects, Some(policy), &numbers(4));
    assert_eq!(planner.generation(), Generation(1));
    let key = planner.plan().ports().next().expect("four ports").0;
    assert_eq!(format!("{key}"), "default/service-0:http TCP IPv4");
    assert_eq!(key.family, Family::Ipv4);
}

#[test]
fn as_many_removals_as_are_promised_are_remembered_and_not_one_more() {
    const KEPT: usize = 4_096;
    let count = KEPT as u32 + 1;
    let mut objects = Counted {
        services: (0..count).map(service).collect(),
        slices: (0..count).map(|_| Vec::new()).collect(),
        reads: Cell::new(0),
    };
    let mut planner = Planner::default();
    let policy = Policy::new(&NodeConfig::default(), None);
    planner.update(&objects, Some(policy), &numbers(count));
    let all = planner.generation();
    for number in (1..count).rev() {
        objects.services.pop();
        planner.update(&objects, None, &[ServiceNumber(number)]);
    }
    let changes = planner.changes(all);
    assert!(!changes.full);
    assert_eq!(changes.changes.len(), KEPT);
    objects.services.pop();
    planner.update(&objects, None, &[ServiceNumber(0)]);
    assert!(planner.changes(all).full, "the first removal is forgotten");
    let later = planner.changes(Generation(all.0 + 1));
    assert!(!later.full);
    assert_eq!(later.changes.len(), KEPT);
}
