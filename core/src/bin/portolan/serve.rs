//! HTTP: `/healthz`, `/livez`, `/metrics`, and each Service's `healthCheckNodePort`. What is answered is decided
//! in `portolan::health` and `portolan::metrics`; here are the sockets.
//!
//! One thread serves all of them, so that neither many Services nor slow clients cost threads. Probes are
//! answered from what the main loop last said and from the clock, so a main loop that hangs is noticed;
//! `/metrics` is the main loop's to answer.

mod connection;
mod doors;
#[cfg(test)]
mod tests;

use crate::CommandError;
use connection::{Connection, Progress, Response};
use core::net::SocketAddr;
use core::time::Duration;
use doors::{Door, Doors};
use mio::{Events, Poll, Token, Waker};
use portolan::driver;
use portolan::health::{Answer, Listeners, Moment, ProxyHealth};
use portolan::metrics::{CONTENT_TYPE, Probe, ProbeCounts};
use portolan::net::Family;
use portolan::node::Node;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Connections at a time; the oldest gives way to one more.
const MAX_CONNECTIONS: usize = 256;
/// How often deadlines are looked at and sockets that could not be opened are tried again.
const ROUND: Duration = Duration::from_secs(1);
const WAKER: Token = Token(0);

/// What is probed and what is counted of it, as the main loop last said.
#[derive(Debug, Default)]
struct State {
    listeners: Listeners,
    health: ProxyHealth,
    eligible: bool,
    probes: ProbeCounts,
    stopping: bool,
}

/// A request for `/metrics`, for the main loop to answer.
#[derive(Debug)]
pub(crate) struct Scrape {
    token: Token,
    answers: Sender<(Token, String)>,
    waker: Arc<Waker>,
}

impl Scrape {
    /// Answers it.
    pub(crate) fn answer(self, text: String) {
        // Whoever asked may have gone, the server too.
        if self.answers.send((self.token, text)).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

/// The server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

/// The two addresses that are served if they are given.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Addresses {
    pub(crate) healthz: Option<SocketAddr>,
    pub(crate) metrics: Option<SocketAddr>,
}

impl Server {
    /// Listens at the addresses, and from [`Server::follow`] on wherever Services want it. Requests for
    /// `/metrics` are handed to `ask`, which is false if nobody is there any more.
    pub(crate) fn start(
        addresses: Addresses,
        ask: impl Fn(Scrape) -> bool + Send + 'static,
    ) -> Result<Self, CommandError> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut doors = Doors::default();
        for (address, door, flag) in [
            (addresses.healthz, Door::Healthz, "healthz-bind-address"),
            (addresses.metrics, Door::Metrics, "metrics-bind-address"),
        ] {
            if let Some(address) = address {
                doors
                    .open(poll.registry(), address, door)
                    .map_err(|error| format!("--{flag} {address}: {error}"))?;
            }
        }
        let state = Arc::new(Mutex::new(State {
            eligible: true,
            ..State::default()
        }));
        let (answers, answered) = channel();
        let mut served = Served {
            poll,
            doors,
            connections: BTreeMap::new(),
            state: Arc::clone(&state),
            answers,
            answered,
            waker: Arc::clone(&waker),
            ask,
        };
        let thread = thread::Builder::new()
            .name("portolan-http".to_owned())
            .spawn(move || served.until_stopped())?;
        Ok(Self {
            state,
            waker,
            thread: Some(thread),
        })
    }

    /// Changes are about to be made.
    pub(crate) fn queued(&self) {
        let now = now();
        let mut state = locked(&self.state);
        for family in [Family::Ipv4, Family::Ipv6] {
            state.health.queued(family, now);
        }
    }

    /// They have been published: answers for what the node plans now.
    pub(crate) fn follow(&self, node: &Node) {
        let now = now();
        let mut state = locked(&self.state);
        state.listeners.follow(node);
        for contested in state.listeners.contested() {
            tracing::warn!("{contested}");
        }
        state.eligible = node.is_eligible();
        for family in [Family::Ipv4, Family::Ipv6] {
            state.health.updated(family, now);
        }
        drop(state);
        // A waker fails only if there are no descriptors left; the next round looks anyway.
        let _ = self.waker.wake();
    }

    /// How probes were answered so far.
    pub(crate) fn probes(&self) -> ProbeCounts {
        locked(&self.state).probes
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        locked(&self.state).stopping = true;
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say; a panic of its own has been printed.
            let _ = thread.join();
        }
    }
}

