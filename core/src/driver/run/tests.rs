//! The run loop on sockets instead of devices, which needs no privilege.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use core::time::Duration;
use std::fs::File;
use std::io::{Read, Write};
use std::thread;

use super::*;
use crate::dataplane::{Offload, Verdict, offload_flags};
use crate::driver::{RunError, Tun, sys, virtio};
use crate::packet::build;

type Processor = Box<dyn FnMut(Instant, &mut [u8], &mut [Descriptor]) + Send>;

/// A device of one queue and its other end.
fn device(virtio_header: bool) -> (Tun, File) {
    let (near, far) = sys::packet_pair().expect("a pair of sockets");
    let tun = Tun::from_descriptors("pair", vec![near], virtio_header).expect("a device");
    (tun, File::from(far))
}

fn start(tun: Tun, processor: Processor) -> Driver {
    Driver::start(tun, vec![processor], &RunOptions::default()).expect("the driver starts")
}

fn always(verdict: Verdict, change: fn(&mut [u8], &mut Descriptor)) -> Processor {
    Box::new(move |_, frames, descriptors| {
        for descriptor in descriptors {
            descriptor.verdict = verdict as u8;
            change(frames, descriptor);
        }
    })
}

fn exchange(mut far: &File, sent: &[u8]) -> Vec<u8> {
    assert_eq!(far.write(sent).expect("sent"), sent.len());
    receive(far)
}

fn receive(mut far: &File) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let len = far.read(&mut buffer).expect("received");
    buffer.truncate(len);
    buffer
}

/// A header with something in every field, as a kernel would lead a packet with.
fn header(offload: &Offload) -> Vec<u8> {
    virtio::encode(offload).to_vec()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("still not so: {what}");
}

#[test]
fn a_passed_packet_goes_back_with_the_very_header_it_came_with() {
    let (tun, far) = device(true);
    let processor = always(Verdict::Pass, |_, descriptor| {
        descriptor.offload.gso_size = 9
    });
    let driver = start(tun, processor);
    let packet = build::tcp("10.0.0.1:5000", "10.0.0.2:80").payload_len(3000);
    let packet = packet.partial_checksum().segmented(1000);
    let sent = [header(&packet.offload()), packet.build()].concat();
    assert_eq!(exchange(&far, &sent), sent);
    let stats = driver.stop().expect("nothing failed")[0];
    assert_eq!(
        (stats.received_packets, stats.passed, stats.sent_packets),
        (1, 1, 1)
    );
    assert_eq!(stats.received_bytes, packet.build().len() as u64);
}

#[test]
fn a_forwarded_packet_goes_out_with_its_descriptors_offload() {
    let (tun, far) = device(true);
    let processor = always(Verdict::Forward, |frames, descriptor| {
        assert_eq!(descriptor.offload.flags, offload_flags::PARTIAL);
        descriptor.offload.gso_size += 1;
        frames[descriptor.offset as usize + 8] = 63;
    });
    let driver = start(tun, processor);
    let packet = build::udp("10.0.0.1:5000", "10.0.0.2:80")
        .payload_len(100)
        .partial_checksum();
    let (mut offload, mut bytes) = (packet.offload(), packet.build());
    let received = exchange(&far, &[header(&offload), bytes.clone()].concat());
    offload.gso_size += 1;
    bytes[8] = 63;
    assert_eq!(received, [header(&offload), bytes].concat());
    assert_eq!(driver.stop().expect("nothing failed")[0].forwarded, 1);
}

#[test]
fn an_answer_may_be_longer_than_what_it_answers_and_goes_out_without_offload() {
    let (tun, far) = device(true);
    let processor = always(Verdict::Reply, |frames, descriptor| {
        assert!(descriptor.capacity >= 1280, "{descriptor:?}");
        let start = descriptor.offset as usize;
        frames[start..start + 1280].fill(7);
        descriptor.len = 1280;
        descriptor.offload = Offload::default();
    });
    let driver = start(tun, processor);
    let packet = build::udp("10.0.0.1:5000", "10.0.0.2:80").partial_checksum();
    let received = exchange(&far, &[header(&packet.offload()), packet.build()].concat());
    assert_eq!(
        received,
        [vec![0; virtio::HEADER_LEN], vec![7; 1280]].concat()
    );
    assert_eq!(driver.stop().expect("nothing failed")[0].replied, 1);
}

#[test]
fn a_dropped_packet_goes_nowhere_and_is_counted() {
    let (tun, far) = device(false);
    let processor = always(Verdict::Drop, |frames, descriptor| {
        if frames[descriptor.offset as usize] == b'y' {
            descriptor.verdict = Verdict::Pass as u8;
        }
    });
    let driver = start(tun, processor);
    (&far).write_all(b"no").expect("sent");
    assert_eq!(exchange(&far, b"yes"), b"yes");
    let stats = driver.stop().expect("nothing failed")[0];
    assert_eq!(
        (stats.received_packets, stats.dropped, stats.sent_packets),
        (2, 1, 1)
    );
}

#[test]
fn what_is_no_packet_is_counted_and_never_processed() {
    let (tun, far) = device(true);
    let processor = always(Verdict::Pass, |_, descriptor| assert_eq!(descriptor.len, 1));
    let driver = start(tun, processor);
    for unreadable in [1, 9, 10, 10 + 65_576, 66_000] {
        (&far).write_all(&vec![0; unreadable]).expect("sent");
    }
    assert_eq!(exchange(&far, &[1; 11]), [1; 11]);
    let stats = driver.stop().expect("nothing failed")[0];
    assert_eq!((stats.unreadable, stats.received_packets), (5, 1));
}

