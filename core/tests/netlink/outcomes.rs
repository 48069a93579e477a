//! What the kernel says to batches that are wrong, late or large, and what it tells of others.

use portolan::net::Family;
use portolan::nft::netlink::{Batch, Monitor, Notice, Outcome, Refusal, Socket};
use portolan::nft::{Bytes, Element, Operation, Set, Transaction};

use crate::kernel::{TABLE, add, declare, in_namespace, nft, read, transaction};

const FAMILY: Family = Family::Ipv4;

fn numbered(set: Set, number: u32) -> Element {
    Element::new(set, Bytes::new().address(number.to_be_bytes()))
}

fn cluster_ip(number: u32) -> Element {
    numbered(Set::ClusterIps, number)
}

fn adding(numbers: core::ops::Range<u32>) -> Vec<Operation> {
    numbers.map(cluster_ip).map(Operation::Add).collect()
}

fn refusals(socket: &mut Socket, operations: Vec<Operation>) -> Vec<Refusal> {
    let outcome = socket.commit(&transaction(FAMILY, operations)).unwrap();
    let Outcome::Refused(refusals) = outcome else {
        panic!("{outcome:?}")
    };
    refusals
}

#[test]
fn a_refusal_names_the_operation_among_thousands_and_nothing_is_in_force() {
    in_namespace("a_refusal_names_the_operation_among_thousands", || {
        declare(FAMILY);
        let mut socket = Socket::open().unwrap();
        add(&mut socket, FAMILY, &[cluster_ip(7)]);
        let mut wanted = adding(100..6_000);
        wanted.insert(4_321, Operation::Delete(cluster_ip(50)));
        let refusals = refusals(&mut socket, wanted);
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        let place = (refusals[0].operation, refusals[0].errno);
        assert_eq!(place, (Some(4_321), libc::ENOENT));
        assert_eq!(read(&mut socket, FAMILY, Set::ClusterIps), [cluster_ip(7)]);
    });
}

#[test]
fn other_data_under_a_key_that_is_there_is_refused_and_located() {
    in_namespace("other_data_under_a_key_that_is_there", || {
        declare(FAMILY);
        let mut socket = Socket::open().unwrap();
        let ticket = |key: u32, data: u32| {
            let bytes = |number: u32| Bytes::new().address(number.to_be_bytes());
            Operation::Add(Element::mapping(Set::Tickets, bytes(key), bytes(data)))
        };
        let first = transaction(FAMILY, vec![ticket(5, 1)]);
        assert_eq!(socket.commit(&first).unwrap(), Outcome::Committed);
        let wanted = (1..10).map(|key| ticket(key, 2)).collect();
        let refusals = refusals(&mut socket, wanted);
        assert_eq!(refusals[0].operation, Some(4));
        // Which one depends on the kernel's version.
        assert!([libc::EEXIST, libc::EBUSY].contains(&refusals[0].errno));
    });
}

#[test]
fn overlapping_ranges_are_refused_and_located() {
    in_namespace("overlapping_ranges_are_refused_and_located", || {
        declare(FAMILY);
        let mut socket = Socket::open().unwrap();
        let range = |first: u32, last: u32| {
            let end = Some(Bytes::new().address(last.to_be_bytes()));
            Operation::Add(Element {
                end,
                ..numbered(Set::Pods, first)
            })
        };
        let wanted = vec![range(100, 200), range(300, 400), range(150, 250)];
        let refusals = refusals(&mut socket, wanted);
        assert_eq!(refusals[0].operation, Some(2), "{refusals:?}");
        assert_eq!(read(&mut socket, FAMILY, Set::Pods), []);
    });
}

#[test]
fn a_set_that_is_not_there_is_the_refusal_of_all_its_operations() {
    in_namespace("a_set_that_is_not_there", || {
        declare(FAMILY);
        let mut socket = Socket::open().unwrap();
        let direct = |number| Operation::Add(numbered(Set::Direct, number));
        let refusals = refusals(&mut socket, (1..4).map(direct).collect());
        let place = (refusals[0].operation, refusals[0].errno);
        assert_eq!(place, (None, libc::ENOENT));
        assert!(socket.elements(FAMILY, TABLE, Set::Direct).is_err());
    });
}

