//! SCTP's CRC32c (RFC 9260, appendix A) and its incremental update.
//!
//! A CRC is linear over GF(2): when the first four bytes of a message change, its CRC changes by their
//! difference, moved through the rest of the message. Moving is a multiplication by a power of x, so the cost
//! does not grow with the message, and a wrong CRC stays wrong by the same difference.

/// Castagnoli's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The CRC of each byte.
static BYTES: [u32; 256] = byte_table();

/// x^(8 n) for n below 256.
static POWERS_LOW: [u32; 256] = power_table(x_to_8());

/// x^(8 · 256 n) for n below 257: enough for a message of 65,575 bytes.
static POWERS_HIGH: [u32; 257] = power_table(power_of_256_bytes());

/// The CRC32c of `bytes`, as SCTP stores it: least significant byte first.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc = step(crc, *byte);
    }
    !crc
}

/// What to XOR into the CRC32c of a message of `len` bytes when its first four bytes change by `change` (old
/// XOR new, as a little-endian word).
#[inline]
pub(super) fn of_leading_change(change: u32, len: u32) -> u32 {
    let [low, high @ ..] = len.to_le_bytes();
    let [h0, h1, h2] = high;
    let high = u32::from_le_bytes([h0, h1, h2, 0]);
    let low = POWERS_LOW.get(usize::from(low)).copied().unwrap_or(0);
    let high = usize::try_from(high)
        .ok()
        .and_then(|high| POWERS_HIGH.get(high))
        .copied()
        .unwrap_or(0);
    multiply(multiply(change, low), high)
}

/// The product of two polynomials modulo Castagnoli's; bit 31 is the constant term.
fn multiply(a: u32, b: u32) -> u32 {
    // First without the modulus: 32 steps that do not wait for each other.
    let mut product = 0_u64;
    for bit in 0..32_u32 {
        let chosen = 0_u64.wrapping_sub(u64::from((a >> bit) & 1));
        product ^= (u64::from(b) << bit) & chosen;
    }
    // Bit 63 becomes the constant term. What overflows 32 bits is the low half, reduced as a CRC is.
    let [l0, l1, l2, l3, h0, h1, h2, h3] = (product << 1).to_le_bytes();
    let mut low = u32::from_le_bytes([l0, l1, l2, l3]);
    for _ in 0..4 {
        low = step(low, 0);
    }
    low ^ u32::from_le_bytes([h0, h1, h2, h3])
}

/// A CRC register after one more byte.
#[inline]
fn step(crc: u32, byte: u8) -> u32 {
    let [low, ..] = crc.to_le_bytes();
    let index = usize::from(low ^ byte);
    (crc >> 8) ^ BYTES.get(index).copied().unwrap_or(0)
}

/// [`multiply`] for the compiler, bit by bit.
const fn multiply_slowly(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 31_u32;
    loop {
        product ^= b & 0_u32.wrapping_sub((a >> bit) & 1);
        if bit == 0 {
            return product;
        }
        b = times_x(b);
        bit = bit.wrapping_sub(1);
    }
}

const fn times_x(a: u32) -> u32 {
    (a >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(a & 1))
}

const fn x_to_8() -> u32 {
    // The constant term moved by eight places; no reduction happens that early.
    0x8000_0000 >> 8
}

const fn power_of_256_bytes() -> u32 {
    let mut power = x_to_8();
    let mut doublings = 0_u32;
    while doublings < 8 {
        power = multiply_slowly(power, power);
        doublings = doublings.wrapping_add(1);
    }
    power
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs in the compiler only"
)]
const fn power_table<const N: usize>(base: u32) -> [u32; N] {
    let mut table = [0_u32; N];
    let mut power = 0x8000_0000;
    let mut n = 0;
    while n < N {
        table[n] = power;
        power = multiply_slowly(power, base);
        n += 1;
    }
    table
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "runs in the compiler only"
)]
const fn byte_table() -> [u32; 256] {
    let mut table = [0_u32; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = times_x(crc);
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn both_multiplications_agree() {
        let mut a = 1_u32;
        for n in 0..100_000_u32 {
            a = a.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
            let b = a.rotate_left(n % 32) ^ n;
            assert_eq!(multiply(a, b), multiply_slowly(a, b), "{a:#x} {b:#x}");
        }
    }

    #[test]
    fn an_incremental_update_equals_the_full_crc_at_every_length() {
        let mut bytes: alloc::vec::Vec<u8> = (0..65_575_u32).map(|n| (n * 7 + 3) as u8).collect();
        let lengths = (4..3_000).chain([4_096, 9_000, 32_767, 65_279, 65_280, 65_535, 65_575]);
        for len in lengths {
            let before = crc32c(&bytes[..len]);
            let old = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let new = old.wrapping_mul(0x9e37_79b9).wrapping_add(len as u32);
            bytes[..4].copy_from_slice(&new.to_le_bytes());
            let after = before ^ of_leading_change(old ^ new, len as u32);
            assert_eq!(after, crc32c(&bytes[..len]), "{len} bytes");
        }
    }
}
