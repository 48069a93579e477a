//! Questions that other servers are asked: bounded in number and time, each from a port and under an id of its own.

use super::message;
use core::hash::BuildHasher;
use core::net::SocketAddr;
use core::time::Duration;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use portolan::dns::{Refusal, decline};
use portolan::driver::{AnswerSender, Peer};
use portolan::net::Instant;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::io::{self, Read, Write};

/// Questions at a time: each has a socket.
const MAX_PENDING: usize = 512;
/// How long a server may take, and how many are asked one after the other.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 3;
/// Longest message.
const LONGEST: usize = 65_535;

/// Who asked.
#[derive(Debug)]
pub(super) enum Asker {
    /// A peer at one of our UDP sockets.
    Udp(AnswerSender, Peer),
    /// A TCP connection.
    Tcp(Token),
}

/// A question that is not, or not wholly, ours.
#[derive(Debug)]
pub(super) struct Question {
    /// As it was asked.
    pub(super) query: Vec<u8>,
    /// Our part of the answer, whose last CNAME leads to the name to ask for; empty if nothing is ours.
    pub(super) chain: Vec<u8>,
    pub(super) asker: Asker,
}

/// How a server is asked.
#[derive(Debug)]
enum Way {
    Udp(UdpSocket),
    Tcp {
        stream: TcpStream,
        sent: usize,
        received: Vec<u8>,
    },
}

#[derive(Debug)]
struct Pending {
    question: Question,
    /// The message that is sent.
    message: Vec<u8>,
    way: Way,
    attempt: usize,
    deadline: Instant,
}

/// All questions that other servers have been asked.
#[derive(Debug)]
pub(super) struct Forwarder {
    servers: Vec<SocketAddr>,
    pending: BTreeMap<Token, Pending>,
    randomness: RandomState,
    asked: u64,
}

/// An answer, and whom it is for.
pub(super) type Answered = (Asker, Vec<u8>);

impl Forwarder {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            pending: BTreeMap::new(),
            randomness: RandomState::new(),
            asked: 0,
        }
    }

    /// Is anybody asked about other names?
    pub(super) const fn is_there(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Asks; an answer at once means that it cannot be done.
    pub(super) fn ask(
        &mut self,
        registry: &Registry,
        token: Token,
        question: Question,
        now: Instant,
    ) -> Option<Answered> {
        if message::is_transfer(&question.query) {
            return Some(declined(question, Refusal::Refused));
        }
        let plain = question.chain.is_empty();
        let message = if plain {
            Some(question.query.clone())
        } else {
            message::follow_up(&question.chain)
        };
        let (true, Some(message)) = (self.pending.len() < MAX_PENDING, message) else {
            return Some(declined(question, Refusal::ServerFailure));
        };
        // Who comes by TCP wants all of it.
        let stream = plain && matches!(question.asker, Asker::Tcp(_));
        self.attempt(registry, token, question, message, (0, stream), now)
    }

    /// Sends the message to the next server.
    fn attempt(
        &mut self,
        registry: &Registry,
        token: Token,
        question: Question,
        message: Vec<u8>,
        (attempt, stream): (usize, bool),
        now: Instant,
    ) -> Option<Answered> {
        let index = attempt.checked_rem(self.servers.len());
        let server = index.and_then(|index| self.servers.get(index)).copied();
        // Keyed by what nobody outside knows.
        self.asked = self.asked.wrapping_add(1);
        let [first, second, ..] = self.randomness.hash_one(self.asked).to_ne_bytes();
        let message = message::with_id(message, [first, second]);
        let opened = server
            .ok_or(io::ErrorKind::NotFound.into())
            .and_then(|server| open(registry, token, server, &message, stream));
        let way = match opened {
            Ok(way) => way,
            Err(error) => {
                tracing::debug!("DNS: another server: {error}");
                return Some(declined(question, Refusal::ServerFailure));
            }
        };
        let pending = Pending {
            question,
            message,
            way,
            attempt,
            deadline: now.after(PATIENCE),
        };
        self.pending.insert(token, pending);
        None
    }

    /// A socket is ready: the answer, if it is complete.
    pub(super) fn ready(
        &mut self,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> Option<Answered> {
        let pending = self.pending.get_mut(&token)?;
        let reply = match pending.advance() {
            Ok(Some(reply)) => reply,
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!("DNS: another server: {error}");
                return self.again(registry, token, now);
            }
        };
        let mut pending = self.pending.remove(&token)?;
        let by_udp = matches!(pending.way, Way::Udp(_));
        if by_udp && !pending.question.chain.is_empty() && message::is_truncated(&reply) {
            deregister(registry, &mut pending.way);
            let Pending {
                question,
                message,
                attempt,
                ..
            } = pending;
            return self.attempt(registry, token, question, message, (attempt, true), now);
        }
        deregister(registry, &mut pending.way);
        Some(finished(pending.question, reply))
    }

    /// Asks the next server, or gives up.
    fn again(&mut self, registry: &Registry, token: Token, now: Instant) -> Option<Answered> {
        let mut pending = self.pending.remove(&token)?;
        deregister(registry, &mut pending.way);
        let stream = matches!(pending.way, Way::Tcp { .. });
        let attempt = pending.attempt.saturating_add(1);
        if attempt >= ATTEMPTS {
            return Some(declined(pending.question, Refusal::ServerFailure));
        }
        let Pending {
            question, message, ..
        } = pending;
        self.attempt(registry, token, question, message, (attempt, stream), now)
    }

    /// Whose time is over is asked of the next server, or given up.
    pub(super) fn expire(&mut self, registry: &Registry, now: Instant) -> Vec<Answered> {
        let late = self.pending.iter().filter(|(_, it)| now >= it.deadline);
        let late: Vec<Token> = late.map(|(token, _)| *token).collect();
        let again = |token| self.again(registry, token, now);
        late.into_iter().filter_map(again).collect()
    }

    /// Is anybody waited for?
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }
}

