//! Judges every checksum of a packet that came out, inner ones included.

use super::checksum::{offset, pseudo_header, sctp, sum};
use super::read::{Located, locate, word};
use portolan::packet::{Offload, offload_flags};

/// One checksum as it stands and as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    what: String,
    stored: u32,
    right: u32,
    rule: Rule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// One's complement of 16 bits.
    Word,
    /// CRC32c.
    Crc,
    /// Sum of the pseudo-header only.
    Partial,
    /// Absent, by UDP's zero.
    Absent,
}

impl Found {
    fn is_right(&self) -> bool {
        match self.rule {
            Rule::Absent => true,
            Rule::Crc => self.stored == self.right,
            Rule::Word | Rule::Partial => self.stored % 0xffff == self.right % 0xffff,
        }
    }

    /// How far it is from right, in the algebra of its kind: what a rewrite must leave as it was.
    fn discrepancy(&self) -> u32 {
        match self.rule {
            Rule::Absent => 0,
            Rule::Crc => self.stored ^ self.right,
            Rule::Word | Rule::Partial => (self.stored + (0xffff - self.right)) % 0xffff,
        }
    }
}

fn collect(bytes: &[u8], partial: bool, prefix: &str, found: &mut Vec<Found>) {
    let Some(located) = locate(bytes) else {
        return;
    };
    if located.src.is_ipv4()
        && let (Some(header), Some(stored)) = (bytes.get(..located.transport), word(bytes, 10))
    {
        let mut zeroed = header.to_vec();
        zeroed[10..12].fill(0);
        found.push(Found {
            what: format!("{prefix}IPv4 header"),
            stored: stored.into(),
            right: (!sum(&[&zeroed])).into(),
            rule: Rule::Word,
        });
    }
    if located.fragment_offset > 0 {
        return;
    }
    let Some(transport) = bytes.get(located.transport..located.end) else {
        return;
    };
    if let Some(one) = transport_checksum(&located, transport, partial, prefix) {
        found.push(one);
    }
    if matches!(located.protocol, 1 | 58) && prefix.is_empty() {
        let is_error = match (located.protocol, transport.first()) {
            (1, Some(3 | 4 | 5 | 11 | 12)) => true,
            (58, Some(kind)) => *kind < 128,
            _ => false,
        };
        if is_error && let Some(quoted) = transport.get(8..) {
            collect(quoted, false, "quoted ", found);
        }
    }
}

fn transport_checksum(
    located: &Located,
    transport: &[u8],
    partial: bool,
    prefix: &str,
) -> Option<Found> {
    let named = |name: &str| format!("{prefix}{name}");
    if located.protocol == 132 {
        let stored = u32::from_le_bytes(transport.get(8..12)?.try_into().ok()?);
        return Some(Found {
            what: named("SCTP"),
            stored,
            right: if partial {
                stored
            } else {
                u32::from_le_bytes(sctp(transport))
            },
            rule: Rule::Crc,
        });
    }
    let place = offset(located.protocol)?;
    let stored = word(transport, place)?;
    let name = match located.protocol {
        6 => "TCP",
        17 => "UDP",
        1 => "ICMP",
        _ => "ICMPv6",
    };
    let pseudo = if located.protocol == 1 {
        Vec::new()
    } else {
        pseudo_header(located.src, located.dst, located.protocol, transport.len())
    };
    if partial {
        return Some(Found {
            what: named(name),
            stored: stored.into(),
            right: sum(&[&pseudo]).into(),
            rule: Rule::Partial,
        });
    }
    let mut zeroed = transport.to_vec();
    zeroed[place..place + 2].fill(0);
    let absent = located.protocol == 17 && stored == 0;
    Some(Found {
        what: named(name),
        stored: stored.into(),
        right: (!sum(&[&pseudo, &zeroed])).into(),
        rule: if absent { Rule::Absent } else { Rule::Word },
    })
}

fn all(bytes: &[u8], offload: &Offload) -> Vec<Found> {
    let mut found = Vec::new();
    let partial = offload.flags & offload_flags::PARTIAL != 0;
    collect(bytes, partial, "", &mut found);
    found
}

/// Says which checksum of `after` is wrong, where that is the fault of whoever made it from `before`: a
/// checksum that was right must be right; one that was wrong, cut, partial or a fragment's must be off by
/// exactly what it was off; and UDP's zero stays zero.
pub(crate) fn rewritten(before: (&[u8], &Offload), after: (&[u8], &Offload)) -> Result<(), String> {
    let was = all(before.0, before.1);
    for now in all(after.0, after.1) {
        let earlier = was.iter().find(|one| one.what == now.what);
        let absent_before = earlier.is_some_and(|one| one.rule == Rule::Absent);
        if absent_before != (now.rule == Rule::Absent) {
            return Err(format!(
                "the {} checksum was {:#06x} and became {:#06x}: zero means none and stays zero",
                now.what,
                earlier.map_or(0, |one| one.stored),
                now.stored
            ));
        }
        let demanded = match earlier {
            Some(one) if one.rule == now.rule => one.discrepancy(),
            Some(_) | None => 0,
        };
        if now.discrepancy() != demanded {
            let shift = if demanded == 0 {
                format!("should be {:#06x}", now.right)
            } else {
                "is not what it was plus what was rewritten".to_owned()
            };
            return Err(format!(
                "the {} checksum is {:#06x} and {shift}",
                now.what, now.stored
            ));
        }
    }
    Ok(())
}

/// Says which checksum of a packet that was made from nothing is wrong. What it quotes is not judged.
pub(crate) fn fresh(bytes: &[u8], offload: &Offload) -> Result<(), String> {
    match all(bytes, offload)
        .into_iter()
        .find(|one| !one.what.starts_with("quoted") && !one.is_right())
    {
        None => Ok(()),
        Some(one) => Err(format!(
            "the {} checksum is {:#06x} and should be {:#06x}",
            one.what, one.stored, one.right
        )),
    }
}
