//! The messages byte by byte, and bytes that are none.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use proptest::prelude::*;

use super::attribute::Attributes;
use super::message::Messages;
use super::*;
use crate::net::Family;
use crate::nft::{Bytes, Element, Operation, Set, Transaction};

fn ip(last: u8) -> Bytes {
    Bytes::new().address(Ipv4Addr::new(10, 96, 0, last))
}

fn web() -> Bytes {
    ip(80).protocol(6).port(80)
}

fn batch(operations: Vec<Operation>) -> Batch {
    let family = Family::Ipv4;
    Batch::new(&Transaction { family, operations }, "t", None).unwrap()
}

fn add(element: Element) -> Operation {
    Operation::Add(element)
}

/// The numbers of the header, then the rest.
fn message(kind: u16, flags: u16, sequence: u32, rest: &[u8]) -> Vec<u8> {
    let len = u32::try_from(16 + rest.len()).unwrap();
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(rest);
    bytes
}

fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + content.len()).unwrap();
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// One element of a list, made of its attributes.
fn item(attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(0x8001, &attributes.concat())
}

/// An attribute that holds a value.
fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
    attribute(0x8000 | kind, &attribute(1, bytes))
}

/// A whole batch of one message.
fn batch_of(kind: u16, flags: u16, set: &str, items: &[Vec<u8>]) -> Vec<u8> {
    let body = [
        vec![2, 0, 0, 0],
        attribute(1, b"t\0"),
        attribute(2, &[set.as_bytes(), &[0]].concat()),
        attribute(0x8003, &items.concat()),
    ];
    let begin = message(0x10, 1, 0, &[0, 0, 0, 10]);
    let end = message(0x11, 1, 2, &[0, 0, 0, 10]);
    [begin, message(kind, flags, 1, &body.concat()), end].concat()
}

#[test]
fn an_element_is_written_as_nft_writes_it() {
    let mut element = Element::mapping(Set::Slots, ip(1).slot(3), ip(7).port(8080));
    element.timeout = Some(Duration::from_secs(2));
    element.comment = Some(Arc::from("web"));
    let [zero, one, two, three] = 3_u32.to_ne_bytes();
    let expected = item(&[
        value(1, &[10, 96, 0, 1, zero, one, two, three]),
        value(2, &[10, 96, 0, 7, 0x1f, 0x90, 0, 0]),
        attribute(4, &2_000_u64.to_be_bytes()),
        attribute(6, b"\x00\x04web\0"),
    ]);
    let sent = batch(vec![add(element)]);
    assert_eq!(sent.bytes(), batch_of(0x0a0c, 0x405, "slots", &[expected]));
}

#[test]
fn deleting_sends_the_key_and_nothing_else() {
    let mut element = Element::mapping(Set::Slots, ip(1).slot(0), ip(7).port(8080));
    element.comment = Some(Arc::from("web"));
    let expected = item(&[value(1, &[10, 96, 0, 1, 0, 0, 0, 0])]);
    let sent = batch(vec![Operation::Delete(element)]);
    assert_eq!(sent.bytes(), batch_of(0x0a0e, 0x5, "slots", &[expected]));
}

#[test]
fn a_range_of_one_field_is_two_elements() {
    let mut pods = Element::new(Set::Pods, ip(0));
    pods.end = Some(ip(255));
    let begin = item(&[value(1, &[10, 96, 0, 0])]);
    let end = item(&[value(1, &[10, 96, 1, 0]), attribute(3, &[0, 0, 0, 1])]);
    let sent = batch(vec![add(pods)]);
    let expected = batch_of(0x0a0c, 0x405, "pods", &[begin, end]);
    assert_eq!(sent.bytes(), expected);
}

#[test]
fn a_range_up_to_the_last_address_has_no_end() {
    let mut all = Element::new(Set::Direct, Bytes::new().address(Ipv4Addr::UNSPECIFIED));
    all.end = Some(Bytes::new().address(Ipv4Addr::BROADCAST));
    let begin = item(&[value(1, &[0; 4])]);
    let sent = batch(vec![add(all)]);
    assert_eq!(sent.bytes(), batch_of(0x0a0c, 0x405, "direct", &[begin]));
}

