//! Damaged queries by the million: no panic, no hang, and whatever is replied can be read and is as short as it must be.

use super::world::{queries, reply, zone};
use domain::base::{Message, ParsedName};
use domain::rdata::AllRecordData;
use portolan::dns::Transport;

/// Bytes that mean something in a message: ends, pointers, counts.
const TELLING: [u8; 8] = [0, 1, 12, 41, 63, 64, 0xc0, 0xff];

/// Of so many replies one is read whole by another library.
const SAMPLE: u64 = 32;

struct Random(u64);

impl Random {
    /// xorshift64* (Vigna 2016).
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}

/// Ten million in a build that is fast, fewer in one that checks itself.
fn packets() -> u64 {
    match std::env::var("PORTOLAN_DNS_PACKETS") {
        Ok(number) => number.parse().expect("a number of packets"),
        Err(_) if cfg!(debug_assertions) => 100_000,
        Err(_) => 10_000_000,
    }
}

fn damage(query: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(3) {
        let place = random.below(query.len());
        match random.below(6) {
            0 => query.truncate(place),
            1 => query.insert(place, TELLING[random.below(TELLING.len())]),
            2 => query.extend_from_slice(&other[random.below(other.len())..]),
            3 if !query.is_empty() => query[place] = TELLING[random.below(TELLING.len())],
            4 if !query.is_empty() => query[place] ^= 1 << random.below(8),
            _ if query.len() > 12 => query[4 + random.below(8)] ^= 1,
            _ => {}
        }
    }
}

/// Reads every record, names and all.
fn read(bytes: &[u8]) -> Result<(), String> {
    let message = Message::from_octets(bytes).map_err(|error| error.to_string())?;
    let sections = [message.answer(), message.authority(), message.additional()];
    for section in sections {
        let section = section.map_err(|error| error.to_string())?;
        for record in section.limit_to::<AllRecordData<_, ParsedName<_>>>() {
            record.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// What a client can be said to have said that fits, wherever its record of EDNS is.
fn allowed(query: &[u8]) -> usize {
    let sizes = query.windows(5).filter_map(|bytes| match bytes {
        [0, 0, 41, high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    });
    usize::from(sizes.max().unwrap_or(0)).max(512)
}

#[test]
fn damaged_queries_are_answered_soundly_or_not_at_all() {
    let mut zone = zone();
    let mut reader = zone.reader().expect("a reader");
    let whole = queries();
    let mut room = vec![0; 65_535];
    let mut random = Random(0x5052_5052_5052_5052);
    let mut query = Vec::new();
    let (mut replied, mut looked_at) = (0_u64, 0_u64);
    for number in 0..packets() {
        query.clear();
        query.extend_from_slice(&whole[random.below(whole.len())]);
        damage(&mut query, &whole[random.below(whole.len())], &mut random);
        let transport = if number % 4 == 0 {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let Some(reply) = reply(&mut reader, &query, transport, &mut room) else {
            continue;
        };
        replied += 1;
        assert!(
            reply.len() >= 12 && reply[..2] == query[..2],
            "{query:02x?}"
        );
        assert!(reply[2] & 0x80 != 0 && query[2] & 0x80 == 0, "{query:02x?}");
        // Without additional records nobody has said that more fits.
        let plain = query[10..12] == [0, 0];
        assert!(transport == Transport::Tcp || !plain || reply.len() <= 512);
        if replied % SAMPLE == 0 {
            looked_at += 1;
            assert_eq!(read(reply), Ok(()), "{query:02x?} -> {reply:02x?}");
            assert!(transport == Transport::Tcp || reply.len() <= allowed(&query));
        }
    }
    assert!(replied > packets() / 4, "{replied} replies");
    assert!(looked_at > 0);
}

#[test]
fn every_cut_of_every_query_ends_in_an_answer() {
    let mut zone = zone();
    let mut reader = zone.reader().expect("a reader");
    let mut room = vec![0; 65_535];
    for query in queries() {
        for length in 0..=query.len() {
            let cut = query.get(..length).expect("a part");
            if let Some(reply) = reply(&mut reader, cut, Transport::Udp, &mut room) {
                assert_eq!(read(reply), Ok(()), "{cut:02x?}");
            }
        }
    }
}

#[test]
fn however_little_room_there_is_a_reply_is_sound() {
    let mut zone = zone();
    let mut reader = zone.reader().expect("a reader");
    for query in queries() {
        for length in (0..600).step_by(7) {
            let mut room = vec![0; length];
            if let Some(reply) = reply(&mut reader, &query, Transport::Tcp, &mut room) {
                assert_eq!(read(reply), Ok(()), "{length}: {query:02x?}");
            }
        }
    }
}