#[test]
fn the_longest_packet_there_can_be_goes_through_whole() {
    let (tun, far) = device(true);
    let driver = start(tun, always(Verdict::Pass, |_, _| {}));
    let sent: Vec<u8> = (0..10 + 65_575_u32).map(|at| (at % 251) as u8).collect();
    for _ in 0..40 {
        assert!(exchange(&far, &sent) == sent);
    }
    drop(driver);
}

#[test]
fn a_burst_is_packets_side_by_side_with_room_for_an_answer_each() {
    let (tun, far) = device(false);
    for number in 0..100_u8 {
        (&far).write_all(&[number; 60]).expect("sent");
    }
    let (report, reported) = std::sync::mpsc::channel();
    let processor: Processor = Box::new(move |_, frames, descriptors| {
        for pair in descriptors.windows(2) {
            assert!(pair[0].offset + pair[0].capacity < pair[1].offset);
            assert_eq!(pair[1].offset % 64, 0);
        }
        for descriptor in descriptors.iter() {
            let packet = &frames[descriptor.offset as usize..][..descriptor.len as usize];
            assert!(packet.len() == 60 && packet.iter().all(|byte| *byte == packet[0]));
            assert_eq!(descriptor.offload, Offload::default());
        }
        report.send(descriptors.len()).expect("heard");
    });
    let driver = start(tun, processor);
    let mut lens = vec![reported.recv().expect("a burst")];
    while lens.iter().sum::<usize>() < 100 {
        lens.push(reported.recv().expect("a burst"));
    }
    assert_eq!(lens, [64, 36]);
    for number in 0..100_u8 {
        assert_eq!(receive(&far), [number; 60], "in the order that they came");
    }
    let stats = driver.stop().expect("nothing failed")[0];
    assert_eq!((stats.bursts, stats.sent_packets), (2, 100));
}

#[test]
fn without_virtio_header_checksums_and_segments_are_made_in_software() {
    let (tun, far) = device(false);
    let processor = always(Verdict::Forward, |frames, descriptor| {
        // As if it had come from another device, with its offload.
        let start = descriptor.offset as usize;
        descriptor.offload = build_offload(&frames[start..start + descriptor.len as usize]);
    });
    let driver = start(tun, processor);
    let datagram = build::sctp("10.0.0.1:5000", "10.0.0.2:80").chunk(0, 3, &[1; 33]);
    let complete = datagram.build();
    assert_eq!(
        exchange(&far, &datagram.partial_checksum().build()),
        complete
    );
    let long = build::udp("10.0.0.1:5000", "10.0.0.2:80")
        .identification(7)
        .payload_len(2500);
    (&far)
        .write_all(&long.partial_checksum().build())
        .expect("sent");
    let lens: Vec<usize> = (0..3).map(|_| receive(&far).len()).collect();
    assert_eq!(lens, [1028, 1028, 528]);
    let stats = driver.stop().expect("nothing failed")[0];
    assert_eq!((stats.software_checksums, stats.software_segments), (1, 3));
}

/// What the packets of the test above were built with.
fn build_offload(packet: &[u8]) -> Offload {
    let sctp = packet[9] == 132;
    Offload {
        flags: offload_flags::PARTIAL,
        gso_type: if sctp {
            0
        } else {
            virtio::gso_type::UDP_SEGMENTATION
        },
        gso_size: if sctp { 0 } else { 1000 },
        checksum_start: 20,
        checksum_offset: if sctp { 8 } else { 6 },
        ..Offload::default()
    }
}

#[test]
fn a_closed_device_ends_the_driver_with_its_name() {
    let (tun, far) = device(false);
    let driver = start(tun, always(Verdict::Pass, |_, _| {}));
    assert!(driver.is_running());
    drop(far);
    until("the driver has noticed", || !driver.is_running());
    let error = driver.stop().expect_err("the device has gone");
    assert!(
        matches!(error, RunError::DeviceGone { queue: 0, .. }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "pair: the device has gone (noticed by queue 0)"
    );
}

#[test]
fn a_processor_that_panics_ends_the_driver_and_is_named() {
    let (tun, far) = device(false);
    let driver = start(
        tun,
        Box::new(|_, _, _| std::panic::panic_any("not a message")),
    );
    (&far).write_all(b"packet").expect("sent");
    until("the driver has noticed", || !driver.is_running());
    let error = driver.stop().expect_err("the processor panicked");
    assert!(
        matches!(error, RunError::ProcessorPanicked { queue: 0, .. }),
        "{error:?}"
    );
}

#[test]
fn queues_and_processors_must_be_as_many() {
    let (tun, _far) = device(false);
    let none: Vec<Processor> = Vec::new();
    let error = Driver::start(tun, none, &RunOptions::default()).expect_err("no processor");
    assert_eq!(
        error.to_string(),
        "pair: 1 queues need as many processors, not 0"
    );
}

#[test]
fn stopping_a_busy_driver_takes_one_burst() {
    let (tun, far) = device(false);
    let driver = start(tun, always(Verdict::Drop, |_, _| {}));
    let flood = thread::spawn(move || while (&far).write_all(&[1; 40]).is_ok() {});
    until("packets flow", || {
        driver.stats().any(|queue| queue.received_packets > 1000)
    });
    let stats = driver.stop().expect("nothing failed")[0];
    assert!(stats.cpu_time() > Duration::ZERO && stats.dropped == stats.received_packets);
    flood.join().expect("its device is closed");
}
