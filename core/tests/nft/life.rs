//! Tables from first to last: made, changed, taken over, damaged, repaired, deleted.

use std::collections::BTreeSet;
use std::process::Command;

use core::net::SocketAddr;
use portolan::nft::{NftCommand, Table, TableOptions, cleanup};
use portolan::packet::build;

use crate::kernel::{Made, in_namespace};
use crate::scene::{CLIENT, NODE, Scene, connect, open};

/// Runs `nft`, which must refuse; what it says.
pub(crate) fn refused_by_nft(arguments: &str) -> String {
    let mut command = Command::new("nft");
    let output = command.arg(arguments).output().expect("nft runs");
    assert!(!output.status.success(), "nft {arguments} is not refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `nft`, and returns what it says.
pub(crate) fn nft(arguments: &str) -> String {
    let mut command = Command::new("nft");
    let output = command.arg(arguments).output().expect("nft runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {arguments}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_change_costs_what_it_changes_however_many_services_there_are() {
    in_namespace(
        "a_change_costs_what_it_changes_however_many_services_there_are",
        || {
            let mut scene = Scene::new();
            let mut table = open();
            for (first, last) in [(0, 10), (10, 2_000)] {
                for number in first..last {
                    scene.put(number, &[1, 2, 3, 4, 5], None);
                }
                scene.sync(&mut table);
                for (endpoints, limit) in [
                    // Another endpoint in the slot of the one that leaves.
                    (&[1, 2, 3, 4, 6][..], 3),
                    // One slot more, and the new number of slots at both frontends.
                    (&[1, 2, 3, 4, 6, 7], 6),
                    (&[1, 2, 3, 4, 6], 6),
                    (&[1, 2, 3, 4, 5], 3),
                ] {
                    let before = table.stats();
                    scene.put(7, endpoints, None);
                    table.sync(&scene.node, scene.now).expect("committed");
                    let after = table.stats();
                    assert_eq!(after.transactions - before.transactions, 1, "{endpoints:?}");
                    assert!(
                        after.operations - before.operations <= limit,
                        "{endpoints:?}"
                    );
                }
                scene.sync(&mut table);
                let before = table.stats();
                scene.put(3_000, &[9], None);
                scene.sync(&mut table);
                scene.delete(3_000);
                scene.sync(&mut table);
                let operations = table.stats().operations - before.operations;
                assert!(
                    operations <= 8,
                    "{operations} for a Service that came and went"
                );
            }
        },
    );
}

#[test]
fn another_process_takes_the_tables_over_as_they_are() {
    in_namespace("another_process_takes_the_tables_over_as_they_are", || {
        let mut scene = Scene::new();
        let mut wire = scene.wire();
        scene.put(1, &[1, 2, 3], None);
        scene.put(2, &[4, 5], Some(600));
        let mut table = open();
        scene.sync(&mut table);
        // Places that differ from those that a fresh table would give.
        scene.put(1, &[2, 3, 7], None);
        scene.sync(&mut table);
        let kept = connect(&mut wire, CLIENT, 1_000, "10.96.0.2:80");
        let text = table.text();
        drop(table);

        let mut table = open();
        scene.sync(&mut table);
        assert_eq!(table.stats().operations, 0);
        assert_eq!(table.text(), text);
        for port in 1_001..1_020 {
            assert_eq!(connect(&mut wire, CLIENT, port, "10.96.0.2:80"), kept);
        }
        drop(table);

        // What changed in between is all that is sent.
        scene.put(1, &[2, 3], None);
        let mut table = open();
        scene.sync(&mut table);
        assert!((1..=8).contains(&table.stats().operations));
        let endpoint = connect(&mut wire, CLIENT, 2_000, "10.96.0.1:80");
        assert!(matches!(endpoint, Some(2 | 3)));
    });
}

#[test]
fn a_withdrawn_table_is_in_nobodys_way_and_serves_again() {
    in_namespace(
        "a_withdrawn_table_is_in_nobodys_way_and_serves_again",
        || {
            let mut scene = Scene::new();
            let mut wire = scene.wire();
            scene.put(1, &[1], None);
            scene.put(2, &[], None);
            let mut table = open();
            scene.sync(&mut table);
            let syn = |port: u16, to: &str| {
                let to: SocketAddr = to.parse().expect("an address and a port");
                build::tcp(
                    SocketAddr::new(CLIENT.parse().expect("an address"), port),
                    to,
                )
                .syn()
                .build()
            };
            assert_eq!(wire.send(&syn(1, "10.96.0.1:81")), Made::Rejected);
            assert_eq!(wire.send(&syn(2, "10.96.0.2:80")), Made::Rejected);
            assert_eq!(wire.send(&syn(3, "10.96.0.3:80")), Made::Nothing);
            table.withdraw(scene.now).expect("withdrawn");
            // At once, before anything is retired.
            for (port, to) in (10..).zip([
                "10.96.0.1:80",
                "10.96.0.1:81",
                "10.96.0.2:80",
                "10.96.0.3:80",
            ]) {
                assert_eq!(wire.send(&syn(port, to)), Made::Same, "{to}");
            }
            scene.sync(&mut table);
            assert_eq!(connect(&mut wire, CLIENT, 20, "10.96.0.1:80"), Some(1));
            assert_eq!(wire.send(&syn(21, "10.96.0.1:81")), Made::Rejected);
        },
    );
}

#[test]
fn what_others_do_to_the_tables_is_repaired() {
    in_namespace("what_others_do_to_the_tables_is_repaired", || {
        let mut scene = Scene::new();
        let mut wire = scene.wire();
        for number in 1..20 {
            scene.put(number, &[1, 2, 3], (number % 2 == 0).then_some(600));
        }
        let mut table = open();
        scene.sync(&mut table);
        let mut port = 0;
        for (damage, serves_meanwhile) in [
            ("flush ruleset", false),
            ("delete table ip portolan", false),
            ("flush map ip portolan services", false),
            ("delete element ip portolan slots { 0.0.16.0 . 1 }", true),
            ("add element ip portolan cluster-ips { 192.0.2.1 }", true),
            ("flush chain ip portolan prerouting", false),
            ("flush chain ip portolan pick-3", false),
            ("delete chain ip portolan postrouting", true),
            ("insert rule ip portolan pick-3 drop", false),
        ] {
            nft(damage);
            port += 100;
            let served = connect(&mut wire, CLIENT, port, "10.96.0.1:80");
            assert_eq!(served.is_some(), serves_meanwhile, "{damage}");
            table.poll(scene.later()).expect(damage);
            // Once more for what repairing condemned.
            table.poll(scene.later()).expect(damage);
            for number in 1..20 {
                let to = format!("10.96.0.{number}:80");
                let endpoint = connect(&mut wire, CLIENT, port + number, &to);
                assert!(
                    matches!(endpoint, Some(1..=3)),
                    "{damage}: {to}: {endpoint:?}"
                );
            }
            let repaired = table.stats().repairs;
            table.poll(scene.later()).expect("nothing to do");
            assert_eq!(table.stats().repairs, repaired, "{damage}: repaired once");
        }
        assert!(!nft("list set ip portolan cluster-ips").contains("192.0.2.1"));
    });
}

#[test]
fn constant_sets_that_others_change_are_made_again() {
    in_namespace("constant_sets_that_others_change_are_made_again", || {
        let mut scene = Scene::new();
        let mut wire = scene.wire();
        scene.put(1, &[1], None);
        scene.put(2, &[2], Some(600));
        let mut table = open();
        scene.sync(&mut table);
        let mut port = 0;
        for (family, other) in [("ip", "255.0.0.1"), ("ip6", "ffff::1")] {
            for (kind, name, other) in [
                ("map", "kinds", other),
                ("map", "kinds-of-sets", other),
                ("map", "sizes", other),
                ("set", "twice", "7 . 8"),
            ] {
                let of = format!("{family} portolan {name}");
                // Whatever order the kernel has them in.
                let elements = || {
                    let said = nft(&format!("list {kind} {of}"));
                    let (_, elements) = said.split_once("elements = {").unwrap_or_default();
                    let elements = elements.replace(['}', '\n', '\t'], " ");
                    let each = elements.split(',').map(|one| one.trim().to_owned());
                    each.filter(|one| !one.is_empty())
                        .collect::<BTreeSet<String>>()
                };
                let whole = elements();
                assert!(whole.len() > 10, "{of}: {whole:?}");
                // One of them, and the same under another key.
                let one = whole.first().expect("there are several");
                let moved = match one.split_once(" : ") {
                    Some((_, verdict)) => format!("{other} : {verdict}"),
                    None => other.to_owned(),
                };
                for damage in [
                    format!("flush {kind} {of}"),
                    format!("delete element {of} {{ {one} }}"),
                    format!("delete element {of} {{ {one} }}; add element {of} {{ {moved} }}"),
                ] {
                    nft(&damage);
                    assert_ne!(elements(), whole, "{damage}");
                    table.poll(scene.later()).expect(&damage);
                    assert_eq!(elements(), whole, "{damage}");
                    port += 1;
                    for (service, endpoint) in [("10.96.0.1:80", 1), ("10.96.0.2:80", 2)] {
                        let served = connect(&mut wire, CLIENT, port, service);
                        assert_eq!(served, Some(endpoint), "{damage}");
                    }
                    // Once more for what `nft` did on our behalf.
                    table.poll(scene.later()).expect(&damage);
                    let repairs = table.stats().repairs;
                    table.poll(scene.later()).expect("nothing to do");
                    assert_eq!(table.stats().repairs, repairs, "{damage}: repaired once");
                }
            }
        }
    });
}

#[test]
fn tables_that_were_damaged_while_nobody_kept_them_are_made_anew() {
    in_namespace(
        "tables_that_were_damaged_while_nobody_kept_them_are_made_anew",
        || {
            let mut scene = Scene::new();
            let mut wire = scene.wire();
            scene.put(1, &[1], None);
            scene.put(2, &[2], Some(600));
            scene.put(3, &[3], Some(30));
            scene.sync(&mut open());
            let mut port = 0;
            for damage in [
                "flush chain ip portolan prerouting",
                "insert rule ip portolan pick-1 drop",
                "flush map ip portolan kinds",
                "flush set ip portolan twice; flush set ip6 portolan twice",
            ] {
                nft(damage);
                let mut table = open();
                scene.sync(&mut table);
                for (number, service) in (1..).zip(["10.96.0.1:80", "10.96.0.2:80", "10.96.0.3:80"])
                {
                    port += 1;
                    let served = connect(&mut wire, CLIENT, port, service);
                    assert_eq!(served, Some(number), "{damage}");
                }
                // Nothing is left of what served meanwhile.
                table.poll(scene.later()).expect(damage);
                assert_eq!(nft("list tables").lines().count(), 2, "{damage}");
            }
        },
    );
}

#[test]
fn foreign_tables_are_left_alone() {
    in_namespace("foreign_tables_are_left_alone", || {
        nft(
            "table ip portolan-of-mine { chain c { type nat hook postrouting priority 100; masquerade; }; }",
        );
        let foreign = nft("list ruleset");
        let mut scene = Scene::new();
        scene.put(1, &[1], None);
        let mut table = open();
        scene.sync(&mut table);
        table.delete().expect("deleted");
        assert_eq!(nft("list ruleset"), foreign);
        cleanup(&NftCommand::default(), "portolan").expect("nothing to delete is no error");
        assert_eq!(nft("list ruleset"), foreign);
    });
}

#[test]
fn the_text_of_the_tables_is_what_nft_loads() {
    in_namespace("the_text_of_the_tables_is_what_nft_loads", || {
        let mut scene = Scene::new();
        let mut wire = scene.wire();
        for number in 1..20 {
            scene.put(number, &[1, 2, 3], (number % 2 == 0).then_some(600));
        }
        let mut table = open();
        scene.sync(&mut table);
        let text = table.text();
        table.delete().expect("deleted");
        assert_eq!(connect(&mut wire, CLIENT, 1, "10.96.0.1:80"), None);

        // The slow road gives the same.
        let mut table = Table::open(TableOptions {
            nft_only: true,
            ..TableOptions::default()
        })
        .expect("nftables");
        scene.sync(&mut table);
        assert_eq!(table.text(), text);
        scene.put(1, &[2], None);
        scene.sync(&mut table);
        assert_eq!(connect(&mut wire, CLIENT, 2, "10.96.0.1:80"), Some(2));
        drop(table);

        // So does nft by itself, and whoever comes then finds nothing to do.
        scene.put(1, &[1, 2, 3], None);
        nft("flush ruleset");
        nft(&text);
        let mut table = open();
        scene.sync(&mut table);
        assert_eq!(table.stats().operations, 0);
        assert!(connect(&mut wire, CLIENT, 3, "10.96.0.1:80").is_some());
    });
}

#[test]
fn a_client_keeps_its_endpoint_at_every_frontend_until_that_goes() {
    in_namespace(
        "a_client_keeps_its_endpoint_at_every_frontend_until_that_goes",
        || {
            let mut scene = Scene::new();
            let mut wire = scene.wire();
            let all = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
            scene.put(1, &all, Some(600));
            let mut table = open();
            scene.sync(&mut table);
            let frontends = ["10.96.0.1:80".to_owned(), format!("{NODE}:30001")];
            let mut kept = Vec::new();
            for client in 1..=40 {
                let from = format!("172.20.0.{client}");
                let first = connect(&mut wire, &from, 1_000, &frontends[0]);
                for port in 1_001..1_006 {
                    for frontend in &frontends {
                        assert_eq!(connect(&mut wire, &from, port, frontend), first, "{from}");
                    }
                }
                kept.push((from, first));
            }
            let used: BTreeSet<_> = kept.iter().map(|(_, endpoint)| *endpoint).collect();
            assert!(used.len() > 6, "clients are spread: {used:?}");
            // Endpoints that come and go move nobody whose endpoint stays.
            for endpoints in [&all[..9], &all[2..9], &[3, 9, 20, 21], &[3, 22]] {
                scene.put(1, endpoints, Some(600));
                scene.sync(&mut table);
                for (from, endpoint) in &mut kept {
                    let now = connect(
                        &mut wire,
                        from,
                        2_000 + u16::from(endpoints[1]),
                        &frontends[0],
                    );
                    assert!(now.is_some_and(|now| endpoints.contains(&now)));
                    if endpoint.is_some_and(|endpoint| endpoints.contains(&endpoint)) {
                        assert_eq!(now, *endpoint, "{from}");
                    }
                    *endpoint = now;
                }
            }
        },
    );
}
