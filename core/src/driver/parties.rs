//! Whom a packet is from and whom it is for.

/// An address of either family, as it stands in the packet; IPv4's is followed by zeros.
pub(super) type Party = [u8; 16];

/// The source address; `None` if the packet is too short to have one.
pub(super) fn sender(packet: &[u8]) -> Option<Party> {
    party(packet, 12, 8)
}

/// The destination address; `None` if the packet is too short to have one.
pub(super) fn receiver(packet: &[u8]) -> Option<Party> {
    party(packet, 16, 24)
}

/// Reads the address that begins here in an IPv4 header (RFC 791, 3.1), or there in an IPv6 header (RFC 8200, 3).
fn party(packet: &[u8], ipv4_at: usize, ipv6_at: usize) -> Option<Party> {
    match packet.first()? >> 4 {
        4 => {
            let [a, b, c, d] = *packet.get(ipv4_at..)?.first_chunk()?;
            Some([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        6 => packet.get(ipv6_at..)?.first_chunk().copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::build;

    #[test]
    fn parties_of_both_families_are_found_and_told_apart() {
        let ipv4 = build::tcp("10.0.0.1:1", "10.0.0.2:2").syn().build();
        let ipv6 = build::tcp("[a00:1::]:1", "[a00:2::]:2").syn().build();
        for packet in [ipv4, ipv6] {
            let own = |party: Option<Party>| party.and_then(|it| it.first_chunk().copied());
            assert_eq!(own(sender(&packet)), Some([10, 0, 0, 1]));
            assert_eq!(own(receiver(&packet)), Some([10, 0, 0, 2]));
        }
    }

    #[test]
    fn what_is_too_short_is_from_and_for_nobody() {
        let packet = build::tcp("[fd00::1]:1", "[fd00::2]:2").syn().build();
        for len in 0..24 {
            assert_eq!(receiver(&packet[..len]), None, "{len} bytes");
        }
        assert_eq!(sender(&packet[..23]), None);
        assert_eq!(sender(&[0x50; 40]), None, "of no family");
    }
}
