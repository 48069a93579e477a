//! One TCP connection: queries one behind the other, each behind its length (RFC 7766).

use super::forward::{Asker, Question};
use core::time::Duration;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use portolan::dns::{Outcome, Reader, Refusal, Transport, decline};
use portolan::net::Instant;
use std::io::{self, Read, Write};

/// How long a connection may be without a whole query. A client that sends byte by byte gains nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Replies that a client does not read; no more queries are read then.
const MAX_UNREAD: usize = 128 << 10;
/// Questions of one connection that other servers are asked at a time.
const MAX_WAITING: usize = 32;
/// Longest message.
const LONGEST: usize = 65_535;

/// How often a connection is read before others have their turn.
const READS: usize = 16;

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is over.
    Over,
    /// The socket, or another server, will say when there is more to do.
    Waiting,
    /// There is more to do.
    More,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) deadline: Instant,
    received: Vec<u8>,
    unsent: Vec<u8>,
    waiting: usize,
    /// The client sends nothing more.
    closing: bool,
}

impl Connection {
    pub(super) fn new(
        registry: &Registry,
        token: Token,
        mut stream: TcpStream,
        now: Instant,
    ) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            deadline: now.after(PATIENCE),
            received: Vec::new(),
            unsent: Vec::new(),
            waiting: 0,
            closing: false,
        })
    }

    /// Reads, answers and writes what can be now.
    pub(super) fn advance(
        &mut self,
        token: Token,
        reader: &mut Reader,
        ask: &mut dyn FnMut(Question),
        now: Instant,
    ) -> Progress {
        let mut chunk = [0; 4096];
        for _ in 0..READS {
            self.answer_all(token, reader, ask, now);
            if self.write().is_err() {
                return Progress::Over;
            }
            if self.closing {
                let over = self.waiting == 0 && self.unsent.is_empty();
                return if over {
                    Progress::Over
                } else {
                    Progress::Waiting
                };
            }
            if self.unsent.len() > MAX_UNREAD || self.waiting >= MAX_WAITING {
                return Progress::Waiting;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => self.closing = true,
                Ok(count) => self
                    .received
                    .extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Waiting;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Progress::Over,
            }
        }
        Progress::More
    }

    /// The answer of another server has come.
    pub(super) fn deliver(&mut self, reply: &[u8], now: Instant) {
        self.waiting = self.waiting.saturating_sub(1);
        self.put(reply);
        self.deadline = now.after(PATIENCE);
    }

    fn answer_all(
        &mut self,
        token: Token,
        reader: &mut Reader,
        ask: &mut dyn FnMut(Question),
        now: Instant,
    ) {
        let mut reply = vec![0; LONGEST];
        let mut taken = 0_usize;
        while self.unsent.len() <= MAX_UNREAD && self.waiting < MAX_WAITING {
            let rest = self.received.get(taken..).unwrap_or_default();
            let Some((&length, rest)) = rest.split_first_chunk::<2>() else {
                break;
            };
            let length = usize::from(u16::from_be_bytes(length));
            let Some(query) = rest.get(..length) else {
                break;
            };
            let query = query.to_vec();
            taken = taken.saturating_add(length).saturating_add(2);
            self.deadline = now.after(PATIENCE);
            self.answer(token, reader, ask, query, &mut reply);
        }
        self.received.drain(..taken);
    }

    fn answer(
        &mut self,
        token: Token,
        reader: &mut Reader,
        ask: &mut dyn FnMut(Question),
        query: Vec<u8>,
        reply: &mut [u8],
    ) {
        let length = match reader.answer(&query, Transport::Tcp, reply) {
            Outcome::Reply(length) => length,
            Outcome::Silent => {
                // Nobody who sends such bytes waits for an answer.
                self.closing = true;
                return;
            }
            outcome @ (Outcome::Onward(_) | Outcome::NotOurs) => {
                let length = match outcome {
                    Outcome::Onward(length) => length,
                    Outcome::Reply(_) | Outcome::NotOurs | Outcome::Silent => 0,
                };
                self.waiting = self.waiting.saturating_add(1);
                ask(Question {
                    query,
                    chain: reply.get(..length).unwrap_or_default().to_vec(),
                    asker: Asker::Tcp(token),
                });
                return;
            }
        };
        self.put(reply.get(..length).unwrap_or_default());
    }

    fn put(&mut self, reply: &[u8]) {
        let length = u16::try_from(reply.len()).unwrap_or_default();
        self.unsent.extend_from_slice(&length.to_be_bytes());
        self.unsent.extend_from_slice(reply);
    }

    fn write(&mut self) -> io::Result<()> {
        let mut sent = 0_usize;
        while let Some(rest) = self.unsent.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent = sent.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        Ok(())
    }
}

/// What is answered to a question that nobody else is asked.
pub(super) fn without_others(question: &Question) -> Vec<u8> {
    if !question.chain.is_empty() {
        return question.chain.clone();
    }
    let mut reply = [0; 512];
    let length = decline(&question.query, Refusal::Refused, &mut reply);
    reply.get(..length).unwrap_or_default().to_vec()
}