#[test]
fn a_range_of_a_concatenation_is_one_element() {
    let mut allowed = Element::new(Set::Allowed, web().address(Ipv4Addr::new(10, 0, 0, 0)));
    allowed.end = Some(web().address(Ipv4Addr::new(10, 0, 0, 255)));
    let key = [10, 96, 0, 80, 6, 0, 0, 0, 0, 80, 0, 0];
    let expected = item(&[
        value(1, &[&key[..], &[10, 0, 0, 0]].concat()),
        value(10, &[&key[..], &[10, 0, 0, 255]].concat()),
    ]);
    let sent = batch(vec![add(allowed)]);
    assert_eq!(
        sent.bytes(),
        batch_of(0x0a0c, 0x405, "allowed", &[expected])
    );
}

#[test]
fn a_batch_for_a_generation_says_so_at_its_begin() {
    let operations = vec![add(Element::new(Set::ClusterIps, ip(1)))];
    let family = Family::Ipv6;
    let sent = Batch::new(&Transaction { family, operations }, "t", Some(7)).unwrap();
    let begin = [&[0, 0, 0, 10][..], &attribute(1, &[0, 0, 0, 7])].concat();
    let begin = message(0x10, 1, 0, &begin);
    assert_eq!(sent.bytes()[..begin.len()], begin);
}

#[test]
fn a_transaction_without_operations_makes_no_batch() {
    let family = Family::Ipv4;
    let operations = Vec::new();
    let nothing = Transaction { family, operations };
    assert!(Batch::new(&nothing, "t", Some(7)).is_none());
}

#[test]
fn operations_keep_their_order_and_share_messages() {
    let of = |set| Element::new(set, web());
    let sent = batch(vec![
        add(of(Set::Guarded)),
        add(of(Set::Guarded)),
        add(of(Set::Masqueraded)),
        Operation::Delete(of(Set::Masqueraded)),
        add(of(Set::Guarded)),
    ]);
    let kinds: Vec<_> = Messages::new(sent.bytes())
        .map(|message| (message.sequence, message.kind & 0xff))
        .collect();
    let expected = [(0, 0x10), (1, 12), (2, 12), (3, 14), (4, 12), (5, 0x11)];
    assert_eq!(kinds, expected);
}

#[test]
fn a_list_of_elements_stays_below_64_kib() {
    let element = |slot| {
        let mut element = Element::mapping(Set::Slots, ip(1).slot(slot), web());
        element.comment = Some(Arc::from("some/service:port"));
        add(element)
    };
    let sent = batch((0..5_000).map(element).collect());
    let longest = Messages::new(sent.bytes()).map(|message| message.payload.len());
    assert!(longest.clone().max().unwrap() < 65_536);
    assert!(longest.count() > 3);
    assert_eq!(elements_in(sent.bytes(), Set::Slots).len(), 5_000);
}

#[test]
fn a_long_comment_is_cut_between_two_letters() {
    let mut element = Element::new(Set::ClusterIps, ip(1));
    let long: String = core::iter::repeat_n('é', 100).collect();
    element.comment = Some(Arc::from(long));
    let sent = batch(vec![add(element)]);
    let read = elements_in(sent.bytes(), Set::ClusterIps);
    assert_eq!(read[0].comment.as_ref().unwrap().chars().count(), 64);
}

#[test]
fn neighbouring_ranges_are_told_apart() {
    let range = |first, last| {
        let mut range = Element::new(Set::Pods, ip(first));
        range.end = Some(ip(last));
        range
    };
    let wanted = vec![range(0, 15), range(16, 31), Element::new(Set::Pods, ip(40))];
    let sent = batch(wanted.iter().rev().cloned().map(add).collect());
    assert_eq!(elements_in(sent.bytes(), Set::Pods), wanted);
}