/// Now, on both clocks.
#[expect(
    clippy::disallowed_methods,
    reason = "the command is the host: it has the clocks"
)]
pub(crate) fn now() -> Moment {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Moment {
        clock: driver::now(),
        unix: unix.unwrap_or_default(),
    }
}

/// Each update leaves the state sound, so a thread that died with the lock did no harm.
fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the server's thread holds.
struct Served<Ask> {
    poll: Poll,
    doors: Doors,
    connections: BTreeMap<Token, Connection>,
    state: Arc<Mutex<State>>,
    answers: Sender<(Token, String)>,
    answered: Receiver<(Token, String)>,
    waker: Arc<Waker>,
    ask: Ask,
}

impl<Ask: Fn(Scrape) -> bool> Served<Ask> {
    fn until_stopped(&mut self) {
        let mut events = Events::with_capacity(MAX_CONNECTIONS);
        loop {
            match self.poll.poll(&mut events, Some(ROUND)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!("health and metrics are not answered any more: {error}");
                    return;
                }
            }
            let wanted = {
                let state = locked(&self.state);
                if state.stopping {
                    return;
                }
                state.listeners.clone()
            };
            self.doors.follow(self.poll.registry(), &wanted);
            for event in &events {
                let token = event.token();
                if token == WAKER {
                    continue;
                }
                if self.connections.contains_key(&token) {
                    self.advance(token);
                } else {
                    self.accept(token);
                }
            }
            while let Ok((token, text)) = self.answered.try_recv() {
                if let Some(connection) = self.connections.get_mut(&token) {
                    connection.respond(&Response::text(200, CONTENT_TYPE, text));
                    self.advance(token);
                }
            }
            let now = driver::now();
            self.connections
                .retain(|_, connection| !connection.is_late(now));
        }
    }

    fn accept(&mut self, token: Token) {
        while let Some((stream, door)) = self.doors.accept(token) {
            if self.connections.len() >= MAX_CONNECTIONS {
                self.connections.pop_first();
            }
            let token = self.doors.next_token();
            match Connection::new(self.poll.registry(), token, stream, door) {
                Ok(connection) => {
                    self.connections.insert(token, connection);
                    self.advance(token);
                }
                Err(error) => tracing::debug!("HTTP: {error}"),
            }
        }
    }

    /// Reads and writes what can be read and written now.
    fn advance(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let progress = match connection.advance() {
            Ok(Progress::Asked { door, path }) => match self.answer(token, door, &path) {
                Some(response) => {
                    let connection = self.connections.get_mut(&token);
                    connection.map_or(Ok(Progress::Done), |connection| {
                        connection.respond(&response);
                        connection.advance()
                    })
                }
                None => Ok(Progress::Waiting),
            },
            other => other,
        };
        match progress {
            Ok(Progress::Waiting | Progress::Asked { .. }) => {}
            Ok(Progress::Done) => {
                self.connections.remove(&token);
            }
            Err(error) => {
                tracing::debug!("HTTP: {error}");
                self.connections.remove(&token);
            }
        }
    }

    /// `None` if the main loop is to answer.
    fn answer(&self, token: Token, door: Door, path: &str) -> Option<Response> {
        let now = now();
        let mut state = locked(&self.state);
        let answer = match (door, path) {
            (Door::Service(address), _) => state
                .listeners
                .at(address)
                .map(|service| service.answer(state.health.is_healthy(now))),
            (Door::Healthz, "/healthz") => {
                let answer = state.health.healthz(now, state.eligible);
                state.probes.answered(Probe::Healthz, answer.status);
                Some(answer)
            }
            (Door::Healthz, "/livez") => {
                let answer = state.health.livez(now);
                state.probes.answered(Probe::Livez, answer.status);
                Some(answer)
            }
            (Door::Metrics, "/metrics") => {
                drop(state);
                let scrape = Scrape {
                    token,
                    answers: self.answers.clone(),
                    waker: Arc::clone(&self.waker),
                };
                let asked = (self.ask)(scrape);
                return (!asked).then(|| Response::plain(503, "ending\n"));
            }
            (Door::Metrics, "/healthz") => return Some(Response::plain(200, "ok")),
            (Door::Healthz | Door::Metrics, _) => None,
        };
        Some(answer.map_or_else(
            || Response::plain(404, "not found\n"),
            |answer: Answer| Response::from(answer),
        ))
    }
}
