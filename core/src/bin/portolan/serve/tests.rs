//! Requests over sockets, as load balancers and Prometheus make them.

use super::{Addresses, Scrape, Server};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use portolan::model::{Kind, ObjectKey, ObjectRef};
use portolan::node::Node;
use portolan::plan::NodeConfig;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Rounds that a change may take to be seen, 50 ms each.
const ROUNDS: u32 = 100;

/// A port that nobody has.
fn free(address: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a socket");
    listener.local_addr().expect("its address")
}

fn loopback() -> IpAddr {
    IpAddr::from([127, 0, 0, 1])
}

fn exchange(at: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn get(at: SocketAddr, path: &str) -> String {
    exchange(at, &format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n")).expect("an answer")
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// Nobody asks the main loop here; it would say this.
fn at_once(scrape: Scrape) -> bool {
    thread::spawn(move || scrape.answer("up 1\n".to_owned()));
    true
}

#[test]
fn probes_and_metrics_are_answered_each_at_its_address() {
    let (healthz, metrics) = (free(loopback()), free(loopback()));
    let addresses = Addresses {
        healthz: Some(healthz),
        metrics: Some(metrics),
    };
    let server = Server::start(addresses, at_once).expect("a server");
    let answer = get(healthz, "/healthz");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"));
    assert!(answer.contains("\"nodeEligible\":true"), "{answer}");
    assert_eq!(status(&get(healthz, "/livez?verbose")), "200");
    assert_eq!(status(&get(healthz, "/metrics")), "404");
    let answer = get(metrics, "/metrics");
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
    assert_eq!(
        server.probes().of(portolan::metrics::Probe::Healthz),
        [1, 0]
    );
    assert_eq!(server.probes().of(portolan::metrics::Probe::Livez), [1, 0]);
    drop(server);
    assert!(TcpStream::connect(healthz).is_err(), "closed");
}

#[test]
fn a_node_about_to_go_is_said_to_be_unhealthy_and_live() {
    let healthz = free(loopback());
    let addresses = Addresses {
        healthz: Some(healthz),
        metrics: None,
    };
    let server = Server::start(addresses, at_once).expect("a server");
    let mut node = node(loopback());
    node.apply(objects(
        "{apiVersion: v1, kind: Node, metadata: {name: n1}}",
    ));
    node.delete(&[ObjectRef {
        kind: Kind::Node,
        key: ObjectKey::new("", "n1"),
    }]);
    server.queued();
    server.follow(&node);
    assert_eq!(status(&get(healthz, "/healthz")), "503");
    assert_eq!(status(&get(healthz, "/livez")), "200");
}

#[test]
fn what_is_no_get_is_refused_and_slow_clients_hold_nobody_up() {
    let healthz = free(loopback());
    let addresses = Addresses {
        healthz: Some(healthz),
        metrics: None,
    };
    let _server = Server::start(addresses, at_once).expect("a server");
    let slow: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(healthz).expect("a connection"))
        .collect();
    for (request, expected) in [
        ("POST /healthz HTTP/1.1\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        ("GET /healthz SPDY/9\r\n\r\n", "400"),
    ] {
        let answer = exchange(healthz, request).expect("an answer");
        assert_eq!(status(&answer), expected, "{request}");
    }
    let head = exchange(healthz, "HEAD /healthz HTTP/1.0\r\n\r\n").expect("an answer");
    assert!(
        status(&head) == "200" && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    drop(slow);
}

fn node(address: IpAddr) -> Node {
    let mut node = Node::new(NodeConfig {
        name: "n1".into(),
        addresses: vec![address],
        ..NodeConfig::default()
    });
    node.synced(Kind::Service);
    node.synced(Kind::EndpointSlice);
    node
}

fn objects(yaml: &str) -> Vec<portolan::model::Object> {
    let decoded = portolan::k8s::decode(yaml.as_bytes(), "test");
    assert!(decoded.rejections.is_empty(), "{:?}", decoded.rejections);
    decoded.objects
}

fn web(port: u16) -> Vec<portolan::model::Object> {
    objects(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{namespace: default, name: web}}, spec: {{type: LoadBalancer, \
         clusterIP: 10.96.0.80, externalTrafficPolicy: Local, healthCheckNodePort: {port}, \
         ports: [{{port: 80}}]}}}}"
    ))
}

/// Waits until connecting works, or does not.
fn becomes(at: SocketAddr, open: bool) -> bool {
    (0..ROUNDS).any(|_| {
        thread::sleep(Duration::from_millis(50));
        TcpStream::connect(at).is_ok() == open
    })
}

#[test]
fn health_check_node_ports_open_move_and_close_with_their_service() {
    // NodePorts are never served on loopback addresses; this one does not look like one.
    let address: IpAddr = "::ffff:127.0.0.1".parse().expect("an address");
    if TcpListener::bind((address, 0)).is_err() {
        eprintln!("skipped: no IPv6 here");
        return;
    }
    let (first, second) = (free(address), free(address));
    let mut node = node(address);
    let server = Server::start(Addresses::default(), at_once).expect("a server");
    node.apply(web(first.port()));
    server.follow(&node);
    assert!(becomes(first, true));
    let answer = get(first, "/whatever");
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("X-Load-Balancing-Endpoint-Weight: 0\r\n"),
        "{answer}"
    );
    let body = r#"{"service":{"namespace":"default","name":"web"},"localEndpoints":0,"serviceProxyHealthy":true}"#;
    assert!(answer.ends_with(body), "{answer}");
    // Somebody else has the second port for a while.
    let taken = TcpListener::bind(second).expect("a free port");
    node.apply(web(second.port()));
    server.follow(&node);
    assert!(becomes(first, false));
    drop(taken);
    assert!(becomes(second, true), "tried again");
    node.delete(&[ObjectRef {
        kind: Kind::Service,
        key: ObjectKey::new("default", "web"),
    }]);
    server.follow(&node);
    assert!(becomes(second, false));
}
