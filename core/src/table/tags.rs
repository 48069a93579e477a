//! Which of a bucket's slots have a tag: all seven compared at once where the processor can.

use crate::sync::Word;

/// Words of a bucket: one that is no slot, and seven slots.
pub(super) const WORDS: usize = 8;

/// Two bits for each word of a bucket, the upper of them set if the upper sixteen bits of a slot are `tag`.
///
/// A slot that changes meanwhile may be found or missed, as if it had been read before or after; whoever is told of a
/// slot reads it again.
#[inline(always)]
pub(super) fn equal_tags(bucket: &[Word; WORDS], tag: u16) -> u32 {
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
fn scalar([_, slots @ ..]: &[Word; WORDS], tag: u16) -> u32 {
    let mut equal = 0_u32;
    let mut bit = 0x8_u32;
    for slot in slots {
        if slot.read() >> 48 == u64::from(tag) {
            equal |= bit;
        }
        bit = bit.wrapping_shl(2);
    }
    equal
}

#[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
#[inline(always)]
#[expect(unsafe_code, reason = "vectors of words that other threads write")]
fn vector(bucket: &[Word; WORDS], tag: u16) -> u32 {
    let equal: u32;
    // SAFETY: reads the 64 bytes of `bucket`. Two words a load, each of them read whole, as a relaxed load is: the
    // assembler does what the language has no name for, loads of two words of which each is atomic. SSE2 is part of
    // every x86-64.
    //
    // The highest of a word's four parts is the tag's; what the others equal does not matter. Two of them packed as one number are negative if the higher one is
    // equal, whatever the lower one is.
    unsafe {
        core::arch::asm!(
            "movd {wanted}, {tag:e}",
            "pshuflw {wanted}, {wanted}, 0",
            "punpcklqdq {wanted}, {wanted}",
            "movdqu {first}, [{bucket}]",
            "movdqu {second}, [{bucket} + 16]",
            "movdqu {third}, [{bucket} + 32]",
            "movdqu {fourth}, [{bucket} + 48]",
            "pcmpeqw {first}, {wanted}",
            "pcmpeqw {second}, {wanted}",
            "pcmpeqw {third}, {wanted}",
            "pcmpeqw {fourth}, {wanted}",
            "packsswb {first}, {second}",
            "packsswb {third}, {fourth}",
            "packsswb {first}, {third}",
            "pmovmskb {equal:e}, {first}",
            tag = in(reg) tag,
            bucket = in(reg) bucket.as_ptr(),
            wanted = out(xmm_reg) _,
            first = out(xmm_reg) _,
            second = out(xmm_reg) _,
            third = out(xmm_reg) _,
            fourth = out(xmm_reg) _,
            equal = lateout(reg) equal,
            options(readonly, nostack, preserves_flags),
        );
    }
    // The first word is no slot.
    equal & 0xaaa8
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::table::hash::next_seed;

    #[test]
    fn every_slot_is_found_and_both_twins_agree() {
        let mut state = 5;
        for _ in 0..10_000 {
            // Of slots that are empty, and of those in use.
            let tag = [0, next_seed(&mut state) as u16 | 1][(state & 1) as usize];
            let pattern = next_seed(&mut state);
            let words: [u64; WORDS] = core::array::from_fn(|word| {
                let random = next_seed(&mut state) >> 16;
                if pattern >> word & 1 == 1 {
                    u64::from(tag) << 48 | random
                } else {
                    random << 17
                }
            });
            let bucket = words.map(Word::new);
            let found = equal_tags(&bucket, tag);
            assert_eq!(found, scalar(&bucket, tag), "{words:x?} {tag:x}");
            let slots: u32 = (1..WORDS)
                .filter(|word| words[*word] >> 48 == u64::from(tag))
                .map(|word| 2 << (2 * word))
                .sum();
            assert_eq!(found, slots);
            if found != 0 {
                assert_eq!(words[first(found)] >> 48, u64::from(tag));
            }
        }
    }
}
