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
use crate::system::{asked, in_namespace, ip, run};

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

/// Listens at all endpoints of a cluster whose Services are all there, in a namespace without anybody else.
fn listen(cluster: &mut Cluster) -> Vec<TcpListener> {
    ip("link set lo up\nroute add 10.96.0.0/16 dev lo");
    let all = (0..SERVICES).flat_map(|service| (0..ENDPOINTS).map(move |nth| (service, nth)));
    let endpoints: Vec<SocketAddr> = all.map(|(s, nth)| cluster.endpoint(s, nth)).collect();
    let batch = endpoints
        .iter()
        .map(|at| format!("addr add {}/32 dev lo\n", at.ip()));
    ip(&batch.collect::<String>());
    cluster.set_all((0..SERVICES).map(|service| (service, State::FULL)));
    let listeners = endpoints.iter().map(|endpoint| {
        let listener = TcpListener::bind(endpoint).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    });
    listeners.collect()
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect_timeout(&to, Duration::from_secs(10))?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.set_nodelay(true)?;
    Ok(client)
}

/// Opens connections to all Services in turn, and does something while they live.
fn with_connections(
    cluster: &mut Cluster,
    listeners: &[TcpListener],
    connections: u32,
    work: impl FnOnce(&mut Cluster, &mut [TcpStream]) -> Result<(), String>,
) -> Result<(), String> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| echo(listeners, &stop));
        let clients = (0..connections).map(|nth| connect(cluster.frontend(nth % SERVICES)));
        let clients: io::Result<Vec<_>> = clients.collect();
        let outcome = clients
            .map_err(|error| error.to_string())
            .and_then(|mut clients| work(cluster, &mut clients));
        stop.store(true, Ordering::Relaxed);
        outcome
    })
}

#[test]
fn a_thousand_long_connections_survive_random_changes() {
    in_namespace("a_thousand_long_connections_survive_random_changes", || {
        let changes = asked(CHANGES, 1_000);
        let connections = u32::try_from(asked(CONNECTIONS, 400)).unwrap();
        let mut cluster = Cluster::new(Family::Ipv4, Protocol::Tcp);
        let listeners = listen(&mut cluster);
        let mut rules = Rules::open(&cluster);
        let change = |cluster: &mut Cluster, clients: &mut [TcpStream]| {
            let mut random = Random::new(7);
            for turn in 0..changes {
                let service = random.below(SERVICES);
                cluster.set(service, random_state(&mut random));
                rules.follow(cluster);
                rules.poll();
                if turn % 100 == 0 {
                    beat(clients, turn)?;
                }
            }
            beat(clients, changes)
        };
        let outcome = with_connections(&mut cluster, &listeners, connections, change);
        assert_eq!(outcome, Ok(()));
        eprintln!("{connections} connections lived through {changes} changes");
    });
}

/// Tables of kube-proxy's shape with all Services: a chain for each, and a map of its endpoints.
fn kube_proxy(cluster: &Cluster) -> String {
    let mut text = String::from("table ip kube-proxy {\n");
    let mut elements = Vec::new();
    for service in 0..SERVICES {
        let frontend = cluster.frontend(service);
        let endpoints = (0..ENDPOINTS).map(|nth| {
            let at = cluster.endpoint(service, nth);
            format!("{nth} : {} . {}", at.ip(), at.port())
        });
        let endpoints: Vec<_> = endpoints.collect();
        text.push_str(&format!(
            "chain service-{service} {{\nmeta l4proto tcp dnat ip to numgen random mod {ENDPOINTS} map {{ {} }}\n}}\n",
            endpoints.join(", ")
        ));
        elements.push(format!(
            "{} . tcp . {} : goto service-{service}",
            frontend.ip(),
            frontend.port()
        ));
    }
    text.push_str(&format!(
        "map service-ips {{\ntype ipv4_addr . inet_proto . inet_service : verdict\nelements = {{ {} }}\n}}\n\
         chain services {{\nip daddr . meta l4proto . th dport vmap @service-ips\n}}\n\
         chain nat-prerouting {{\ntype nat hook prerouting priority -100\njump services\n}}\n\
         chain nat-output {{\ntype nat hook output priority -100\njump services\n}}\n}}\n",
        elements.join(", ")
    ));
    text
}

#[test]
fn a_thousand_long_connections_survive_that_kube_proxy_is_replaced() {
    in_namespace(
        "a_thousand_long_connections_survive_that_kube_proxy_is_replaced",
        || {
            let connections = u32::try_from(asked(CONNECTIONS, 400)).unwrap();
            let mut cluster = Cluster::new(Family::Ipv4, Protocol::Tcp);
            let listeners = listen(&mut cluster);
            run("nft", &["-f", "-"], &kube_proxy(&cluster));
            let replace = |cluster: &mut Cluster, clients: &mut [TcpStream]| {
                beat(clients, 0)?;
                let mut rules = Rules::instead_of(&["kube-proxy"], cluster);
                beat(clients, 1)?;
                thread::sleep(Duration::from_millis(1_100));
                rules.poll();
                beat(clients, 2)?;
                let mut late =
                    connect(cluster.frontend(0)).map_err(|error| format!("new: {error}"))?;
                beat(core::slice::from_mut(&mut late), 3)
            };
            let outcome = with_connections(&mut cluster, &listeners, connections, replace);
            assert_eq!(outcome, Ok(()));
            let tables = run("nft", &["list", "tables"], "");
            assert!(!tables.contains("kube-proxy"), "{tables}");
            eprintln!("{connections} connections lived through the change");
        },
    );
}