impl Pending {
    /// Reads and writes what can be; the reply, if it is complete. What is no reply to this question is passed over.
    fn advance(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.way {
            Way::Udp(socket) => {
                let mut bytes = [0; 4096];
                loop {
                    let length = match socket.recv(&mut bytes) {
                        Ok(length) => length,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                        Err(error) => return Err(error),
                    };
                    let reply = bytes.get(..length).unwrap_or_default();
                    if message::is_reply(&self.message, reply) {
                        return Ok(Some(reply.to_vec()));
                    }
                }
            }
            Way::Tcp {
                stream,
                sent,
                received,
            } => {
                let reply = exchange(stream, &self.message, sent, received)?;
                let reply = reply.filter(|reply| message::is_reply(&self.message, reply));
                Ok(reply.map(<[u8]>::to_vec))
            }
        }
    }
}

/// Goes on sending a message and receiving one.
fn exchange<'r>(
    stream: &mut TcpStream,
    message: &[u8],
    sent: &mut usize,
    received: &'r mut Vec<u8>,
) -> io::Result<Option<&'r [u8]>> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let framed = [&length.to_be_bytes()[..], message].concat();
    while let Some(rest) = framed.get(*sent..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(count) => *sent = sent.saturating_add(count),
            Err(error) if is_not_yet(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let mut chunk = [0; 4096];
    let closed = loop {
        match stream.read(&mut chunk) {
            Ok(0) => break true,
            Ok(count) => received.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if is_not_yet(&error) => break false,
            Err(error) => return Err(error),
        }
        if received.len() > LONGEST.saturating_add(2) {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    let whole = received.split_first_chunk::<2>();
    let whole = whole.and_then(|(length, rest)| rest.get(..u16::from_be_bytes(*length).into()));
    // A server may close as soon as it has said all.
    if closed && whole.is_none() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(whole)
}

fn is_not_yet(error: &io::Error) -> bool {
    [io::ErrorKind::WouldBlock, io::ErrorKind::NotConnected].contains(&error.kind())
}

/// Opens a socket to a server, and sends what is sent at once.
fn open(
    registry: &Registry,
    token: Token,
    server: SocketAddr,
    message: &[u8],
    stream: bool,
) -> io::Result<Way> {
    let both = Interest::READABLE | Interest::WRITABLE;
    if stream {
        let mut stream = TcpStream::connect(server)?;
        registry.register(&mut stream, token, both)?;
        return Ok(Way::Tcp {
            stream,
            sent: 0,
            received: Vec::new(),
        });
    }
    let own: SocketAddr = if server.is_ipv4() {
        SocketAddr::from(([0; 4], 0))
    } else {
        SocketAddr::from(([0_u16; 8], 0))
    };
    // A port of its own, which the kernel chooses at random, and replies of this server only.
    let mut socket = UdpSocket::bind(own)?;
    socket.connect(server)?;
    registry.register(&mut socket, token, Interest::READABLE)?;
    socket.send(message)?;
    Ok(Way::Udp(socket))
}

fn deregister(registry: &Registry, way: &mut Way) {
    // What is closed next is taken off anyway.
    let _ = match way {
        Way::Udp(socket) => registry.deregister(socket),
        Way::Tcp { stream, .. } => registry.deregister(stream),
    };
}

fn declined(question: Question, refusal: Refusal) -> Answered {
    let mut reply = [0; 512];
    let length = decline(&question.query, refusal, &mut reply);
    let reply = reply.get(..length).unwrap_or_default().to_vec();
    (question.asker, reply)
}

/// The reply that the asker gets for another server's.
fn finished(question: Question, reply: Vec<u8>) -> Answered {
    let limit = match question.asker {
        Asker::Udp(..) => message::udp_limit(&question.query),
        Asker::Tcp(_) => LONGEST,
    };
    let whole = if question.chain.is_empty() {
        let id = question.query.first_chunk().copied().unwrap_or_default();
        let reply = message::with_id(reply, id);
        if reply.len() > limit {
            message::truncated(&reply)
        } else {
            Some(reply)
        }
    } else {
        message::joined(&question.chain, &reply, limit)
    };
    match whole {
        Some(reply) => (question.asker, reply),
        None => declined(question, Refusal::ServerFailure),
    }
}
