//! Which of a bucket's slots have a tag: all seven compared at once where the processor can.

use crate::sync::Word;

/// Slots of a bucket.
pub(super) const SLOTS: usize = 7;

/// Two bits for each slot, the lower one set if the upper sixteen bits of the slot are `tag`.
#[inline(always)]
pub(super) fn equal_tags(slots: &[Word; SLOTS], tag: u64) -> u32 {
    // Each slot is read whole and by itself.
    let [a, b, c, d, e, f, g] = slots;
    let slots = [
        a.read(),
        b.read(),
        c.read(),
        d.read(),
        e.read(),
        f.read(),
        g.read(),
    ];
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        #[expect(unsafe_code, reason = "a function of a target feature")]
        // SAFETY: SSE2 is part of every x86-64.
        unsafe {
            vector(slots, tag)
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    scalar(slots, tag)
}

#[cfg(any(test, not(all(target_arch = "x86_64", not(miri)))))]
fn scalar(slots: [u64; SLOTS], tag: u64) -> u32 {
    let mut equal = 0_u32;
    let mut position = 0_u32;
    for slot in slots {
        equal |= u32::from(slot >> 48 == tag) << position;
        position = position.wrapping_add(2);
    }
    equal
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "sse2")]
#[inline]
#[expect(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "lanes are bits, not numbers"
)]
fn vector([a, b, c, d, e, f, g]: [u64; SLOTS], tag: u64) -> u32 {
    use core::arch::x86_64::{
        _mm_cmpeq_epi32, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32, _mm_set_epi64x,
        _mm_set1_epi64x, _mm_srli_epi64,
    };
    let wanted = _mm_set1_epi64x(tag as i64);
    let pair = |low: u64, high: u64| {
        let slots = _mm_set_epi64x(high as i64, low as i64);
        _mm_cmpeq_epi32(_mm_srli_epi64::<48>(slots), wanted)
    };
    let first = _mm_packs_epi32(pair(a, b), pair(c, d));
    let second = _mm_packs_epi32(pair(e, f), pair(g, 0));
    // The upper half of a tag is zero on both sides and always equal; there is no eighth slot.
    (_mm_movemask_epi8(_mm_packs_epi16(first, second)) as u32) & 0x1555
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::table::hash::next_seed;

    #[test]
    fn every_slot_is_found_and_both_twins_agree() {
        let mut state = 5;
        for _ in 0..10_000 {
            let tag = next_seed(&mut state) & 0xffff | 1;
            let pattern = next_seed(&mut state);
            let slots: [u64; SLOTS] = core::array::from_fn(|slot| {
                let random = next_seed(&mut state) >> 16;
                if pattern >> slot & 1 == 1 {
                    tag << 48 | random
                } else {
                    random << 17
                }
            });
            let found = equal_tags(&slots.map(Word::new), tag);
            assert_eq!(found, scalar(slots, tag), "{slots:x?} {tag:x}");
            for (slot, value) in slots.iter().enumerate() {
                assert_eq!(found >> (2 * slot) & 1 == 1, value >> 48 == tag);
            }
        }
    }
}
