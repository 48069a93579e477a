//! Tables that take the place of others, and tables that belong to one process.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::thread;

use portolan::nft::{Table, TableOptions};

use crate::kernel::{Wire, in_namespace};
use crate::life::{nft, refused_by_nft};
use crate::scene::{CLIENT, Scene, connect, open};

/// A table of kube-proxy's shape that serves `default/web-1` by endpoint 9.
fn predecessor(table: &str) -> String {
    format!(
        "table ip {table} {{
  map service-ips {{
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = {{ 10.96.0.1 . tcp . 80 : goto service-web }}
  }}
  chain service-web {{
    ip saddr != 10.244.0.0/16 meta mark set meta mark or 0x4000
    numgen random mod 1 vmap {{ 0 : goto endpoint-9 }}
  }}
  chain endpoint-9 {{
    meta l4proto tcp dnat to 10.244.0.9:8080
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority -100; policy accept;
    ip daddr . meta l4proto . th dport vmap @service-ips
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority 100; policy accept;
    meta mark & 0x4000 == 0x4000 masquerade fully-random
  }}
}}"
    )
}

/// Opens connection after connection while `work` is done; how many, and which found no endpoint.
fn while_connecting(wire: &mut Wire, work: impl FnOnce()) -> (u32, Vec<u32>) {
    let done = AtomicBool::new(false);
    let opened = AtomicU32::new(0);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut lost = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let number = opened.fetch_add(1, Ordering::Relaxed);
                // No two with the same addresses and ports: each is new to the kernel.
                let [_, high, low, _] = (number << 8).to_be_bytes();
                let from = format!("172.20.{}.{low}", 16 + high % 200);
                let port = 1_024 + u16::try_from(number >> 14).expect("not that many");
                if !matches!(
                    connect(wire, &from, port, "10.96.0.1:80"),
                    Some(1 | 2 | 3 | 9)
                ) {
                    lost.push(number);
                }
            }
            lost
        });
        // It has begun before anything is done, and goes on for a while afterwards.
        while opened.load(Ordering::Relaxed) < 100 {
            thread::yield_now();
        }
        work();
        thread::sleep(Duration::from_millis(50));
        done.store(true, Ordering::Relaxed);
        let lost = client.join().expect("no panic");
        (opened.load(Ordering::Relaxed), lost)
    })
}

fn scene() -> Scene {
    let mut scene = Scene::new();
    for number in 1..200 {
        scene.put(number, &[1, 2, 3], (number % 50 == 0).then_some(600));
    }
    scene
}

#[test]
fn what_is_replaced_serves_until_ours_do_and_is_gone_a_second_later() {
    in_namespace(
        "what_is_replaced_serves_until_ours_do_and_is_gone_a_second_later",
        || {
            let mut scene = scene();
            let mut wire = scene.wire();
            nft(&predecessor("kube-proxy"));
            assert_eq!(connect(&mut wire, CLIENT, 1, "10.96.0.1:80"), Some(9));
            let mut table = Table::open(TableOptions {
                replaces: vec!["kube-proxy".into()],
                ..TableOptions::default()
            })
            .expect("nftables");
            let (opened, lost) = while_connecting(&mut wire, || {
                table
                    .sync(&scene.node, scene.now)
                    .expect("ours serve, theirs sleep");
                assert!(nft("list table ip kube-proxy").contains("flags dormant"));
                table.poll(scene.later()).expect("theirs are deleted");
            });
            assert!(lost.is_empty(), "{lost:?} of {opened}");
            assert!(!nft("list tables").contains("kube-proxy"));
            assert!(connect(&mut wire, CLIENT, 2, "10.96.0.1:80").is_some_and(|one| one < 9));
        },
    );
}

#[test]
fn a_table_of_the_same_name_and_another_layout_is_gone_around() {
    in_namespace(
        "a_table_of_the_same_name_and_another_layout_is_gone_around",
        || {
            let mut scene = scene();
            let mut wire = scene.wire();
            nft(&predecessor("portolan"));
            let (opened, lost) = while_connecting(&mut wire, || {
                let mut table = open();
                table.sync(&scene.node, scene.now).expect("ours serve");
                table.poll(scene.later()).expect("nothing is left over");
                let text = table.text();
                drop(table);
                let mut table = open();
                scene.sync(&mut table);
                assert_eq!((table.stats().operations, table.text()), (0, text));
            });
            assert!(lost.is_empty(), "{lost:?} of {opened}");
            let tables = nft("list tables");
            assert!(!tables.contains("stand-in"), "{tables}");
        },
    );
}

#[test]
fn owned_tables_survive_a_flush_and_their_process() {
    in_namespace("owned_tables_survive_a_flush_and_their_process", || {
        let mut scene = scene();
        let mut wire = scene.wire();
        let owned = || {
            Table::open(TableOptions {
                owned: true,
                ..TableOptions::default()
            })
            .expect("Linux 6.9")
        };
        let mut table = owned();
        scene.sync(&mut table);
        nft("flush ruleset");
        assert!(connect(&mut wire, CLIENT, 1, "10.96.0.1:80").is_some());
        let said = refused_by_nft("delete table ip portolan");
        assert!(said.contains("Operation not permitted"), "{said}");

        // A timeout that is new needs chains, which nft makes.
        scene.put(1, &[1, 2, 3], Some(77));
        scene.sync(&mut table);
        let kept = connect(&mut wire, CLIENT, 2, "10.96.0.1:80");
        assert!(kept.is_some());
        assert_eq!(connect(&mut wire, CLIENT, 3, "10.96.0.1:80"), kept);
        let said = refused_by_nft("flush chain ip portolan services");
        assert!(said.contains("Operation not permitted"), "{said}");

        drop(table);
        assert!(connect(&mut wire, CLIENT, 4, "10.96.0.1:80").is_some());
        let mut table = owned();
        scene.sync(&mut table);
        assert_eq!(table.stats().operations, 0);
        assert_eq!(connect(&mut wire, CLIENT, 5, "10.96.0.1:80"), kept);
        table.delete().expect("deleted");
        assert_eq!(nft("list tables"), "");
    });
}
