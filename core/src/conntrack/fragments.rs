//! Where the later fragments of a datagram go: wherever its first fragment went, or nowhere.
//!
//! Nothing is held back or reassembled. A later fragment that comes before its first, or whose datagram is
//! unknown, is dropped and counted; the sender's retransmission brings both again. A datagram is remembered
//! for 30 seconds (RFC 791 and RFC 8200 let a receiver wait 15 to 60), the number of datagrams is bounded,
//! and a fragment that reaches into its first fragment is dropped with the rest of its datagram (RFC 5722).

use super::connections::hash;
use super::record::{join, split};
use crate::net::{Address, Family, Protocol, TICKS_PER_SECOND, Tuple};
use crate::sync::{FreeList, Header, Life, Word};
use crate::table::{Entry, HashKey, Index, Sameness};
use alloc::boxed::Box;
use core::net::IpAddr;

/// How long a datagram is remembered, in ticks: 30 seconds.
const LIFETIME_TICKS: u32 = 30 * TICKS_PER_SECOND;

/// Names a datagram (RFC 791, 3.2; RFC 8200, 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentKey<A> {
    /// The sender.
    pub source: A,
    /// The receiver, as the sender wrote it.
    pub destination: A,
    /// As parsed: identification, and over IPv4 the protocol.
    pub datagram: u32,
}

/// Where a datagram's fragments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// As they are: the first fragment was none of ours.
    Pass,
    /// To these addresses.
    Forward {
        /// The new source.
        source: IpAddr,
        /// The new destination.
        destination: IpAddr,
        /// The endpoint's tag as it was for the first fragment.
        tag: u64,
    },
    /// Nowhere: the datagram is unknown or was dropped.
    Unmatched,
    /// Nowhere: the fragment reaches into the first one.
    Overlap,
}

/// header; source 2; destination 2; datagram and first length; then the new addresses and the tag.
#[derive(Debug)]
#[repr(C, align(64))]
struct Record {
    header: Word,
    /// Family, kind and where the first fragment's data ends 32, datagram 32.
    identity: Word,
    source: [Word; 2],
    destination: [Word; 2],
    new_source: [Word; 2],
    new_destination: [Word; 2],
    tag: Word,
}

const STATE_PASS: u8 = 0;
const STATE_FORWARD: u8 = 1;
const STATE_DROP: u8 = 2;

/// The datagrams of both families that are being followed.
#[derive(Debug)]
pub struct Fragments {
    key: HashKey,
    index: Index,
    records: Box<[Record]>,
    free: FreeList,
    hand: Word,
}

impl Fragments {
    /// Room for `capacity` datagrams.
    #[must_use]
    pub fn new(capacity: u32, seed: u128) -> Self {
        let pair = || [Word::new(0), Word::new(0)];
        let record = |_| Record {
            header: Word::new(0),
            identity: Word::new(0),
            source: pair(),
            destination: pair(),
            new_source: pair(),
            new_destination: pair(),
            tag: Word::new(0),
        };
        Self {
            key: HashKey::new(seed, 0xf7a6),
            index: Index::new(u64::from(capacity), None),
            records: (0..capacity).map(record).collect(),
            free: FreeList::full(capacity),
            hand: Word::new(0),
        }
    }

    /// Bytes that [`Fragments::new`] allocates.
    #[must_use]
    pub const fn memory_bytes(capacity: u32) -> u64 {
        (capacity as u64)
            .saturating_mul(size_of::<Record>() as u64)
            .saturating_add(FreeList::memory_bytes(capacity) as u64)
            .saturating_add(Index::memory_bytes(capacity as u64))
    }

    /// How many records are in use, expired ones not yet reused included. Looks at every record.
    #[must_use]
    pub fn used(&self) -> u64 {
        let free = |record: &&Record| Header::load(&record.header).life() == Life::Free;
        let count = self.records.iter().filter(|record| !free(record)).count();
        count as u64
    }

    /// Remembers what became of a first fragment whose data ends at byte `end` of its datagram. `translated`:
    /// its new source and destination and the endpoint's tag; `None`: it was passed.
    ///
    /// `false` if the table is full; the datagram's later fragments will be dropped.
    pub fn lead<A: Address>(
        &self,
        key: &FragmentKey<A>,
        end: u16,
        translated: Option<(A, A, u64)>,
        now: u32,
    ) -> bool {
        let Some(number) = self.take(now) else {
            return false;
        };
        let Some(record) = self.records.get(number as usize) else {
            return false;
        };
        let header = Header::claim(&record.header, now.saturating_add(LIFETIME_TICKS));
        record
            .identity
            .write(join(u32::from(end) | family_bit::<A>(), key.datagram));
        write(&record.source, key.source);
        write(&record.destination, key.destination);
        let state = match translated {
            Some((source, destination, tag)) => {
                write(&record.new_source, source);
                write(&record.new_destination, destination);
                record.tag.write(tag);
                STATE_FORWARD
            }
            None => STATE_PASS,
        };
        let hash = self.hash(key);
        let placed = entry(number, header).is_some_and(|own| {
            // A datagram of the same name that is still remembered gives way: names are reused.
            let displaced = |found| {
                if let Some((old, old_number, old_header)) = self.resolve(found, key) {
                    self.release(old, old_number, old_header, hash);
                }
                Sameness::Different
            };
            self.index.insert(hash, own, displaced).is_ok()
        });
        if placed {
            let deadline = header.deadline();
            let _ = header.advance(&record.header, Life::Live(state), deadline);
        } else {
            let _ = header.advance(&record.header, Life::Free, 0);
            self.free.give(number);
        }
        placed
    }

