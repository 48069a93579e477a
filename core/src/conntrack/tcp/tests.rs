//! Segments against what the state machine remembers.

use super::super::record::join16;
use super::super::timeouts::Timeouts;
use super::*;
use crate::table::hash::next_seed;

#[test]
fn plain_segments_step_as_any_segment_does() {
    let timeouts = TimeoutTicks::new(&Timeouts::default());
    let (mut random, mut plain) = (7, 0);
    for _ in 0..200_000 {
        let mut near =
            |base: u32, span: u64| base.wrapping_add((next_seed(&mut random) % span) as u32);
        let base = near(0xffff_f000, 8_192);
        let memory = Memory {
            seen: [
                join(near(base, 2_000), near(base, 2_000)),
                join(near(base, 2_000), near(base, 2_000)),
            ],
            windows: near(0, 1 << 32) & 0x03ef_03ef,
        };
        let segment = TcpSegment {
            flags: near(0, 256) as u8,
            sequence: near(base.wrapping_sub(1_000), 4_000),
            acknowledgment: near(base.wrapping_sub(1_000), 4_000),
            window: near(0, 1_000) as u16,
            payload_len: near(0, 1_500),
            window_scale: None,
        };
        for direction in [Direction::Original, Direction::Reply] {
            let [original, reply] = [
                Side::new(memory.seen[0], memory.windows >> 16),
                Side::new(memory.seen[1], memory.windows),
            ];
            let (own, peer) = match direction {
                Direction::Original => (original, reply),
                Direction::Reply => (reply, original),
            };
            if let Some((own, timeout)) = step_plain(&segment, own, peer, &timeouts) {
                plain += 1;
                let [original, reply] = match direction {
                    Direction::Original => [own, peer],
                    Direction::Reply => [peer, own],
                };
                let progress = Progress {
                    state: SETTLED,
                    timeout,
                    seen: Some([original.seen, reply.seen]),
                    windows: Some(join16(original.window.0, reply.window.0)),
                };
                let any = step(SETTLED, direction, &segment, memory, &timeouts);
                assert_eq!(
                    Step::Advance(progress),
                    any,
                    "{direction:?} {segment:?} {memory:?}"
                );
            }
        }
    }
    assert!(plain > 1_000, "{plain} plain segments");
}