#[test]
fn a_batch_for_a_generation_is_superseded_by_any_commit() {
    in_namespace("a_batch_for_a_generation_is_superseded", || {
        declare(FAMILY);
        let mut socket = Socket::open().unwrap();
        let generation = socket.generation().unwrap();
        let for_generation = |number| {
            let family = FAMILY;
            let operations = vec![Operation::Add(cluster_ip(number))];
            let transaction = Transaction { family, operations };
            Batch::new(&transaction, TABLE, Some(generation)).unwrap()
        };
        let first = socket.commit(&for_generation(1)).unwrap();
        assert_eq!(first, Outcome::Committed);
        let second = socket.commit(&for_generation(2)).unwrap();
        assert_eq!(second, Outcome::Superseded);
        assert_eq!(socket.generation().unwrap(), generation + 1);
        assert_eq!(read(&mut socket, FAMILY, Set::ClusterIps), [cluster_ip(1)]);
    });
}

#[test]
fn a_batch_of_megabytes_is_sent_whole_and_read_back_whole() {
    in_namespace("a_batch_of_megabytes_is_sent_whole", || {
        declare(FAMILY);
        let mut socket = Socket::open().unwrap();
        let all = transaction(FAMILY, adding(1..100_001));
        assert!(all.bytes().len() > 1 << 20);
        assert_eq!(socket.commit(&all).unwrap(), Outcome::Committed);
        let expected: Vec<_> = (1..100_001).map(cluster_ip).collect();
        assert!(read(&mut socket, FAMILY, Set::ClusterIps) == expected);
    });
}

/// Who did something, and the table or the generation.
fn heard(monitor: &mut Monitor) -> Vec<(u32, String)> {
    let mut heard = Vec::new();
    let note = |notice: Notice<'_>| match notice {
        Notice::Touched { port, table, .. } => heard.push((port, table.to_owned())),
        Notice::Generation { port, generation } => heard.push((port, generation.to_string())),
        Notice::Lost | _ => panic!("{notice:?}"),
    };
    monitor.hear(note).unwrap();
    heard
}

#[test]
fn every_commit_is_heard_with_its_table_and_its_author() {
    in_namespace("every_commit_is_heard", || {
        declare(FAMILY);
        let mut monitor = Monitor::open().unwrap();
        let mut socket = Socket::open().unwrap();
        let own = socket.port();
        add(&mut socket, FAMILY, &[cluster_ip(1)]);
        let generation = socket.generation().unwrap();
        let expected = [(own, TABLE.to_owned()), (own, generation.to_string())];
        assert_eq!(heard(&mut monitor), expected);

        nft("flush ruleset");
        let foreign = heard(&mut monitor);
        assert!(foreign.iter().all(|(port, _)| *port != own), "{foreign:?}");
        let first = foreign.first().map(|(_, table)| table.as_str());
        assert_eq!(first, Some(TABLE));
        let last = foreign.last().map(|(_, generation)| generation.clone());
        assert_eq!(last, Some((generation + 1).to_string()));
    });
}

#[test]
fn events_that_were_lost_are_told() {
    in_namespace("events_that_were_lost_are_told", || {
        declare(FAMILY);
        let mut monitor = Monitor::open().unwrap();
        let mut socket = Socket::open().unwrap();
        let all = transaction(FAMILY, adding(1..100_001));
        assert_eq!(socket.commit(&all).unwrap(), Outcome::Committed);
        let mut lost = 0;
        let count = |notice: Notice<'_>| lost += u32::from(notice == Notice::Lost);
        monitor.hear(count).unwrap();
        assert!(lost > 0);
    });
}

#[test]
fn a_change_of_rules_is_told_from_a_change_of_elements_and_of_others_tables() {
    in_namespace("a_change_of_rules_is_told", || {
        declare(FAMILY);
        nft(
            "table ip t {\n chain c {\n type nat hook output priority 0; policy accept;\n ip daddr @pods accept\n }\n}\n",
        );
        let mut socket = Socket::open().unwrap();
        let mut rules = || socket.constants(FAMILY, TABLE).unwrap();
        let mut before = rules();
        nft(
            "add element ip t cluster-ips { 10.96.0.9 }\ntable ip other {\n chain c {\n accept\n }\n}\n",
        );
        assert_eq!(rules(), before);
        for change in [
            "add rule ip t c accept",
            "chain ip t c { policy drop; }",
            "flush table ip t",
            "add chain ip t d",
            "add set ip t twice { type inet_service; elements = { 1, 2 }; }",
            "delete element ip t twice { 2 }",
            "add element ip t twice { 3 }",
            "delete element ip t twice { 3 }; add element ip t twice { 4 }",
            "flush set ip t twice",
            "delete table ip t",
        ] {
            nft(change);
            let after = rules();
            assert_ne!(after, before, "{change}");
            before = after;
        }
    });
}
