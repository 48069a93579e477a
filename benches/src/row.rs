//! One case at one size: rounds of packets, and rounds of the memory floor between them, medians of each.

use crate::clock::CpuTime;
use crate::floor::{Floor, nanos_each};
use crate::scene::{Scene, Setup};
use portolan::table::Cache;

/// What was measured of one [`Setup`]. Times are medians of rounds, in nanoseconds of CPU time.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// A packet.
    pub packet: f64,
    /// The fastest and slowest round.
    pub range: (f64, f64),
    /// One random line of a table of the same size.
    pub floor_one_line: f64,
    /// Two of them.
    pub floor_two_lines: f64,
    /// Two of them, brought into the second cache, as a burst's are.
    pub floor_two_lines_second_cache: f64,
    /// Bytes of table for each connection, index included, when the table is full.
    pub bytes_per_connection: f64,
}

impl Measured {
    /// Runs `rounds` rounds of about `packets` packets.
    #[must_use]
    pub fn new(setup: Setup, rounds: usize, packets: u32) -> Self {
        let clock = CpuTime::new();
        let mut scene = Scene::new(setup);
        let mut floor = Floor::new(scene.table_bytes());
        let _ = scene.round(&clock, packets);
        let (mut packet, mut one, mut two, mut far) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rounds {
            let (time, moved) = scene.round(&clock, packets);
            packet.push(nanos_each(time, moved));
            one.push(floor.nanos::<1>(&clock, packets, Cache::First));
            two.push(floor.nanos::<2>(&clock, packets, Cache::First));
            far.push(floor.nanos::<2>(&clock, packets, Cache::Second));
        }
        let bytes = scene.table_bytes() as f64;
        let packet_median = median(&mut packet);
        Self {
            packet: packet_median,
            range: (
                packet.first().copied().unwrap_or(packet_median),
                packet.last().copied().unwrap_or(packet_median),
            ),
            floor_one_line: median(&mut one),
            floor_two_lines: median(&mut two),
            floor_two_lines_second_cache: median(&mut far),
            bytes_per_connection: bytes / f64::from(setup.connections),
        }
    }
}

/// The median; sorts `values`. 0 of none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
