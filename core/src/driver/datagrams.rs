//! A UDP socket that is read and written many datagrams at a time, and answers from the address it was asked at.
//!
//! Several sockets may share an address, one for each thread: the kernel spreads clients over them.

use super::mmsg::{self, Name};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;

/// Datagrams that one call takes.
const BATCH: usize = mmsg::BATCH;
/// The longest datagram that is taken, in bytes; longer ones are dropped.
const LONGEST: usize = 4096;

/// Who sent a datagram, and to which of our addresses: where an answer goes, and from where.
#[derive(Clone)]
pub struct Peer {
    pub(super) name: Name,
    pub(super) control: mmsg::Control,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

/// Room for one datagram and its answer.
pub(super) struct Slot {
    pub(super) peer: Peer,
    pub(super) bytes: Box<[u8]>,
    pub(super) len: usize,
    pub(super) answer: Box<[u8]>,
    pub(super) answer_len: usize,
}

/// One socket. One thread at a time.
pub struct Datagrams {
    socket: Arc<OwnedFd>,
    slots: Vec<Slot>,
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = &self.socket;
        f.debug_struct("Datagrams")
            .field("socket", socket)
            .finish_non_exhaustive()
    }
}

/// Sends single answers, from any thread.
#[derive(Debug, Clone)]
pub struct AnswerSender {
    socket: Arc<OwnedFd>,
}

impl Datagrams {
    /// Opens a socket at an address that other sockets may share, for answers of at most `longest_answer` bytes.
    /// [`Datagrams::serve`] waits `patience` at most.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(
        address: SocketAddr,
        longest_answer: usize,
        patience: Duration,
    ) -> io::Result<Self> {
        let socket = mmsg::open(address, patience)?;
        let slot = || Slot {
            peer: Peer {
                name: Name::EMPTY,
                control: mmsg::Control::EMPTY,
            },
            bytes: vec![0; LONGEST].into(),
            len: 0,
            answer: vec![0; longest_answer].into(),
            answer_len: 0,
        };
        Ok(Self {
            socket: Arc::new(socket),
            slots: (0..BATCH).map(|_| slot()).collect(),
        })
    }

    /// Sends single answers from this socket.
    #[must_use]
    pub fn sender(&self) -> AnswerSender {
        AnswerSender {
            socket: Arc::clone(&self.socket),
        }
    }

    /// Waits for datagrams, hands each to `answer`, which writes its answer and says how long it is (0: none), and
    /// sends the answers. How many datagrams there were; 0 if none came in time. Allocates nothing.
    ///
    /// # Errors
    /// The system's. What cannot be sent to one peer is dropped, as the network may do.
    pub fn serve(
        &mut self,
        mut answer: impl FnMut(&[u8], &Peer, &mut [u8]) -> usize,
    ) -> io::Result<usize> {
        let count = mmsg::receive(&*self.socket, &mut self.slots)?;
        let mut answered = 0_usize;
        for index in 0..count {
            let Some(slot) = self.slots.get_mut(index) else {
                break;
            };
            let bytes = slot.bytes.get(..slot.len).unwrap_or_default();
            let len = answer(bytes, &slot.peer, &mut slot.answer);
            slot.answer_len = len.min(slot.answer.len());
            if slot.answer_len > 0 {
                // Those with an answer stand first.
                self.slots.swap(index, answered);
                answered = answered.saturating_add(1);
            }
        }
        mmsg::send_all(
            &*self.socket,
            self.slots.get_mut(..answered).unwrap_or_default(),
        );
        Ok(count)
    }
}

impl AnswerSender {
    /// Sends one answer; one that cannot be sent is dropped, as the network may do.
    pub fn send(&self, peer: &Peer, answer: &[u8]) {
        let mut slot = [Slot {
            peer: peer.clone(),
            bytes: Box::default(),
            len: 0,
            answer: answer.into(),
            answer_len: answer.len(),
        }];
        mmsg::send_all(&*self.socket, &mut slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn echo(datagrams: &mut Datagrams) -> usize {
        let echo = |bytes: &[u8], _: &Peer, answer: &mut [u8]| {
            let len = bytes.len().min(answer.len());
            answer[..len].copy_from_slice(&bytes[..len]);
            len
        };
        datagrams.serve(echo).expect("a socket")
    }

    #[test]
    fn every_datagram_is_answered_to_its_sender_from_the_address_it_was_sent_to() {
        for (any, asked) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1")] {
            let Ok(mut datagrams) = Datagrams::bind(any.parse().unwrap(), 512, PATIENCE) else {
                std::eprintln!("skipped: no socket at {any}");
                continue;
            };
            let port = mmsg::local_port(&datagrams.socket).expect("a port");
            let at = SocketAddr::new(asked.parse().unwrap(), port);
            let own = if at.is_ipv4() {
                "127.0.0.1:0"
            } else {
                "[::1]:0"
            };
            let clients: Vec<_> = (0..40_u8)
                .map(|number| {
                    let client = UdpSocket::bind(own).expect("a socket");
                    client
                        .set_read_timeout(Some(Duration::from_secs(5)))
                        .unwrap();
                    client.send_to(&[number; 9], at).expect("sent");
                    (number, client)
                })
                .collect();
            let mut served = 0;
            for _ in 0..100 {
                served += echo(&mut datagrams);
                if served == clients.len() {
                    break;
                }
            }
            for (number, client) in clients {
                let mut bytes = [0; 64];
                let (len, from) = client.recv_from(&mut bytes).expect("an answer");
                assert_eq!((&bytes[..len], from), (&[number; 9][..], at));
            }
        }
    }

    #[test]
    fn without_datagrams_it_waits_no_longer_than_it_was_told() {
        let mut datagrams =
            Datagrams::bind("127.0.0.1:0".parse().unwrap(), 512, PATIENCE).expect("a socket");
        assert_eq!(echo(&mut datagrams), 0);
    }

    #[test]
    fn an_answer_may_come_later_and_from_another_thread() {
        let mut datagrams =
            Datagrams::bind("127.0.0.1:0".parse().unwrap(), 512, PATIENCE).expect("a socket");
        let port = mmsg::local_port(&datagrams.socket).expect("a port");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        client.send_to(b"?", ("127.0.0.1", port)).expect("sent");
        let mut peer = None;
        datagrams
            .serve(|_, from, _| {
                peer = Some(from.clone());
                0
            })
            .expect("a socket");
        let (sender, peer) = (datagrams.sender(), peer.expect("a datagram"));
        std::thread::spawn(move || sender.send(&peer, b"!"));
        let mut bytes = [0; 8];
        assert_eq!(client.recv(&mut bytes).expect("an answer"), 1);
    }
}
