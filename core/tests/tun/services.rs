//! The whole dataplane on a kernel's packets, offload and all.
//!
//! The client is `.1`, the node masquerades as `.2`, and the endpoint is a socket of `.1` again: without
//! masquerading the kernel would see through it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use portolan::dataplane::{Config, Dataplane, Descriptor};
use portolan::driver::{Device, Driver, QueueStats, RunOptions};
use portolan::net::{Instant, Protocol, ServiceId};
use portolan::service::{
    Edit, EndpointSet, EndpointSpec, Frontend, FrontendKind, NodeSpec, Schedule, ServiceSpec,
    SourceRule,
};

use crate::allocations;
use crate::kernel::{
    HERE, THERE, TIMEOUT, in_namespace, long_datagram_delivers, open, pattern, tcp_delivers_to,
};

const CLUSTER_IPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 9, 0, 96)),
    IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x96)),
];

pub(crate) struct Serving {
    dataplane: Dataplane,
    pub(crate) driver: Driver,
    next: u32,
    pub(crate) masquerade: bool,
}

impl Serving {
    pub(crate) fn start(device: impl Into<Device>, options: &RunOptions) -> Self {
        let device = device.into();
        let mut dataplane = Dataplane::new(&Config::default()).expect("a dataplane");
        let [IpAddr::V4(ipv4), IpAddr::V6(ipv6)] = THERE else {
            panic!("one address of each family")
        };
        let node = NodeSpec {
            addresses: THERE.to_vec(),
            masquerade_ipv4: Some(ipv4),
            masquerade_ipv6: Some(ipv6),
            ..NodeSpec::default()
        };
        let published = dataplane.publish(&mut vec![Edit::Node(node)]);
        assert!(published.expect("published").refused.is_empty());
        let processors = (0..device.capabilities().queues)
            .map(|_| {
                let mut worker = dataplane.worker().expect("a worker");
                let mut allocations = None;
                move |now: Instant, frames: &mut [u8], burst: &mut [Descriptor]| {
                    worker.process_burst(now, frames, burst);
                    // Also none between one burst and the next: reading, writing, segmenting, waiting.
                    let count = allocations::of_this_thread();
                    assert_eq!(count, *allocations.get_or_insert(count), "allocations");
                }
            })
            .collect();
        let driver = Driver::start(device, processors, options).expect("the driver starts");
        Self {
            dataplane,
            driver,
            next: 1,
            masquerade: true,
        }
    }

    /// Serves `frontend` with `endpoint`, or with none, while packets flow.
    pub(crate) fn serve(
        &mut self,
        protocol: Protocol,
        frontend: SocketAddr,
        endpoint: Option<SocketAddr>,
    ) {
        let rule = SourceRule {
            set: EndpointSet::Cluster,
            masquerade: self.masquerade,
        };
        let spec = ServiceSpec {
            protocol,
            frontends: vec![Frontend {
                address: frontend.ip(),
                port: frontend.port(),
                kind: FrontendKind::ClusterIp,
                rules: [rule; 3],
                source_ranges: Vec::new(),
            }],
            endpoints: endpoint
                .into_iter()
                .map(|endpoint| EndpointSpec {
                    address: endpoint.ip(),
                    port: endpoint.port(),
                    local: true,
                    in_cluster_set: true,
                    in_local_set: true,
                    weight: 1,
                    tag: 0,
                })
                .collect(),
            affinity_seconds: None,
            schedule: Schedule::default(),
        };
        let edit = Edit::Put(ServiceId(self.next), Arc::new(spec));
        self.next += 1;
        let published = self.dataplane.publish(&mut vec![edit]).expect("published");
        assert_eq!(published.refused, []);
    }

    pub(crate) fn stop(self) -> QueueStats {
        let queues = self.driver.stop().expect("nothing failed");
        queues
            .into_iter()
            .fold(QueueStats::default(), QueueStats::plus)
    }
}

