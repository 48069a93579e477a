//! The lock-free primitives under every interleaving that the C11 memory model allows, within stated bounds.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p portolan --test loom`. Without `--cfg loom` this is empty.
//! Loom does not explore load buffering, and explores at most three preemptions where a bound is set, one for whole connections.
#![cfg(loom)]

use core::net::Ipv4Addr;
use loom::thread;
use portolan::conntrack::{
    Connections, Hit, OpenError, Opening, SourcePorts, Target, Timeouts, Transport,
};
use portolan::net::{Direction, EndpointId, Protocol, Tuple};
use portolan::sync::{FreeList, Header, Life, Loads, Published, Replica, Word};
use portolan::table::{Entry, Index, InsertError, Sameness};
use std::sync::Arc;

fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

struct Pair([Word; 2]);

impl Replica for Pair {
    type Edit = u64;
    type Effects = ();
    type Refusal = ();

    fn apply(&mut self, edit: &u64, (): &mut ()) -> Result<(), ()> {
        for word in &self.0 {
            word.write(*edit);
        }
        Ok(())
    }
}

/// Excludes: reading a half-edited replica, editing a pinned one, seeing a generation without its edits.
#[test]
fn a_pin_reads_its_own_generation_and_nothing_else() {
    bounded(3, || {
        let pair = || Pair([Word::new(0), Word::new(0)]);
        let mut published = Published::new([pair(), pair()], 2);
        let readers: Vec<_> = (0..2)
            .map(|slot| {
                let mut reader = published.reader(slot);
                thread::spawn(move || {
                    let pin = reader.pin().expect("a slot");
                    let [first, second] = &pin.0;
                    assert_eq!(
                        (first.read(), second.read()),
                        (pin.generation(), pin.generation())
                    );
                })
            })
            .collect();
        for edit in 1..=2 {
            let next = published.generation() + 1;
            assert!(next <= edit);
            // A reader that is behind makes the writer try again later; here it does not.
            let _ = published.publish(&mut vec![next], &mut (), &mut (), |()| ());
        }
        for reader in readers {
            reader.join().expect("no panic");
        }
    });
}

/// Excludes: a torn payload, the payload of a later incarnation under an earlier version.
#[test]
fn a_confirmed_payload_is_of_one_incarnation() {
    loom::model(|| {
        let record = Arc::new([Word::new(0), Word::new(0), Word::new(0)]);
        let other = Arc::clone(&record);
        let owner = thread::spawn(move || {
            let [header, first, second] = &*other;
            for _ in 0..2 {
                let claimed = Header::claim(header, 1);
                first.write(claimed.version());
                second.write(claimed.version());
                let live = claimed
                    .advance(header, Life::Live(0), 1)
                    .expect("nobody else moves it");
                live.advance(header, Life::Free, 0)
                    .expect("nobody else moves it");
            }
        });
        let [header, first, second] = &*record;
        let seen = Header::load(header);
        if matches!(seen.life(), Life::Live(_)) {
            let payload = (first.read(), second.read());
            if seen.confirm(header) {
                assert_eq!(payload, (seen.version(), seen.version()));
            }
        }
        owner.join().expect("no panic");
    });
}

/// Excludes: the same index given twice, an index lost (ABA).
#[test]
fn a_free_list_gives_each_index_to_one() {
    bounded(3, || {
        let list = Arc::new(FreeList::full(2));
        let other = Arc::clone(&list);
        let taker = thread::spawn(move || {
            let (first, second) = (other.take(), other.take());
            assert!(first.is_none() || first != second);
            for index in first.into_iter().chain(second) {
                other.give(index);
            }
        });
        if let Some(index) = list.take() {
            list.give(index);
        }
        taker.join().expect("no panic");
        let mut left = [list.take(), list.take()];
        left.sort_unstable();
        assert_eq!((left, list.take()), ([Some(0), Some(1)], None));
    });
}

/// Excludes: one key in the index twice.
#[test]
fn of_two_that_insert_one_key_at_most_one_does() {
    bounded(3, || {
        let index = Arc::new(Index::new(1, None));
        let other = Arc::clone(&index);
        let second = thread::spawn(move || other.insert(7, Entry::new(2), |_| Sameness::Same));
        let first = index.insert(7, Entry::new(1), |_| Sameness::Same);
        let second = second.join().expect("no panic");
        let refused = |result| matches!(result, Err(InsertError::Duplicate(_)));
        assert!(refused(first) || refused(second));
        for (entry, result) in [(Entry::new(1), first), (Entry::new(2), second)] {
            assert_eq!(index.remove(7, entry), result.is_ok());
        }
        assert_eq!(index.find(7, |_| true), None);
    });
}

/// Whether the connection was opened, or found opened by another thread, and its source port.
fn open_or_find(table: &Connections<Ipv4Addr>, random: u64) -> (bool, u16) {
    let original = Tuple {
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
        source_port: 1,
        destination_port: 2,
        protocol: Protocol::Udp,
    };
    let hash = table.hash(&original);
    let target = Target {
        address: Ipv4Addr::new(10, 0, 0, 3),
        port: 3,
        endpoint: EndpointId(0),
        generation: 0,
        local: false,
        counted: false,
    };
    let ports = SourcePorts::new(&(1_024..=1_025));
    let opening = Opening::new(table, (&original, hash), &target, None, (ports, random));
    let source_port = |hit: Hit<'_, Ipv4Addr>| hit.binding.tuple(Direction::Reply).destination_port;
    // As a packet is looked up again that was overtaken.
    for _ in 0..8 {
        match table.open(&opening, &Transport::Udp, false, 0, |_| true) {
            Ok((hit, _)) => return (true, source_port(hit)),
            Err(error) => assert_eq!(error, OpenError::Overtaken),
        }
        if let Some(hit) = table.find(&original, hash, 0) {
            return (false, source_port(hit));
        }
    }
    panic!("neither opened nor found");
}

/// Excludes: two connections of one tuple, half a connection, a record lost when an opening is stopped.
#[test]
fn of_two_that_open_one_tuple_both_have_one_connection() {
    bounded(1, || {
        let table = Arc::new(Connections::<Ipv4Addr>::new(
            2,
            1,
            &Timeouts::default(),
            None,
            Arc::new(Loads::new(1)),
        ));
        let other = Arc::clone(&table);
        let second = thread::spawn(move || open_or_find(&other, 1));
        let first = open_or_find(&table, 0);
        let second = second.join().expect("no panic");
        assert_eq!(first.1, second.1, "one connection");
        assert!(first.0 != second.0, "opened once");
        assert_eq!((table.used(), table.iter(0).count()), (1, 1));
    });
}
