//! The appliances of `examples/`, with real traffic of a kernel: the client is `.1`, the node masquerades as `.2`,
//! the endpoints are sockets of `.1` again.

use core::net::{IpAddr, SocketAddr};
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::build::Flavour;
use super::namespace::{Other, configure, in_namespace, ip, tcp_delivers, udp_delivers};

/// An appliance that runs; killed when it is dropped.
struct Appliance {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Appliance {
    /// Starts it and waits until it is ready; `None` if it cannot be run here.
    fn start(flavour: Flavour, source: &str, arguments: &[&str]) -> Option<Self> {
        Some(Self::run(flavour.program(source)?, arguments))
    }

    fn run(mut command: Command, arguments: &[&str]) -> Self {
        let child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("it starts");
        let said = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut appliance = Self { child, said };
        assert_eq!(appliance.next_line(), "ready");
        appliance
    }

    fn next_line(&mut self) -> String {
        let line = self.said.next().expect("it goes on");
        line.expect("a line of text")
    }

    /// The lines that answer a command, but the last, which is `done`.
    fn ask(&mut self, command: &str) -> Vec<String> {
        let input = self.child.stdin.as_mut().expect("a pipe");
        writeln!(input, "{command}").expect("it reads");
        self.answer()
    }

    fn answer(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.next_line().as_str() {
                "done" => return lines,
                "failed" => panic!("it failed after {lines:?}"),
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// Ends the input; the program must end well, without a leak or an error that a tool found.
    fn stop(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        // Already ended, if all is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn services_by_hand(flavour: Flavour) {
    in_namespace(move || {
        let arguments = ["ptl0", "10.9.0.2,fd09::2"];
        let Some(mut appliance) = Appliance::start(flavour, "examples/appliance.c", &arguments)
        else {
            return;
        };
        configure("ptl0");
        serves(&mut appliance, ["10.9.0.96:80", "[fd09::96]:80"]);
        appliance.stop();
    });
}

/// Everything that an appliance is told, at these addresses.
fn serves(appliance: &mut Appliance, frontends: [&str; 2]) {
    let families = [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")];
    for ((here, node), frontend) in families.into_iter().zip(frontends) {
        let listener = TcpListener::bind((address(here), 0)).expect("a port");
        let datagrams = UdpSocket::bind((address(here), 0)).expect("a port");
        let tcp = listener.local_addr().expect("an address");
        let udp = datagrams.local_addr().expect("an address");
        appliance.ask(&format!("serve tcp/{frontend}={tcp}"));
        appliance.ask(&format!("serve udp/{frontend}={udp}"));
        let to: SocketAddr = frontend.parse().expect("an address");
        assert_eq!(tcp_delivers(&listener, to, 1 << 20), address(node));
        udp_delivers(&datagrams, to);
        // Another endpoint, then none at all: the client is told.
        let other = TcpListener::bind((address(here), 0)).expect("a port");
        let next = other.local_addr().expect("an address");
        appliance.ask(&format!("serve tcp/{frontend}={next}"));
        tcp_delivers(&other, to, 1000);
        appliance.ask(&format!("serve tcp/{frontend}="));
        let refused = std::net::TcpStream::connect(to).expect_err("nobody is there");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        appliance.ask(&format!("stop udp/{frontend}"));
    }
    let stats = appliance.ask("stats").concat();
    assert!(!stats.contains("forwarded 0 "), "{stats}");
}

/// The router is this namespace, the appliance its next hop in another.
fn services_at_a_next_hop(flavour: Flavour) {
    in_namespace(move || {
        let Some(program) = flavour.program("examples/appliance.c") else {
            return;
        };
        let other = Other::connect("ptl0", "near0");
        let mut there = other.command(&program);
        there.envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let arguments = ["next-hop:near0", "10.9.0.2,fd09::2"];
        let mut appliance = Appliance::run(there, &arguments);
        configure("ptl0");
        for route in [
            "route add 10.96.0.0/16 via 10.9.0.9",
            "route add 10.9.0.2 via 10.9.0.9",
            "-6 route add fd96::/64 via fd09::9",
            "-6 route add fd09::2 via fd09::9",
        ] {
            ip(route);
        }
        serves(&mut appliance, ["10.96.0.96:80", "[fd96::96]:80"]);
        appliance.stop();
    });
}

const NODE: &str = "{nodeName: n1, ips: [10.9.0.2], clusterCIDRs: [10.200.0.0/16]}";

/// `default/web` at 10.9.0.96:80 with one endpoint on port `port` of 10.9.0.1.
fn manifests(port: u16) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{namespace: default, name: web}},\n\
          spec: {{clusterIP: 10.9.0.96, ports: [{{port: 80}}]}}}}\n---\n\
         {{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: [{{port: {port}}}],\n\
          metadata: {{namespace: default, name: web-1, labels: {{kubernetes.io/service-name: web}}}},\n\
          endpoints: [{{addresses: [10.9.0.1]}}]}}\n"
    )
}

fn services_from_manifests(flavour: Flavour) {
    let name = format!("portolan-manifests-{}-{flavour:?}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory).expect("a directory");
    let place = directory.clone();
    in_namespace(move || follow_manifests(flavour, &place));
    fs::remove_dir_all(&directory).expect("it was there");
}

fn follow_manifests(flavour: Flavour, directory: &Path) {
    let (node, objects) = (directory.join("node.yaml"), directory.join("objects.yaml"));
    fs::write(&node, NODE).expect("written");
    fs::write(&objects, manifests(1)).expect("written");
    let arguments = ["ptl0", node.to_str().unwrap(), objects.to_str().unwrap()];
    let Some(mut appliance) = Appliance::start(flavour, "examples/manifests.c", &arguments) else {
        return;
    };
    let served = "default/web 10.9.0.96 port 80: 1 endpoints";
    assert_eq!(appliance.answer(), [served]);
    configure("ptl0");
    let to: SocketAddr = "10.9.0.96:80".parse().expect("an address");
    let listener = TcpListener::bind("10.9.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    fs::write(&objects, manifests(port)).expect("written");
    assert_eq!(appliance.ask(""), [served]);
    assert_eq!(tcp_delivers(&listener, to, 1 << 18), address("10.9.0.2"));
    fs::write(&objects, "[]").expect("written");
    assert!(appliance.ask("").is_empty());
    appliance.stop();
}

#[test]
fn an_appliance_serves_what_it_is_told() {
    services_by_hand(Flavour::Plain);
}

#[test]
fn an_appliance_is_clean_under_the_sanitizers() {
    services_by_hand(Flavour::Sanitized);
}

#[test]
fn an_appliance_is_clean_under_valgrind() {
    services_by_hand(Flavour::Valgrind);
}

#[test]
fn an_appliance_is_a_next_hop_on_packet_sockets() {
    services_at_a_next_hop(Flavour::Plain);
    services_at_a_next_hop(Flavour::Sanitized);
}

#[test]
fn manifests_are_served_and_followed() {
    services_from_manifests(Flavour::Plain);
    services_from_manifests(Flavour::Sanitized);
}
