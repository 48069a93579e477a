//! Checksums computed from scratch, so that what the library updated incrementally is judged independently.

use core::net::IpAddr;

/// Sum of 16-bit words in one's complement, folded (RFC 1071); an odd last byte is a high byte.
pub(crate) fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            total += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The bytes of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The pseudo-header of RFC 793 or RFC 8200 8.1.
pub(crate) fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = octets(src);
    bytes.extend(octets(dst));
    match src {
        IpAddr::V4(_) => {
            bytes.extend([0, protocol]);
            bytes.extend((length as u16).to_be_bytes());
        }
        IpAddr::V6(_) => {
            bytes.extend((length as u32).to_be_bytes());
            bytes.extend([0, 0, 0, protocol]);
        }
    }
    bytes
}

/// CRC32c of SCTP (RFC 9260, appendix A), bit by bit: this is a judge, not a hot path.
pub(crate) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(carry));
        }
    }
    !crc
}

/// CRC32c of an SCTP packet as it stands in its header: the field itself counts as zero.
pub(crate) fn sctp(segment: &[u8]) -> [u8; 4] {
    let zeroed = segment
        .iter()
        .enumerate()
        .map(|(i, byte)| if (8..12).contains(&i) { 0 } else { *byte });
    crc32c(zeroed).to_le_bytes()
}

/// Where a protocol keeps its 16-bit checksum, in bytes from its header.
pub(crate) const fn offset(protocol: u8) -> Option<usize> {
    match protocol {
        6 => Some(16),
        17 => Some(6),
        1 | 58 => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_of_the_check_string_is_the_published_value() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }

    #[test]
    fn sum_folds_carries_and_pads_an_odd_byte() {
        assert_eq!(sum(&[&[0xff, 0xff, 0x00, 0x01]]), 1);
        assert_eq!(sum(&[&[0x12]]), 0x1200);
    }
}