/// TCP and UDP, IPv4 and IPv6, through a Service each; the endpoint must see the node, the client the Service.
fn services_deliver(serving: &mut Serving, segments: bool) {
    for ((here, node), cluster_ip) in HERE.into_iter().zip(THERE).zip(CLUSTER_IPS) {
        let frontend = SocketAddr::new(cluster_ip, 80);
        let listener = TcpListener::bind((here, 0)).expect("a port to listen on");
        let endpoint = listener.local_addr().expect("its address");
        serving.serve(Protocol::Tcp, frontend, Some(endpoint));
        assert_eq!(tcp_delivers_to(listener, frontend, 4 << 20).ip(), node);

        let server = UdpSocket::bind((here, 0)).expect("a port");
        let client = UdpSocket::bind((here, 0)).expect("a port");
        client.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        server.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let endpoint = server.local_addr().expect("its address");
        serving.serve(Protocol::Udp, frontend, Some(endpoint));
        let mut buffer = [0; 2048];
        for size in [1, 2, 777, 1400] {
            let sent = pattern(size);
            client.send_to(&sent, frontend).expect("it goes out");
            let (len, from) = server.recv_from(&mut buffer).expect("it arrives");
            assert!(buffer[..len] == sent && from.ip() == node, "{from}");
            server.send_to(&sent, from).expect("the answer goes out");
            let (len, from) = client.recv_from(&mut buffer).expect("the answer arrives");
            assert!(buffer[..len] == sent && from == frontend, "{from}");
        }
        if segments {
            long_datagram_delivers(&client, &server, frontend);
        }
    }
}

#[test]
fn services_deliver_with_offload() {
    in_namespace("services_deliver_with_offload", || {
        let mut serving = Serving::start(open(true, 2), &RunOptions::default());
        services_deliver(&mut serving, true);
        let stats = serving.stop();
        assert_eq!(stats.failed_writes + stats.short_writes, 0, "{stats:?}");
        let average = stats.received_bytes / stats.received_packets;
        assert!(average > 3000, "{average} bytes in a packet: {stats:?}");
    });
}

#[test]
fn services_deliver_without_virtio_header() {
    in_namespace("services_deliver_without_virtio_header", || {
        let mut serving = Serving::start(open(false, 1), &RunOptions::default());
        services_deliver(&mut serving, true);
        serving.stop();
    });
}

/// The one that a wrong update of a partial checksum cannot pass: a receiver that is handed a partial checksum
/// believes it, whereas here every checksum is completed from what the rewriting left, and verified.
#[test]
fn services_deliver_when_partial_checksums_are_completed_after_translation() {
    let name = "services_deliver_when_partial_checksums_are_completed_after_translation";
    in_namespace(name, || {
        let options = RunOptions {
            software_offload: true,
            ..RunOptions::default()
        };
        let mut serving = Serving::start(open(true, 1), &options);
        services_deliver(&mut serving, true);
        let stats = serving.stop();
        assert!(stats.software_segments > 2000, "{stats:?}");
        assert!(stats.software_checksums > 4, "{stats:?}");
        assert_eq!(stats.unsegmentable + stats.failed_writes, 0, "{stats:?}");
    });
}

/// TCP and UDP from `here` learn at once that nobody serves `frontend`.
pub(crate) fn refuses(here: IpAddr, frontend: SocketAddr) {
    let connected = TcpStream::connect_timeout(&frontend, TIMEOUT).map(drop);
    let client = UdpSocket::bind((here, 0)).expect("a port");
    client.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    client.connect(frontend).expect("an address");
    client.send(&pattern(1400)).expect("it goes out");
    let received = client.recv(&mut [0; 16]).map(drop);
    for outcome in [connected, received] {
        let kind = outcome.as_ref().map_err(io::Error::kind);
        assert_eq!(
            kind,
            Err(ErrorKind::ConnectionRefused),
            "{frontend}: {outcome:?}"
        );
    }
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    in_namespace("a_service_without_endpoints_refuses_at_once", || {
        let mut serving = Serving::start(open(true, 1), &RunOptions::default());
        for (here, cluster_ip) in HERE.into_iter().zip(CLUSTER_IPS) {
            let frontend = SocketAddr::new(cluster_ip, 80);
            serving.serve(Protocol::Tcp, frontend, None);
            serving.serve(Protocol::Udp, frontend, None);
            refuses(here, frontend);
        }
        let stats = serving.stop();
        assert_eq!((stats.replied, stats.failed_writes), (4, 0), "{stats:?}");
    });
}
