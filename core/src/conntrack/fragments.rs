//! Where the later fragments of a datagram go: wherever its first fragment went, or nowhere.
//!
//! Nothing is held back or reassembled. A later fragment that comes before its first, or whose datagram is
//! unknown, is dropped and counted; the sender's retransmission brings both again. A datagram is remembered
//! for 30 seconds (RFC 791 and RFC 8200 let a receiver wait 15 to 60), the number of datagrams is bounded,
//! and a fragment that reaches into its first fragment is dropped with the rest of its datagram (RFC 5722).

use super::connections::hash;
use super::record::{Stored, join, split};
use crate::net::{Address, Family, Protocol, TICKS_PER_SECOND, Tuple};
use crate::sync::{Life, Word};
use crate::table::{Dated, Found, HashKey, Sameness, Store};
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

impl Dated for Record {
    fn header(&self) -> &Word {
        &self.header
    }
}

const STATE_PASS: u8 = 0;
const STATE_FORWARD: u8 = 1;
const STATE_DROP: u8 = 2;

/// The datagrams of both families that are being followed.
#[derive(Debug)]
pub struct Fragments {
    key: HashKey,
    store: Store<Record>,
}

impl Fragments {
    /// Room for `capacity` datagrams.
    #[must_use]
    pub fn new(capacity: u32, seed: u128) -> Self {
        let pair = || [Word::new(0), Word::new(0)];
        let record = || Record {
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
            store: Store::new(capacity, record),
        }
    }

    /// Bytes that [`Fragments::new`] allocates.
    #[must_use]
    pub const fn memory_bytes(capacity: u32) -> u64 {
        Store::<Record>::memory_bytes(capacity)
    }

    /// How many records are in use, expired ones not yet reused included. Looks at every record.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.store.used()
    }

    /// Remembers what became of a first fragment whose data ends at byte `end` of its datagram. `translated`:
    /// its new source and destination and the endpoint's tag; `None`: it was passed.
    ///
    /// `false` if the table is full; the datagram's later fragments will be dropped.
    pub fn lead<A: Stored>(
        &self,
        key: &FragmentKey<A>,
        end: u16,
        translated: Option<(A, A, u64)>,
        now: u32,
    ) -> bool {
        let deadline = now.saturating_add(LIFETIME_TICKS);
        let Some(claimed) = self
            .store
            .claim(deadline, now, |record| self.hash_of(record))
        else {
            return false;
        };
        let record = claimed.record;
        let identity = join(u32::from(end) | family_bit::<A>(), key.datagram);
        record.identity.write(identity);
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
        // A datagram of the same name that is still remembered gives way: names are reused.
        let displaced = |found: Found<'_, Record>| {
            if is_of(&found, key) {
                self.store.release(found, hash);
            }
            Sameness::Different
        };
        self.store.publish(hash, claimed, state, displaced).is_ok()
    }

    /// Where a later fragment goes whose data begins at byte `offset` of its datagram.
    #[must_use]
    pub fn follow<A: Stored>(&self, key: &FragmentKey<A>, offset: u16, now: u32) -> Followed {
        let mut followed = Followed::Unmatched;
        self.store.find(self.hash(key), |found| {
            let Life::Live(state) = found.header.life() else {
                return false;
            };
            let record = found.record;
            let end = split(record.identity.read()).0 & 0xffff;
            let source: A = read(&record.new_source);
            let destination: A = read(&record.new_destination);
            let tag = record.tag.read();
            if found.header.deadline() <= now || !is_of(&found, key) {
                return false;
            }
            followed = match state {
                _ if u32::from(offset) < end => {
                    // The rest of the datagram goes the same way as this fragment: nowhere.
                    found.advance(STATE_DROP, found.header.deadline());
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

    fn hash<A: Stored>(&self, key: &FragmentKey<A>) -> u64 {
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

    /// The hash under which a record was published.
    fn hash_of(&self, record: &Record) -> u64 {
        let (rest, datagram) = split(record.identity.read());
        if rest & FAMILY_BIT == 0 {
            self.hash(&key_of::<core::net::Ipv4Addr>(record, datagram))
        } else {
            self.hash(&key_of::<core::net::Ipv6Addr>(record, datagram))
        }
    }
}

/// Is the record this datagram's, and all that was read of it since it was found its own?
fn is_of<A: Address>(found: &Found<'_, Record>, key: &FragmentKey<A>) -> bool {
    let (rest, datagram) = split(found.record.identity.read());
    datagram == key.datagram
        && rest & FAMILY_BIT == family_bit::<A>()
        && key_of::<A>(found.record, datagram) == *key
        && found.confirm()
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

fn write<A: Address>(words: &[Word; 2], address: A) {
    for (word, value) in words.iter().zip(address.to_words()) {
        word.write(value);
    }
}

fn read<A: Address>([high, low]: &[Word; 2]) -> A {
    A::from_words([high.read(), low.read()])
}
