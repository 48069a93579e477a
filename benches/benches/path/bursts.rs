//! Whole bursts of 32, time for each packet.

use crate::{Bench, floors};
use portolan::net::Protocol;
use portolan_benches::{Case, CpuTime, Distribution, Family, Scene, Setup, Traffic};

const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];

const CASES: [(&str, Case); 4] = [
    ("established DNAT", Case::EstablishedDnat),
    ("established masquerade", Case::EstablishedMasquerade),
    ("new", Case::New),
    ("pass", Case::Pass),
];

pub(crate) fn bursts(criterion: &mut Bench) {
    for family in [Family::Ipv4, Family::Ipv6] {
        for connections in SIZES {
            let group = format!("burst {family:?}");
            let mut bytes = 0;
            for (name, case) in CASES {
                let mut scene = Scene::new(Setup {
                    case,
                    connections,
                    family,
                    protocol: Protocol::Tcp,
                    burst: 32,
                    distribution: Distribution::Uniform,
                    traffic: Traffic::Data,
                });
                let clock = CpuTime::new();
                bytes = scene.table_bytes();
                let name = format!("{group}, {connections}: {name}");
                criterion.bench_function(&name, |bencher| {
                    bencher.iter_custom(|packets| {
                        let (time, moved) = scene.round(&clock, packets as u32);
                        time.mul_f64(packets as f64 / moved.max(1) as f64)
                    });
                });
            }
            floors(criterion, &group, connections, bytes);
        }
    }
}
