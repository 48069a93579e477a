//! Long connections through NAT live on, whatever becomes of the Service that they were opened to.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use portolan::net::{Family, Protocol};

use crate::cluster::{Cluster, ENDPOINTS, State};
use crate::random::Random;
use crate::rules::Rules;
use crate::system::{asked, in_namespace, ip};

/// How many changes are made; `cargo xtask race` asks for more.
const CHANGES: &str = "PORTOLAN_CONNECTION_CHANGES";
const CONNECTIONS: &str = "PORTOLAN_CONNECTIONS";
const SERVICES: u32 = 4;

/// Echoes whatever comes to any of these addresses, until told to stop.
fn echo(listeners: &[TcpListener], stop: &AtomicBool) {
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut bytes = [0; 256];
    while !stop.load(Ordering::Relaxed) {
        for listener in listeners {
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true).unwrap();
                streams.push(stream);
            }
        }
        for stream in &mut streams {
            if let Ok(len @ 1..) = stream.read(&mut bytes) {
                // A client that has gone needs no answer.
                let _ = stream.write_all(&bytes[..len]);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a number on each connection and expects it back.
fn beat(clients: &mut [TcpStream], turn: u64) -> Result<(), String> {
    let broken = |nth: usize, error: io::Error| format!("connection {nth}, turn {turn}: {error}");
    for (nth, client) in clients.iter_mut().enumerate() {
        let number = turn << 32 | nth as u64;
        client
            .write_all(&number.to_be_bytes())
            .map_err(|error| broken(nth, error))?;
    }
    for (nth, client) in clients.iter_mut().enumerate() {
        let mut bytes = [0; 8];
        client
            .read_exact(&mut bytes)
            .map_err(|error| broken(nth, error))?;
        let number = u64::from_be_bytes(bytes);
        if number != (turn << 32 | nth as u64) {
            return Err(format!("connection {nth}, turn {turn}: got {number:#x}"));
        }
    }
    Ok(())
}

fn random_state(random: &mut Random) -> State {
    State {
        exists: random.below(8) != 0,
        endpoints: random.below(1 << ENDPOINTS),
        local: random.below(4) == 0,
        affinity: random.below(2) == 0,
    }
}

#[test]
fn a_thousand_long_connections_survive_random_changes() {
    in_namespace("a_thousand_long_connections_survive_random_changes", || {
        let changes = asked(CHANGES, 1_000);
        let connections = u32::try_from(asked(CONNECTIONS, 400)).unwrap();
        let mut cluster = Cluster::new(Family::Ipv4, Protocol::Tcp);
        ip("link set lo up\nroute add 10.96.0.0/16 dev lo");
        let all = (0..SERVICES).flat_map(|service| (0..ENDPOINTS).map(move |nth| (service, nth)));
        let endpoints: Vec<SocketAddr> = all.map(|(s, nth)| cluster.endpoint(s, nth)).collect();
        let batch = endpoints
            .iter()
            .map(|at| format!("addr add {}/32 dev lo\n", at.ip()));
        ip(&batch.collect::<String>());
        let listeners = endpoints.iter().map(|endpoint| {
            let listener = TcpListener::bind(endpoint).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        });
        let listeners: Vec<_> = listeners.collect();
        cluster.set_all((0..SERVICES).map(|service| (service, State::FULL)));
        let mut rules = Rules::open(&cluster);
        let stop = AtomicBool::new(false);
        let outcome = thread::scope(|scope| {
            scope.spawn(|| echo(&listeners, &stop));
            let clients = (0..connections).map(|nth| {
                let client = TcpStream::connect(cluster.frontend(nth % SERVICES))?;
                client.set_read_timeout(Some(Duration::from_secs(10)))?;
                client.set_nodelay(true)?;
                Ok(client)
            });
            let clients: io::Result<Vec<_>> = clients.collect();
            let outcome = clients
                .map_err(|error| error.to_string())
                .and_then(|mut clients| {
                    let mut random = Random::new(7);
                    for turn in 0..changes {
                        let service = random.below(SERVICES);
                        cluster.set(service, random_state(&mut random));
                        rules.follow(&cluster);
                        rules.poll();
                        if turn % 100 == 0 {
                            beat(&mut clients, turn)?;
                        }
                    }
                    beat(&mut clients, changes)
                });
            stop.store(true, Ordering::Relaxed);
            outcome
        });
        assert_eq!(outcome, Ok(()));
        eprintln!("{connections} connections lived through {changes} changes");
    });
}
