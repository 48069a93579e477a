//! Segments against what the state machine remembers.

use super::super::timeouts::Timeouts;
use super::*;
use crate::table::hash::next_seed;

#[test]
fn plain_segments_step_as_any_segment_does() {
    let timeouts = TimeoutTicks::new(&Timeouts::default());
    let (mut random, mut plain) = (7, 0);
    let window = |bits: u32| {
        let Window(window) = Window::new(
            bits as u16 & 0x0f,
            bits as u16 >> 5 & 0x0f,
            bits as u16 & Window::SCALES,
        );
        window
    };
    for _ in 0..200_000 {
        let mut near =
            |base: u32, span: u64| base.wrapping_add((next_seed(&mut random) % span) as u32);
        let base = near(0xffff_f000, 8_192);
        let memory = Memory {
            seen: [
                join(near(base, 2_000), near(base, 2_000)),
                join(near(base, 2_000), near(base, 2_000)),
            ],
            windows: join16(window(near(0, 1 << 16)), window(near(0, 1 << 16))),
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
            let [original, reply] = memory.seen;
            let (seen, turn) = match direction {
                Direction::Original => ([original, reply], 0),
                Direction::Reply => ([reply, original], 16),
            };
            let windows = memory.windows.rotate_left(turn);
            let sides = Sides { seen, windows };
            if let Some((own, waits)) = step_plain(&segment, &sides) {
                let next = if sides.is_common(segment.window) {
                    Some(windows)
                } else {
                    announced(segment.window, windows)
                };
                // A window that is closed is not plain.
                let Some(next) = next else { continue };
                plain += 1;
                let progress = Progress {
                    state: SETTLED,
                    timeout: settled_timeouts(&timeouts)[usize::from(waits)],
                    seen: Some(match direction {
                        Direction::Original => [own, reply],
                        Direction::Reply => [original, own],
                    }),
                    windows: Some(next.rotate_right(turn)),
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
