//! Frames as the kernel hands them over, whole and damaged.

use alloc::vec;
use alloc::vec::Vec;
use core::iter::repeat_n;

use super::*;
use crate::driver::virtio::gso_type;
use crate::packet::build;

const TO: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A room with what the kernel has read into it, and how much that is.
fn read(offload: &Offload, link: &[&[u8]], payload: &[u8]) -> (Vec<u8>, usize) {
    let mut room = vec![0xee; READ_AT];
    room.extend(virtio::encode(offload));
    for part in link {
        room.extend_from_slice(part);
    }
    room.extend_from_slice(payload);
    let len = room.len() - READ_AT;
    room.extend(repeat_n(0xee, 64));
    (room, len)
}

#[test]
fn a_packet_begins_behind_its_link_header_and_its_offload_with_it() {
    for (kind, packet) in [
        (IPV4, build::tcp("10.0.0.1:5000", "10.0.0.2:80")),
        (IPV6, build::tcp("[fd00::1]:5000", "[fd00::2]:80")),
    ] {
        let packet = packet.payload_len(3000).partial_checksum().segmented(1000);
        let on_the_wire = behind_link(packet.offload(), HEADER_LEN).expect("it is short");
        let (mut room, len) = read(&on_the_wire, &[&TO, &FROM, &kind], &packet.build());
        let frame = Frame::read(&mut room, len, None).expect("a frame");
        assert_eq!((frame.begin, frame.link_len), (READ_AT, HEADER_LEN));
        assert!(frame.is_ip && frame.payload_len == packet.build().len());
        assert_eq!(frame.offload, packet.offload());
        assert_eq!(room[ROOM_BEFORE..][..frame.payload_len], packet.build());
    }
}

#[test]
fn a_tag_that_the_kernel_took_out_is_on_the_wire_again() {
    let packet = build::udp("10.0.0.1:5000", "10.0.0.2:80").partial_checksum();
    let on_the_wire = behind_link(packet.offload(), HEADER_LEN).expect("it is short");
    let (mut room, len) = read(&on_the_wire, &[&TO, &FROM, &IPV4], &packet.build());
    let tag = [0x81, 0x00, 0x20, 0x07];
    let frame = Frame::read(&mut room, len, Some(tag)).expect("a frame");
    assert_eq!((frame.begin, frame.link_len), (0, HEADER_LEN + TAG_LEN));
    assert_eq!(frame.offload, packet.offload());
    let tagged = behind_link(packet.offload(), frame.link_len).expect("it is short");
    let wire = [&TO[..], &FROM, &tag, &IPV4, &packet.build()].concat();
    let expected = [&virtio::encode(&tagged)[..], &wire].concat();
    assert_eq!(room[..expected.len()], expected);
}

#[test]
fn tags_behind_the_first_belong_to_the_link_header() {
    let packet = build::udp("[fd00::1]:5000", "[fd00::2]:80").build();
    let inner = [0x81, 0x00, 0x00, 0x09];
    let (mut room, len) = read(
        &Offload::default(),
        &[&TO, &FROM, &inner, &inner, &IPV6],
        &packet,
    );
    let frame = Frame::read(&mut room, len, Some([0x88, 0xa8, 0, 7])).expect("a frame");
    assert_eq!(frame.link_len, HEADER_LEN + 3 * TAG_LEN);
    assert!(frame.is_ip && frame.payload_len == packet.len());
}

#[test]
fn what_is_no_ip_packet_is_a_frame_all_the_same() {
    let arp = [0x08, 0x06];
    for (kind, payload) in [(arp, &[1; 28][..]), ([0x05, 0xdc], &[1; 46]), (IPV4, &[])] {
        let (mut room, len) = read(&Offload::default(), &[&TO, &FROM, &kind], payload);
        let frame = Frame::read(&mut room, len, None).expect("a frame");
        assert!(!frame.is_ip && frame.payload_len == payload.len());
    }
}

#[test]
fn what_a_group_sent_is_refused_nobody_could_be_answered() {
    for sender in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        let (mut room, len) = read(&Offload::default(), &[&TO, &sender, &IPV4], &[0x45; 40]);
        assert_eq!(Frame::read(&mut room, len, None), None);
    }
}

#[test]
fn every_truncation_is_a_shorter_frame_or_none() {
    let inner = [0x81, 0x00, 0x00, 0x09];
    let (room, len) = read(
        &Offload::default(),
        &[&TO, &FROM, &inner, &IPV4],
        &[0x45; 20],
    );
    for cut in 0..=len {
        for tag in [None, Some([0x81, 0, 0, 7])] {
            let Some(frame) = Frame::read(&mut room.clone(), cut, tag) else {
                assert!(
                    cut < virtio::HEADER_LEN + HEADER_LEN + TAG_LEN,
                    "{cut} {tag:?}"
                );
                continue;
            };
            let added = if tag.is_some() { TAG_LEN } else { 0 };
            let all = virtio::HEADER_LEN + frame.link_len + frame.payload_len;
            assert_eq!(all, cut + added, "{cut} {tag:?}");
        }
    }
    let mut nothing = [];
    assert_eq!(Frame::read(&mut nothing, 0, None), None);
    assert_eq!(Frame::read(&mut nothing, usize::MAX, None), None);
}

#[test]
fn an_offload_that_points_into_the_link_header_is_refused() {
    for start in 0..HEADER_LEN as u16 {
        let offload = Offload {
            flags: offload_flags::PARTIAL,
            checksum_start: start,
            ..Offload::default()
        };
        let (mut room, len) = read(&offload, &[&TO, &FROM, &IPV4], &[0x45; 40]);
        assert_eq!(Frame::read(&mut room, len, None), None, "{start}");
    }
    let far = Offload {
        flags: offload_flags::PARTIAL,
        gso_type: gso_type::TCP_IPV4,
        checksum_start: u16::MAX,
        ..Offload::default()
    };
    let (mut room, len) = read(&far, &[&TO, &FROM, &IPV4], &[0x45; 40]);
    assert_eq!(Frame::read(&mut room, len, Some([0x81, 0, 0, 7])), None);
    assert_eq!(behind_link(far, 1), None);
}

#[test]
fn a_link_header_turned_round_goes_back_to_its_sender() {
    let mut link = [&TO[..], &FROM, &IPV4].concat();
    turn_round(&mut link);
    assert_eq!(link, [&FROM[..], &TO, &IPV4].concat());
    let mut short = [1, 2, 3];
    turn_round(&mut short);
    assert_eq!(short, [1, 2, 3]);
}