/// What a dump of a set would give, were the elements of a batch its answer.
fn elements_in(bytes: &[u8], set: Set) -> Vec<Element> {
    let mut read = Vec::new();
    for sequence in 1..20 {
        let mut dump = ElementDump::new(set, sequence);
        let _ = dump.read(bytes);
        read.extend(dump.finish());
    }
    read
}

/// An answer as the kernel gives it to a socket with `NETLINK_CAP_ACK` and `NETLINK_EXT_ACK`.
fn answer(sequence: u32, errno: i32, attributes: &[u8]) -> Vec<u8> {
    let mut rest = (-errno).to_ne_bytes().to_vec();
    rest.extend(message(0, 0, sequence, &[]));
    rest.extend(attributes);
    let flags = if attributes.is_empty() { 0x100 } else { 0x300 };
    message(2, flags, sequence, &rest)
}

/// Operations 0, 1 to 3 and 4 have a message each.
fn three_sets() -> Batch {
    let sets = [
        Set::ClusterIps,
        Set::Pods,
        Set::Pods,
        Set::Pods,
        Set::Direct,
    ];
    let operations = sets.into_iter().zip(1..);
    batch(
        operations
            .map(|(set, last)| add(Element::new(set, ip(last))))
            .collect(),
    )
}

#[test]
fn a_batch_is_committed_when_its_last_message_is_acknowledged() {
    let sent = three_sets();
    let mut answers = Answers::new(&sent);
    assert_eq!(answers.read(&[]), None);
    assert_eq!(answers.read(&answer(3, 0, &[])), Some(&Outcome::Committed));
}

#[test]
fn a_refusal_names_the_operation_that_the_kernel_points_at() {
    let sent = three_sets();
    let middle = Messages::new(sent.bytes()).nth(2).unwrap();
    let (_, attributes) = middle.netfilter().unwrap();
    let list = Attributes::new(attributes).nth(2).unwrap();
    // Where the second range ends.
    let second = Attributes::new(list.bytes).nth(3).unwrap();
    let offset = u32::try_from(20 + list.offset + 4 + second.offset).unwrap();
    let told = [
        attribute(1, b"no such thing\0"),
        attribute(2, &offset.to_ne_bytes()),
    ]
    .concat();

    let mut answers = Answers::new(&sent);
    assert_eq!(answers.read(&answer(2, 2, &told)), None);
    let Some(Outcome::Refused(refusals)) = answers.read(&answer(3, 0, &[])) else {
        panic!("the acknowledgement of the last message changes nothing")
    };
    let [refusal] = &refusals[..] else {
        panic!("{refusals:?}")
    };
    assert_eq!((refusal.operation, refusal.errno), (Some(2), 2));
    assert_eq!(refusal.text.as_deref(), Some("no such thing"));
}

#[test]
fn a_refusal_of_a_message_with_one_element_needs_no_pointer() {
    let sent = three_sets();
    let mut answers = Answers::new(&sent);
    let Some(Outcome::Refused(refusals)) = answers.read(&answer(3, 17, &[])) else {
        panic!("refused")
    };
    assert_eq!((refusals[0].operation, refusals[0].errno), (Some(4), 17));
}

#[test]
fn a_batch_refused_as_a_whole_names_no_operation() {
    let sent = three_sets();
    let mut answers = Answers::new(&sent);
    let Some(Outcome::Refused(refusals)) = answers.read(&answer(0, 1, &[])) else {
        panic!("refused")
    };
    assert_eq!((refusals[0].operation, refusals[0].errno), (None, 1));
}

#[test]
fn another_generation_and_lost_answers_are_told_apart() {
    let sent = three_sets();
    let superseded = Answers::new(&sent).read(&answer(0, 85, &[])).cloned();
    assert_eq!(superseded, Some(Outcome::Superseded));
    let lost = Answers::new(&sent).read(&message(4, 0, 0, &[])).cloned();
    assert_eq!(lost, Some(Outcome::Unknown));
    assert_eq!(Answers::new(&sent).outcome(), Outcome::Unknown);
}

