//! One smoltcp host that is client and server: its connection to a ClusterIP comes back to it.

use super::ServiceDevice;
use crate::dataplane::{Config, Dataplane, Limits};
use crate::net::{Protocol, ServiceId};
use crate::service::{
    Edit, EndpointSet, EndpointSpec, Frontend, FrontendKind, NodeSpec, Schedule, ServiceSpec,
    SourceRule,
};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use smoltcp::iface::{Config as InterfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Loopback, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr};

const HOST: &str = "10.200.1.9";
const NODE: &str = "192.168.66.11";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn dataplane(endpoints: Vec<EndpointSpec>) -> Dataplane {
    let limits = Limits {
        connections_ipv4: 100,
        connections_ipv6: 1,
        workers: 1,
        ..Limits::default()
    };
    let mut dataplane = Dataplane::new(&Config {
        limits,
        ..Config::default()
    })
    .expect("small tables");
    let rule = SourceRule {
        set: EndpointSet::Cluster,
        masquerade: false,
    };
    let service = ServiceSpec {
        protocol: Protocol::Tcp,
        frontends: vec![Frontend {
            address: address("10.96.0.80"),
            port: 80,
            kind: FrontendKind::ClusterIp,
            rules: [rule; 3],
            source_ranges: Vec::new(),
        }],
        endpoints,
        affinity_seconds: None,
        schedule: Schedule::default(),
    };
    let node = NodeSpec {
        masquerade_ipv4: NODE.parse().ok(),
        ..NodeSpec::default()
    };
    let mut edits = vec![Edit::Node(node), Edit::Put(ServiceId(0), Arc::new(service))];
    dataplane.publish(&mut edits).expect("nobody reads");
    dataplane
}

struct Host {
    device: ServiceDevice<Loopback>,
    interface: Interface,
    sockets: SocketSet<'static>,
    client: SocketHandle,
    server: SocketHandle,
    now: Instant,
}

impl Host {
    fn new(dataplane: &Dataplane) -> Self {
        let worker = dataplane.worker().expect("the only worker");
        let mut device =
            ServiceDevice::new(Loopback::new(Medium::Ip), worker).expect("an IP device");
        let now = Instant::from_millis(1_000);
        let mut interface =
            Interface::new(InterfaceConfig::new(HardwareAddress::Ip), &mut device, now);
        interface.update_ip_addrs(|addresses| {
            for own in [HOST, NODE] {
                addresses
                    .push(IpCidr::new(address(own).into(), 0))
                    .expect("room for two");
            }
        });
        let mut sockets = SocketSet::new(Vec::new());
        let socket = || {
            let buffer = || tcp::SocketBuffer::new(vec![0; 4_096]);
            tcp::Socket::new(buffer(), buffer())
        };
        let (client, server) = (sockets.add(socket()), sockets.add(socket()));
        let listening = SocketAddr::new(address(HOST), 8_080);
        sockets
            .get_mut::<tcp::Socket<'_>>(server)
            .listen(listening)
            .expect("a free port");
        let frontend = SocketAddr::new(address("10.96.0.80"), 80);
        let local = SocketAddr::new(address(HOST), 40_000);
        sockets
            .get_mut::<tcp::Socket<'_>>(client)
            .connect(interface.context(), frontend, local)
            .expect("a free port");
        Self {
            device,
            interface,
            sockets,
            client,
            server,
            now,
        }
    }

    fn poll(&mut self) {
        for _ in 0..200 {
            self.interface
                .poll(self.now, &mut self.device, &mut self.sockets);
            self.now += Duration::from_millis(10);
        }
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

#[test]
fn a_stack_reaches_itself_through_its_cluster_ip() {
    let endpoint = EndpointSpec {
        address: address(HOST),
        port: 8_080,
        local: true,
        in_cluster_set: true,
        in_local_set: false,
        weight: 1,
        tag: 0,
    };
    let dataplane = dataplane(vec![endpoint]);
    let mut host = Host::new(&dataplane);
    host.poll();
    let (client, server) = (host.client, host.server);
    assert_eq!(host.socket(client).state(), tcp::State::Established);
    let peer = host
        .socket(server)
        .remote_endpoint()
        .map(|peer| IpAddr::from(peer.addr));
    assert_eq!(peer, Some(address(NODE)), "a hairpin is masqueraded");
    host.socket(client)
        .send_slice(b"who answers?")
        .expect("an open socket");
    host.poll();
    let mut heard = [0; 12];
    assert_eq!(host.socket(server).recv_slice(&mut heard), Ok(12));
    assert_eq!(&heard, b"who answers?");
}

#[test]
fn a_stack_hears_that_nobody_serves() {
    let dataplane = dataplane(Vec::new());
    let mut host = Host::new(&dataplane);
    host.poll();
    let stats = dataplane.stats();
    assert!(
        stats.replied > 0 && stats.forwarded == 0,
        "every SYN was answered: {stats:?}"
    );
}
