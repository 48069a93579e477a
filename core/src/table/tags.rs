//! Which of a bucket's slots have a tag: all seven compared at once where the processor can.

use crate::sync::Word;

/// Words of a bucket: one that is no slot, and seven slots.
pub(super) const WORDS: usize = 8;

/// Two bits for each word of a bucket, the upper of them set if the upper sixteen bits of a slot are `tag`.
///
/// A slot that changes meanwhile may be found or missed, as if it had been read before or after; whoever is told of a
/// slot reads it again.
#[inline(always)]
pub(super) fn equal_tags(bucket: &[Word; WORDS], tag: u64) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    {
        vector(bucket, tag)
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, loom)))))]
    scalar(bucket, tag)
}

/// The word that the lowest bit of `equal_tags` names.
#[inline(always)]
pub(super) const fn first(equal: u32) -> usize {
    (equal.trailing_zeros() >> 1) as usize & (WORDS - 1)
}

#[cfg(any(test, not(all(target_arch = "x86_64", not(any(miri, loom))))))]
fn scalar([_, slots @ ..]: &[Word; WORDS], tag: u64) -> u32 {
    let mut equal = 0_u32;
    let mut bit = 0x8_u32;
    for slot in slots {
        if slot.read() >> 48 == tag {
            equal |= bit;
        }
        bit = bit.wrapping_shl(2);
    }
    equal
}

#[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
#[inline(always)]
#[expect(
    unsafe_code,
    reason = "vectors of words that other threads write; a function of a target feature"
)]
fn vector(bucket: &[Word; WORDS], tag: u64) -> u32 {
    use core::arch::x86_64::__m128i;
    let pointer = bucket.as_ptr();
    let (first, second, third, fourth): (__m128i, __m128i, __m128i, __m128i);
    // SAFETY: reads the 64 bytes of `bucket`. Two words a load, each of them read whole, as a relaxed load is:
    // the assembler does what the language has no name for, loads of two words of which each is atomic.
    unsafe {
        core::arch::asm!(
            "movdqu {first}, [{pointer}]",
            "movdqu {second}, [{pointer} + 16]",
            "movdqu {third}, [{pointer} + 32]",
            "movdqu {fourth}, [{pointer} + 48]",
            pointer = in(reg) pointer,
            first = out(xmm_reg) first,
            second = out(xmm_reg) second,
            third = out(xmm_reg) third,
            fourth = out(xmm_reg) fourth,
            options(readonly, nostack, preserves_flags),
        );
    }
    // SAFETY: SSE2 is part of every x86-64.
    unsafe { compare([first, second, third, fourth], tag) }
}

#[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
#[target_feature(enable = "sse2")]
#[inline]
#[expect(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "lanes are bits, not numbers"
)]
fn compare([a, b, c, d]: [core::arch::x86_64::__m128i; 4], tag: u64) -> u32 {
    use core::arch::x86_64::{
        _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi64x,
    };
    let wanted = _mm_set1_epi64x((tag << 48) as i64);
    let low = _mm_packs_epi16(_mm_cmpeq_epi16(a, wanted), _mm_cmpeq_epi16(b, wanted));
    let high = _mm_packs_epi16(_mm_cmpeq_epi16(c, wanted), _mm_cmpeq_epi16(d, wanted));
    // The highest of a word's four parts is the tag's. Two of them packed as one number are negative if the higher one
    // is equal, whatever the lower one is. The first word is no slot.
    _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32 & 0xaaa8
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
            let words: [u64; WORDS] = core::array::from_fn(|word| {
                let random = next_seed(&mut state) >> 16;
                if pattern >> word & 1 == 1 {
                    tag << 48 | random
                } else {
                    random << 17
                }
            });
            let bucket = words.map(Word::new);
            let found = equal_tags(&bucket, tag);
            assert_eq!(found, scalar(&bucket, tag), "{words:x?} {tag:x}");
            let slots: u32 = (1..WORDS)
                .filter(|word| words[*word] >> 48 == tag)
                .map(|word| 2 << (2 * word))
                .sum();
            assert_eq!(found, slots);
            if found != 0 {
                assert_eq!(words[first(found)] >> 48, tag);
            }
        }
    }
}