#[test]
fn a_dump_that_was_disturbed_says_so_at_its_end() {
    let dump = || ElementDump::new(Set::Pods, 9);
    let mut disturbed = dump();
    let part = message(0x0a0c, 0x12, 9, &[2, 0, 0, 0]);
    assert_eq!(disturbed.read(&part), Progress::More);
    let done = message(3, 2, 9, &[0; 4]);
    assert_eq!(disturbed.read(&done), Progress::Interrupted);
    assert_eq!(dump().read(&done), Progress::Done);
    assert_eq!(dump().read(&answer(9, 2, &[])), Progress::Refused(2));
    assert_eq!(dump().read(&message(3, 2, 8, &[0; 4])), Progress::More);
}

#[test]
fn events_name_the_table_and_the_generation_and_whose_they_are() {
    let mut touched = message(
        0x0a0e,
        0,
        0,
        &[&[10, 0, 0, 0][..], &attribute(1, b"t\0")].concat(),
    );
    touched[12..16].copy_from_slice(&7_u32.to_ne_bytes());
    let number = attribute(1, &42_u32.to_be_bytes());
    let generation = message(0x0a0f, 0, 0, &[&[0, 0, 0, 0][..], &number].concat());
    let received = [touched, generation.clone(), message(4, 0, 0, &[])].concat();
    let notices: Vec<_> = read_notices(&received).collect();
    let expected = [
        Notice::Touched {
            port: 7,
            family: Family::Ipv6,
            table: "t",
        },
        Notice::Generation {
            port: 0,
            generation: 42,
        },
        Notice::Lost,
    ];
    assert_eq!(notices, expected);
    assert_eq!(read_generation(&generation, 0), Some(42));
    assert_eq!(read_generation(&generation, 1), None);
}

fn any_bytes(len: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), len)
        .prop_map(|bytes| Bytes::from_slice(&bytes).expect("short enough"))
}

/// Of any set, in either family's lengths, with everything an element can have.
fn any_element() -> impl Strategy<Value = Element> {
    let set = prop::sample::select(&Set::ALL[..]);
    (set, prop::sample::select(&[4_usize, 16][..])).prop_flat_map(|(set, address)| {
        let len = |fields: &[crate::nft::Field]| -> usize {
            let address_or_word = |field| {
                if field == crate::nft::Field::Address {
                    address
                } else {
                    4
                }
            };
            fields.iter().copied().map(address_or_word).sum()
        };
        let end = any_bytes(len(set.key()));
        let data = any_bytes(len(set.data()));
        let timeout = prop::option::of((0_u64..1 << 40).prop_map(Duration::from_millis));
        let comment = prop::option::of("[a-z/:.-]{0,128}".prop_map(Arc::from));
        let parts = (any_bytes(len(set.key())), end, data, timeout, comment);
        parts.prop_map(move |(key, end, data, timeout, comment)| Element {
            set,
            key: key.min(end),
            end: (set.has_ranges() && key != end).then_some(key.max(end)),
            data: set.is_map().then_some(data),
            timeout,
            comment,
        })
    })
}

proptest! {
    #[test]
    fn an_element_comes_back_as_it_went(element in any_element()) {
        let sent = batch(vec![add(element.clone())]);
        prop_assert_eq!(elements_in(sent.bytes(), element.set), [element]);
    }

    #[test]
    fn damaged_bytes_end_the_reading_and_nothing_else(
        element in any_element(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let set = element.set;
        let sent = batch(vec![add(element)]);
        let told = [attribute(1, b"no\0"), attribute(2, &24_u32.to_ne_bytes())].concat();
        let mut bytes = [sent.bytes(), &answer(1, 2, &told)].concat();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.index(bytes.len()));
        let elements = elements_in(&bytes, set);
        prop_assert!(elements.len() <= bytes.len());
        prop_assert!(read_notices(&bytes).count() <= bytes.len());
        let mut answers = Answers::new(&sent);
        if let Some(Outcome::Refused(refusals)) = answers.read(&bytes) {
            prop_assert!(refusals.iter().all(|refusal| refusal.operation.is_none_or(|n| n == 0)));
        }
    }
}
