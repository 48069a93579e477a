//! The sockets that are listened on, opened and closed as Services change.

use core::net::SocketAddr;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use portolan::health::Listeners;
use std::collections::BTreeMap;
use std::io;

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// `--healthz-bind-address`.
    Healthz,
    /// `--metrics-bind-address`.
    Metrics,
    /// A Service's `healthCheckNodePort`.
    Service(SocketAddr),
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: BTreeMap<Token, (TcpListener, Door)>,
    of_services: BTreeMap<SocketAddr, Token>,
    /// What could not be opened, and what was said of it.
    refused: BTreeMap<SocketAddr, String>,
    last_token: usize,
}

impl Doors {
    /// A token never used before.
    pub(super) const fn next_token(&mut self) -> Token {
        // 0 is the waker's.
        self.last_token = self.last_token.wrapping_add(1);
        Token(self.last_token)
    }

    /// Listens at an address.
    pub(super) fn open(
        &mut self,
        registry: &Registry,
        address: SocketAddr,
        door: Door,
    ) -> io::Result<Token> {
        let mut listener = TcpListener::bind(address)?;
        let token = self.next_token();
        registry.register(&mut listener, token, Interest::READABLE)?;
        self.open.insert(token, (listener, door));
        Ok(token)
    }

    /// Closes what no Service wants any more and opens what one wants; what cannot be opened is tried again
    /// at the next call, and said once.
    pub(super) fn follow(&mut self, registry: &Registry, wanted: &Listeners) {
        self.of_services.retain(|address, token| {
            let keep = wanted.at(*address).is_some();
            if !keep {
                // Dropping a listener closes it, and takes it off the registry.
                self.open.remove(token);
            }
            keep
        });
        self.refused
            .retain(|address, _| wanted.at(*address).is_some());
        for (address, health) in wanted.iter() {
            if self.of_services.contains_key(&address) {
                continue;
            }
            match self.open(registry, address, Door::Service(address)) {
                Ok(token) => {
                    self.refused.remove(&address);
                    self.of_services.insert(address, token);
                    tracing::debug!("Service {}: answering at {address}", health.service);
                }
                Err(error) => {
                    let error = error.to_string();
                    if self.refused.get(&address) != Some(&error) {
                        tracing::warn!(
                            "Service {}: spec.healthCheckNodePort {}: cannot listen at {address}: \
                             {error}; trying again every second",
                            health.service,
                            address.port()
                        );
                        self.refused.insert(address, error);
                    }
                }
            }
        }
    }

    /// The next connection that waits at a socket.
    pub(super) fn accept(&self, token: Token) -> Option<(TcpStream, Door)> {
        let (listener, door) = self.open.get(&token)?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => return Some((stream, *door)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::debug!("HTTP: {error}");
                    return None;
                }
            }
        }
    }
}
