//! An answer never allocates and never frees, whatever is asked, also while another thread publishes.

use super::allocations;
use super::world::{cluster_ip, put, queries, query, reply, zone};
use core::sync::atomic::{AtomicBool, Ordering};
use portolan::dns::{Refusal, Transport, decline};
use std::thread;

#[test]
fn no_answer_allocates_not_even_the_first() {
    let mut zone = zone();
    let mut reader = zone.reader().expect("a reader");
    let queries = queries();
    let mut room = vec![0; 65_535];
    let before = allocations::of_this_thread();
    let mut replies = 0_u32;
    for query in &queries {
        for transport in [Transport::Udp, Transport::Tcp] {
            replies += u32::from(reply(&mut reader, query, transport, &mut room).is_some());
        }
        let declined = decline(query, Refusal::Refused, &mut room);
        assert!(declined >= 12);
    }
    assert_eq!(allocations::of_this_thread() - before, 0);
    assert!(replies > 1_000, "{replies} replies");
}

#[test]
fn an_answer_sees_one_publication_and_none_allocates_while_another_thread_publishes() {
    let mut zone = zone();
    let mut reader = zone.reader().expect("a reader");
    let stop = AtomicBool::new(false);
    let asked = query("turning.shop.svc.cluster.local", 1, 7, None);
    thread::scope(|scope| {
        let answering = scope.spawn(|| {
            let mut room = vec![0; 512];
            let before = allocations::of_this_thread();
            let (mut seen, mut answers) = (0_u8, 0_u32);
            while !stop.load(Ordering::Relaxed) || answers == 0 {
                let reply = reply(&mut reader, &asked, Transport::Udp, &mut room);
                let reply = reply.expect("a reply");
                // The last byte of the address, or of a negative answer's numbers.
                if reply.get(7) == Some(&1) {
                    let last = *reply.last().expect("bytes");
                    assert!(last >= seen, "{last} after {seen}");
                    seen = last;
                }
                answers += 1;
            }
            assert_eq!(allocations::of_this_thread() - before, 0);
        });
        for number in 0..=u8::MAX {
            let turning = cluster_ip("turning", &format!("10.96.1.{number}"));
            put(&mut zone, &turning, &[]);
            while zone.publish(u32::from(number)).is_err() {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        answering.join().expect("no assertion failed");
    });
}
