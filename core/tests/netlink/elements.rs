//! Every shape of element that a Service needs, there and back.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::sync::Arc;

use portolan::net::Family;
use portolan::nft::netlink::{Outcome, Socket};
use portolan::nft::{Bytes, Element, Operation, Set};

use crate::kernel::{add, declare, in_namespace, listed, nft, read, transaction};

fn address(family: Family, last: u8) -> IpAddr {
    match family {
        Family::Ipv4 => [10, 96, 0, last].into(),
        Family::Ipv6 => Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// For each set its elements, sorted.
fn every_shape(family: Family) -> Vec<(Set, Vec<Element>)> {
    let ip = |last| Bytes::new().address(address(family, last));
    let frontend = |last| ip(last).protocol(6).port(80);
    let range = |set, first, last| Element {
        end: Some(last),
        ..Element::new(set, first)
    };
    let services = Element {
        comment: Some(Arc::from("ns/web:http")),
        ..Element::mapping(Set::Services, frontend(1), ip(77))
    };
    let slots = [0, 1].map(|slot| {
        Element::mapping(
            Set::Slots,
            ip(77).slot(slot),
            ip(8).port(8080 + slot as u16),
        )
    });
    let fleeting = Element {
        timeout: Some(Duration::from_secs(3_600)),
        ..Element::mapping(Set::StickyEndpoints, ip(78), ip(8).port(8080))
    };
    let guarded = |last| frontend(1).address(address(family, last));
    let sctp = ip(1).protocol(132).port(30_053);
    let interface = |name| Bytes::new().interface(name);
    vec![
        (Set::Services, vec![services]),
        (Set::Slots, slots.into()),
        (
            Set::Tickets,
            vec![Element::mapping(Set::Tickets, ip(77), ip(78))],
        ),
        (Set::StickyEndpoints, vec![fleeting]),
        (Set::ClusterIps, vec![Element::new(Set::ClusterIps, ip(1))]),
        (Set::Masqueraded, vec![Element::new(Set::Masqueraded, sctp)]),
        (
            Set::Allowed,
            vec![
                range(Set::Allowed, guarded(0), guarded(15)),
                Element::new(Set::Allowed, guarded(77)),
            ],
        ),
        (
            Set::Pods,
            vec![
                range(Set::Pods, ip(16), ip(31)),
                range(Set::Pods, ip(32), ip(47)),
                Element::new(Set::Pods, ip(77)),
            ],
        ),
        (
            Set::PodInterfaces,
            vec![
                Element::new(Set::PodInterfaces, interface("cni0")),
                range(
                    Set::PodInterfaces,
                    interface("veth"),
                    Bytes::new().last_interface("veth"),
                ),
            ],
        ),
    ]
}

#[test]
fn what_is_sent_is_what_is_read_back() {
    in_namespace("what_is_sent_is_what_is_read_back", || {
        for family in [Family::Ipv4, Family::Ipv6] {
            declare(family);
            let mut socket = Socket::open().unwrap();
            for (set, elements) in every_shape(family) {
                add(&mut socket, family, &elements);
                assert_eq!(read(&mut socket, family, set), elements, "{set}");
            }
        }
    });
}

#[test]
fn what_is_sent_is_what_nft_lists() {
    in_namespace("what_is_sent_is_what_nft_lists", || {
        declare(Family::Ipv4);
        let mut socket = Socket::open().unwrap();
        for (_, elements) in every_shape(Family::Ipv4) {
            add(&mut socket, Family::Ipv4, &elements);
        }
        for (what, expected) in [
            (
                "map ip t services",
                "10.96.0.1 . tcp . 80 comment \"ns/web:http\" : 10.96.0.77",
            ),
            ("map ip t slots", "10.96.0.77 . 0 : 10.96.0.8 . 8080"),
            ("map ip t slots", "10.96.0.77 . 1 : 10.96.0.8 . 8081"),
            ("map ip t tickets", "{ 10.96.0.77 : 10.96.0.78 }"),
            (
                "map ip t sticky-endpoints",
                "10.96.0.78 timeout 1h expires ",
            ),
            ("set ip t cluster-ips", "elements = { 10.96.0.1 }"),
            ("set ip t masqueraded", "{ 10.96.0.1 . sctp . 30053 }"),
            ("set ip t allowed", "10.96.0.1 . tcp . 80 . 10.96.0.0/28"),
            ("set ip t allowed", "10.96.0.1 . tcp . 80 . 10.96.0.77"),
            (
                "set ip t pods",
                "{ 10.96.0.16/28, 10.96.0.32/28, 10.96.0.77 }",
            ),
            ("set ip t pod-interfaces", "\"cni0\""),
            ("set ip t pod-interfaces", "\"veth*\""),
        ] {
            let text = listed(what);
            assert!(
                text.contains(expected),
                "{what}: no `{expected}` in\n{text}"
            );
        }
    });
}

#[test]
fn what_nft_writes_is_what_is_read() {
    in_namespace("what_nft_writes_is_what_is_read", || {
        for (family, text) in [
            (
                Family::Ipv4,
                "add element ip t services { 10.96.0.1 . tcp . 80 comment \"ns/web:http\" : 10.96.0.77 }
                add element ip t slots { 10.96.0.77 . 0 : 10.96.0.8 . 8080,
                  10.96.0.77 . 1 : 10.96.0.8 . 8081 }
                add element ip t tickets { 10.96.0.77 : 10.96.0.78 }
                add element ip t sticky-endpoints { 10.96.0.78 timeout 1h : 10.96.0.8 . 8080 }
                add element ip t cluster-ips { 10.96.0.1 }
                add element ip t masqueraded { 10.96.0.1 . sctp . 30053 }
                add element ip t allowed { 10.96.0.1 . tcp . 80 . 10.96.0.0/28,
                  10.96.0.1 . tcp . 80 . 10.96.0.77 }
                add element ip t pods { 10.96.0.16/28, 10.96.0.32/28, 10.96.0.77 }
                add element ip t pod-interfaces { cni0, \"veth*\" }",
            ),
            (
                Family::Ipv6,
                "add element ip6 t services { fd96::1 . tcp . 80 comment \"ns/web:http\" : fd96::4d }
                add element ip6 t slots { fd96::4d . 0 : fd96::8 . 8080, fd96::4d . 1 : fd96::8 . 8081 }
                add element ip6 t tickets { fd96::4d : fd96::4e }
                add element ip6 t sticky-endpoints { fd96::4e timeout 1h : fd96::8 . 8080 }
                add element ip6 t cluster-ips { fd96::1 }
                add element ip6 t masqueraded { fd96::1 . sctp . 30053 }
                add element ip6 t allowed { fd96::1 . tcp . 80 . fd96::/124,
                  fd96::1 . tcp . 80 . fd96::4d }
                add element ip6 t pods { fd96::10/124, fd96::20/124, fd96::4d }
                add element ip6 t pod-interfaces { cni0, \"veth*\" }",
            ),
        ] {
            declare(family);
            nft(text);
            let mut socket = Socket::open().unwrap();
            for (set, elements) in every_shape(family) {
                assert_eq!(read(&mut socket, family, set), elements, "{set}");
            }
        }
    });
}

#[test]
fn every_shape_can_be_deleted() {
    in_namespace("every_shape_can_be_deleted", || {
        for family in [Family::Ipv4, Family::Ipv6] {
            declare(family);
            let mut socket = Socket::open().unwrap();
            for (set, elements) in every_shape(family) {
                add(&mut socket, family, &elements);
                let operations = elements.into_iter().map(Operation::Delete).collect();
                let outcome = socket.commit(&transaction(family, operations)).unwrap();
                assert_eq!(outcome, Outcome::Committed, "{set}");
                assert_eq!(read(&mut socket, family, set), [], "{set}");
            }
        }
    });
}

#[test]
fn one_transaction_replaces_what_a_map_says() {
    in_namespace("one_transaction_replaces_what_a_map_says", || {
        declare(Family::Ipv4);
        let mut socket = Socket::open().unwrap();
        let ip = |last| Bytes::new().address(address(Family::Ipv4, last));
        let slot = |last| Element::mapping(Set::Slots, ip(77).slot(0), ip(last).port(80));
        add(&mut socket, Family::Ipv4, &[slot(8)]);
        let operations = vec![Operation::Delete(slot(8)), Operation::Add(slot(9))];
        let replacing = transaction(Family::Ipv4, operations);
        assert_eq!(socket.commit(&replacing).unwrap(), Outcome::Committed);
        assert_eq!(read(&mut socket, Family::Ipv4, Set::Slots), [slot(9)]);
    });
}
