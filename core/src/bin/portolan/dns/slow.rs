//! One thread for all that waits: TCP connections, and questions that other servers are asked.

use super::connection::{Connection, Progress, without_others};
use super::forward::{Answered, Asker, Forwarder, Question};
use core::net::SocketAddr;
use core::time::Duration;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use portolan::dns::Reader;
use portolan::driver;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};

/// Connections at a time; the one that has been idle longest gives way to one more.
const MAX_CONNECTIONS: usize = 256;
/// Questions that UDP threads have handed over and nobody has looked at.
const MAX_QUEUED: usize = 512;
/// How often deadlines are looked at.
const ROUND: Duration = Duration::from_millis(250);
const IDLE_ROUND: Duration = Duration::from_secs(1);
const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);

/// Hands questions to the thread.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    questions: SyncSender<Question>,
    waker: Arc<Waker>,
}

impl Handle {
    /// Hands over a question; false if there are too many.
    pub(super) fn ask(&self, question: Question) -> bool {
        let taken = self.questions.try_send(question).is_ok();
        if taken {
            self.wake();
        }
        taken
    }

    pub(super) fn wake(&self) {
        // Who is gone needs no waking.
        let _ = self.waker.wake();
    }
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Slow {
    poll: Poll,
    listener: TcpListener,
    reader: Reader,
    connections: BTreeMap<Token, Connection>,
    forwarder: Forwarder,
    questions: Receiver<Question>,
    handle: Handle,
    last_token: usize,
    /// Connections to go on with in the next round, so that none holds up the others.
    again: Vec<Token>,
}

impl Slow {
    /// Listens by TCP.
    pub(super) fn open(
        address: SocketAddr,
        reader: Reader,
        servers: Vec<SocketAddr>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut listener = TcpListener::bind(address)?;
        let registry = poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        let (sender, questions) = sync_channel(MAX_QUEUED);
        Ok(Self {
            poll,
            listener,
            reader,
            connections: BTreeMap::new(),
            forwarder: Forwarder::new(servers),
            questions,
            handle: Handle {
                questions: sender,
                waker,
            },
            last_token: LISTENER.0,
            again: Vec::new(),
        })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves as long as `alive` is there.
    pub(super) fn until_gone(mut self, alive: &Weak<()>) {
        let mut events = Events::with_capacity(256);
        while alive.strong_count() > 0 {
            let idle = self.forwarder.is_idle() && self.connections.is_empty();
            let round = if !self.again.is_empty() {
                Duration::ZERO
            } else if idle {
                IDLE_ROUND
            } else {
                ROUND
            };
            match self.poll.poll(&mut events, Some(round)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!("DNS by TCP: {error}");
                    return;
                }
            }
            for token in core::mem::take(&mut self.again) {
                self.advance(token);
            }
            for event in &events {
                self.event(event.token());
            }
            self.expire();
        }
    }

    const fn next_token(&mut self) -> Token {
        self.last_token = self.last_token.wrapping_add(1);
        Token(self.last_token)
    }

    fn event(&mut self, token: Token) {
        match token {
            WAKER => {
                for _ in 0..MAX_QUEUED {
                    let Ok(question) = self.questions.try_recv() else {
                        return;
                    };
                    self.ask(question);
                }
                // There may be more.
                self.handle.wake();
            }
            LISTENER => self.accept(),
            token if self.connections.contains_key(&token) => self.advance(token),
            token => {
                let now = driver::now();
                let answered = self.forwarder.ready(self.poll.registry(), token, now);
                self.deliver(answered);
            }
        }
    }

    fn ask(&mut self, question: Question) {
        if !self.forwarder.is_there() {
            let reply = without_others(&question);
            return self.deliver(Some((question.asker, reply)));
        }
        let token = self.next_token();
        let registry = self.poll.registry();
        let answered = self.forwarder.ask(registry, token, question, driver::now());
        self.deliver(answered);
    }

    fn deliver(&mut self, answered: Option<Answered>) {
        match answered {
            Some((Asker::Udp(sender, peer), reply)) => sender.send(&peer, &reply),
            Some((Asker::Tcp(token), reply)) => {
                if let Some(connection) = self.connections.get_mut(&token) {
                    connection.deliver(&reply, driver::now());
                    self.again.push(token);
                }
            }
            None => {}
        }
    }

    /// Goes on with a connection.
    fn advance(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let mut questions = Vec::new();
        let mut ask = |question| questions.push(question);
        match connection.advance(token, &mut self.reader, &mut ask, driver::now()) {
            Progress::Over => {
                self.connections.remove(&token);
                return;
            }
            Progress::More => self.again.push(token),
            Progress::Waiting => {}
        }
        for question in questions {
            self.ask(question);
        }
    }

    fn accept(&mut self) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        tracing::debug!("DNS by TCP: {error}");
                    }
                    return;
                }
            };
            if self.connections.len() >= MAX_CONNECTIONS {
                let by_deadline = self.connections.iter().min_by_key(|(_, it)| it.deadline);
                if let Some(oldest) = by_deadline.map(|(token, _)| *token) {
                    self.connections.remove(&oldest);
                }
            }
            let token = self.next_token();
            let registry = self.poll.registry();
            match Connection::new(registry, token, stream, driver::now()) {
                Ok(connection) => {
                    self.connections.insert(token, connection);
                }
                Err(error) => tracing::debug!("DNS by TCP: {error}"),
            }
        }
    }

    fn expire(&mut self) {
        let now = driver::now();
        self.connections.retain(|_, it| now < it.deadline);
        for answered in self.forwarder.expire(self.poll.registry(), now) {
            self.deliver(Some(answered));
        }
    }
}
