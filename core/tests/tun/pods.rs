//! `portolan run --tun A --pod-tun B` on a node that tells pods by their interfaces: what a pod sends and what comes from
//! outside reach the same Service through one dataplane, and differ in whom the endpoint sees.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::kernel::{TIMEOUT, await_own, in_namespace, ip, pattern, tcp_delivers_to};
use crate::station::Station;

/// The hosts beside the node: the name of the node's interface to each, and a number that its addresses have.
const STATIONS: [(&str, u8); 3] = [("veth-pod", 1), ("outside", 2), ("endpoint", 3)];
const NODE: [&str; 2] = ["10.66.0.1", "fd66::1"];
const CLUSTER_IPS: [&str; 2] = ["10.96.0.80", "fd96::80"];

const NODE_CONFIG: &str = "
{nodeName: n1, ips: [10.66.0.1, 'fd66::1'], detectLocal: InterfaceNamePrefix, interfaceNamePrefix: veth-}
";

const OBJECTS: &str = "
{apiVersion: v1, kind: Service, metadata: {namespace: default, name: web},
 spec: {clusterIP: 10.96.0.80, clusterIPs: [10.96.0.80, 'fd96::80'], ipFamilies: [IPv4, IPv6],
  ipFamilyPolicy: RequireDualStack, ports: [{name: web, port: 80}, {name: echo, port: 80, protocol: UDP}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
 metadata: {namespace: default, name: web-4, labels: {kubernetes.io/service-name: web}},
 endpoints: [{addresses: [10.3.0.2]}],
 ports: [{name: web, port: 8080}, {name: echo, port: 8080, protocol: UDP}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv6,
 metadata: {namespace: default, name: web-6, labels: {kubernetes.io/service-name: web}},
 endpoints: [{addresses: ['fd03::2']}],
 ports: [{name: web, port: 8080}, {name: echo, port: 8080, protocol: UDP}]}
";

/// Addresses of a station, or with `host` 1 of the node's end of its cable.
fn addresses(number: u8, host: u8) -> [IpAddr; 2] {
    let parse = |text: String| text.parse().expect("an address");
    [
        parse(format!("10.{number}.0.{host}")),
        parse(format!("fd0{number}::{host}")),
    ]
}

/// Lays cables to the stations, each of which routes everything to the node.
fn stations() -> [Station; 3] {
    ip("link set lo up");
    let all = STATIONS.map(|(name, number)| {
        let station = Station::new();
        station.connect(name);
        let [near, far] = [1, 2].map(|host| addresses(number, host));
        ip(&format!("addr add {}/24 dev {name}", near[0]));
        ip(&format!("-6 addr add {}/64 dev {name} nodad", near[1]));
        // Neighbours are asked for from such an address.
        ip(&format!("-6 addr add fe80::1/64 dev {name} nodad"));
        station.run(move || {
            ip(&format!("addr add {}/24 dev eth0", far[0]));
            ip(&format!("-6 addr add {}/64 dev eth0 nodad", far[1]));
            ip(&format!("route add default via {}", near[0]));
            ip(&format!("-6 route add default via {}", near[1]));
            own(far[1]);
        });
        own(near[1]);
        station
    });
    ip(&format!("addr add {}/32 dev lo", NODE[0]));
    ip(&format!("-6 addr add {}/128 dev lo nodad", NODE[1]));
    all
}

fn own(address: IpAddr) {
    if let IpAddr::V6(address) = address {
        await_own(address);
    }
}

fn setting(path: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{path}"), value).expect(path);
}

/// Leads what the pod sends to Services into one TUN, and what others send, and the endpoint answers, into the other.
fn route() {
    setting("ipv4/ip_forward", "1");
    setting("ipv6/conf/all/forwarding", "1");
    for device in ["all", "veth-pod", "outside", "endpoint", "ptl0", "ptl1"] {
        setting(&format!("ipv4/conf/{device}/rp_filter"), "0");
    }
    for (device, table) in [("ptl0", 100), ("ptl1", 101)] {
        setting(&format!("ipv4/conf/{device}/accept_local"), "1");
        ip(&format!("link set {device} addrgenmode none"));
        ip(&format!("link set {device} up"));
        for family in ["-4", "-6"] {
            ip(&format!(
                "{family} route add default dev {device} table {table}"
            ));
        }
    }
    for (family, services, node, index) in [
        ("-4", "10.96.0.0/16", NODE[0], 0),
        ("-6", "fd96::/112", NODE[1], 1),
    ] {
        let rule = |rule: &str| ip(&format!("{family} rule add {rule}"));
        rule(&format!("pref 10 iif veth-pod to {services} lookup 101"));
        rule(&format!("pref 11 iif outside to {services} lookup 100"));
        let pod = addresses(1, 2)[index];
        for client in [node, &pod.to_string()] {
            rule(&format!("pref 12 iif endpoint to {client} lookup 100"));
        }
        rule("pref 20 lookup local");
        ip(&format!("{family} rule del pref 0"));
    }
}

/// The command, which ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the command on two TUNs, which are there when this returns.
fn run(command: &str, directory: &Path) -> Running {
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).expect("writable");
        path
    };
    let child = Command::new(command)
        .args(["run", "--tun", "ptl0", "--pod-tun", "ptl1", "--node-config"])
        .arg(file("node.yaml", NODE_CONFIG))
        .arg("--objects")
        .arg(file("web.yaml", OBJECTS))
        .arg("--control")
        .arg(directory.join("control.sock"))
        .stdout(Stdio::null())
        .spawn()
        .expect("the command starts");
    let running = Running(child);
    for device in ["ptl0", "ptl1"] {
        let path = PathBuf::from(format!("/proc/sys/net/ipv4/conf/{device}"));
        for _ in 0..1000 {
            if path.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert!(path.exists(), "{device} is not made");
    }
    running
}

/// Whom the endpoint sees, by TCP and by UDP, when `client` asks the Service; the client sees the Service.
fn seen(client: &Station, endpoint: &Station, family: usize) -> [IpAddr; 2] {
    let at = SocketAddr::new(addresses(3, 2)[family], 8080);
    let service = SocketAddr::new(CLUSTER_IPS[family].parse().expect("an address"), 80);
    let listener = endpoint.run(move || TcpListener::bind(at)).expect("a port");
    let by_tcp = client.run(move || tcp_delivers_to(listener, service, 100_000));

    let server = endpoint.run(move || UdpSocket::bind(at)).expect("a port");
    let unspecified = ["0.0.0.0:0", "[::]:0"];
    let socket = client.run(move || UdpSocket::bind(unspecified[family]));
    let socket = socket.expect("a port");
    for each in [&server, &socket] {
        each.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    }
    let (sent, mut buffer) = (pattern(777), [0; 1024]);
    socket.send_to(&sent, service).expect("it goes out");
    let (len, by_udp) = server.recv_from(&mut buffer).expect("it arrives");
    assert!(buffer[..len] == sent);
    let answered = server.send_to(&sent, by_udp);
    answered.expect("the answer goes out");
    let (len, from) = socket.recv_from(&mut buffer).expect("the answer arrives");
    assert!(buffer[..len] == sent && from == service, "{from}");
    [by_tcp.ip(), by_udp.ip()]
}

#[test]
fn what_enters_by_the_pods_tun_keeps_its_source_and_what_enters_by_the_other_is_masqueraded() {
    let name =
        "what_enters_by_the_pods_tun_keeps_its_source_and_what_enters_by_the_other_is_masqueraded";
    in_namespace(name, move || {
        let Some(command) = option_env!("CARGO_BIN_EXE_portolan") else {
            eprintln!("SKIPPED {name}: the command is not built, which takes feature cli");
            return;
        };
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pod-tun");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory can be made");
        let [pod, outside, endpoint] = stations();
        let _running = run(command, &directory);
        route();
        for family in [0, 1] {
            let node: IpAddr = NODE[family].parse().expect("an address");
            let own = addresses(1, 2)[family];
            assert_eq!(seen(&pod, &endpoint, family), [own, own]);
            assert_eq!(seen(&outside, &endpoint, family), [node, node]);
        }
    });
}
