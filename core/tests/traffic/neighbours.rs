//! Others in the same namespace: rules like flannel's and Docker's, and somebody who flushes everything.

use core::time::Duration;
use std::thread;

use portolan::net::{Family, Protocol};

use crate::cluster::{Cluster, ENDPOINTS, State};
use crate::rules::Rules;
use crate::system::{in_namespace, now, run};
use crate::wire::{Fate, Wire};

/// What flannel and Docker have in their tables: masquerading of pods that talk to the outside.
const NEIGHBOURS: &str = "
table ip flannel-ipv4 {
  chain postrtg {
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0x4000 == 0x4000 return
    ip saddr 10.1.0.0/16 ip daddr 10.1.0.0/16 return
    ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
  }
}
table ip nat {
  chain DOCKER {
    tcp dport 8080 dnat to 10.2.0.99:80
  }
  chain PREROUTING {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local counter jump DOCKER
  }
  chain POSTROUTING {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 172.17.0.0/16 oifname != \"docker0\" counter masquerade
  }
}
";

fn foreign() -> String {
    let tables = ["flannel-ipv4", "nat"];
    let listed = tables.map(|table| run("nft", &["list", "table", "ip", table], ""));
    listed.concat()
}

fn is_served(wire: &mut Wire, cluster: &Cluster, number: u32) -> bool {
    let endpoints = (0..ENDPOINTS).map(|nth| Fate::Left(cluster.endpoint(0, nth)));
    let fate = wire.send(number, cluster.frontend(0));
    endpoints.into_iter().any(|endpoint| endpoint == fate)
}

#[test]
fn neighbours_rules_neither_disturb_nor_change() {
    in_namespace("neighbours_rules_neither_disturb_nor_change", || {
        let mut wire = Wire::new(Family::Ipv4);
        run("nft", &["-f", "-"], NEIGHBOURS);
        let before = foreign();
        let mut cluster = Cluster::new(Family::Ipv4, Protocol::Udp);
        cluster.set(0, State::FULL);
        let mut rules = Rules::open(&cluster);
        for number in 0..1_000 {
            assert!(is_served(&mut wire, &cluster, number), "packet {number}");
        }
        cluster.set(
            0,
            State {
                affinity: true,
                ..State::FULL
            },
        );
        rules.follow(&cluster);
        for number in 1_000..2_000 {
            assert!(is_served(&mut wire, &cluster, number), "packet {number}");
        }
        assert_eq!(foreign(), before);
    });
}

#[test]
fn what_somebody_flushes_is_back_within_seconds() {
    in_namespace("what_somebody_flushes_is_back_within_seconds", || {
        let mut wire = Wire::new(Family::Ipv4);
        let mut cluster = Cluster::new(Family::Ipv4, Protocol::Udp);
        cluster.set_all((0..100).map(|service| (service, State::FULL)));
        let mut rules = Rules::open(&cluster);
        let mut number = 0;
        let damages = [
            &["flush", "ruleset"][..],
            &["delete", "table", "ip", "portolan"],
            &["flush", "map", "ip", "portolan", "services"],
            &["flush", "table", "ip", "portolan"],
        ];
        for damage in damages {
            assert!(is_served(&mut wire, &cluster, number), "before {damage:?}");
            run("nft", damage, "");
            let flushed = now();
            let mut served = false;
            while !served && flushed.elapsed() < Duration::from_secs(5) {
                number += 1;
                rules.poll();
                served = is_served(&mut wire, &cluster, number);
                thread::sleep(Duration::from_millis(20));
            }
            assert!(served, "{damage:?}: not repaired after five seconds");
            eprintln!("{damage:?}: served again after {:?}", flushed.elapsed());
            number += 1;
        }
    });
}