    /// Where a later fragment goes whose data begins at byte `offset` of its datagram.
    #[must_use]
    pub fn follow<A: Address>(&self, key: &FragmentKey<A>, offset: u16, now: u32) -> Followed {
        let hash = self.hash(key);
        let mut followed = Followed::Unmatched;
        self.index.find(hash, |found| {
            let Some((record, _, header)) = self.resolve(found, key) else {
                return false;
            };
            let Life::Live(state) = header.life() else {
                return false;
            };
            if header.deadline() <= now {
                return false;
            }
            let end = split(record.identity.read()).0 & 0xffff;
            let source: A = read(&record.new_source);
            let destination: A = read(&record.new_destination);
            let tag = record.tag.read();
            if !header.confirm(&record.header) {
                return false;
            }
            followed = match state {
                _ if u32::from(offset) < end => {
                    // The rest of the datagram goes the same way as this fragment: nowhere.
                    let dropped = Life::Live(STATE_DROP);
                    let _ = header.advance(&record.header, dropped, header.deadline());
                    Followed::Overlap
                }
                STATE_PASS => Followed::Pass,
                STATE_FORWARD => Followed::Forward {
                    source: source.into(),
                    destination: destination.into(),
                    tag,
                },
                _ => Followed::Unmatched,
            };
            true
        });
        followed
    }

    fn hash<A: Address>(&self, key: &FragmentKey<A>) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "each half is taken on its own"
        )]
        let (high, low) = ((key.datagram >> 16) as u16, key.datagram as u16);
        let tuple = Tuple {
            source: key.source,
            destination: key.destination,
            source_port: high,
            destination_port: low,
            protocol: Protocol::Udp,
        };
        hash(&self.key, &tuple)
    }

    /// The entry's record if it is of the entry's incarnation and this datagram's.
    fn resolve<A: Address>(
        &self,
        found: Entry,
        key: &FragmentKey<A>,
    ) -> Option<(&Record, u32, Header)> {
        let (version, number) = split(found.bits());
        let number = number.wrapping_sub(1);
        let record = self.records.get(number as usize)?;
        let header = Header::load(&record.header);
        let (rest, datagram) = split(record.identity.read());
        let same = header.version() & 0xffff == u64::from(version)
            && header.life() != Life::Free
            && datagram == key.datagram
            && rest & FAMILY_BIT == family_bit::<A>()
            && read::<A>(&record.source) == key.source
            && read::<A>(&record.destination) == key.destination;
        (same && header.confirm(&record.header)).then_some((record, number, header))
    }

    fn release(&self, record: &Record, number: u32, header: Header, hash: u64) {
        if matches!(header.life(), Life::Live(_))
            && header.advance(&record.header, Life::Free, 0).is_ok()
        {
            if let Some(entry) = entry(number, header) {
                self.index.remove(hash, entry);
            }
            self.free.give(number);
        }
    }

    /// A free record, clearing expired ones away if there is none.
    fn take(&self, now: u32) -> Option<u32> {
        if let Some(number) = self.free.take() {
            return Some(number);
        }
        let count = self.records.len() as u64;
        let start = self.hand.read();
        let sample = count.min(64);
        self.hand.write(start.wrapping_add(sample));
        for step in 0..sample {
            let number = u32::try_from(start.wrapping_add(step) % count).ok()?;
            self.expire(number, now);
        }
        self.free.take()
    }

    fn expire(&self, number: u32, now: u32) {
        let Some(record) = self.records.get(number as usize) else {
            return;
        };
        let header = Header::load(&record.header);
        if header.deadline() > now || !matches!(header.life(), Life::Live(_)) {
            return;
        }
        let (rest, datagram) = split(record.identity.read());
        let hash = if rest & FAMILY_BIT == 0 {
            self.hash(&key_of::<core::net::Ipv4Addr>(record, datagram))
        } else {
            self.hash(&key_of::<core::net::Ipv6Addr>(record, datagram))
        };
        self.release(record, number, header, hash);
    }
}

fn key_of<A: Address>(record: &Record, datagram: u32) -> FragmentKey<A> {
    FragmentKey {
        source: read(&record.source),
        destination: read(&record.destination),
        datagram,
    }
}

const FAMILY_BIT: u32 = 1 << 16;

const fn family_bit<A: Address>() -> u32 {
    match A::FAMILY {
        Family::Ipv4 => 0,
        Family::Ipv6 => FAMILY_BIT,
    }
}

fn entry(number: u32, header: Header) -> Option<Entry> {
    Entry::new(((header.version() & 0xffff) << 32) | u64::from(number).wrapping_add(1))
}

fn write<A: Address>(words: &[Word; 2], address: A) {
    for (word, value) in words.iter().zip(address.to_words()) {
        word.write(value);
    }
}

fn read<A: Address>([high, low]: &[Word; 2]) -> A {
    A::from_words([high.read(), low.read()])
}
