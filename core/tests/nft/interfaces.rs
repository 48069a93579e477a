//! Pods that are told by the interface that their packets enter by. IPv6, and what else depends on who is a pod, is
//! in the agreement of both backends.

use core::net::{IpAddr, SocketAddr};

use portolan::net::{Arrival, Protocol};
use portolan::node::{LocalDetector, NodeConfig};
use portolan::packet::build;

use crate::kernel::{Made, PODS, Wire, in_namespace};
use crate::life::nft;
use crate::scene::{CLIENT, NODE, Scene, open};

/// An address of the node that masquerading does not take.
const ANOTHER: &str = "192.168.66.12";

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

/// The source with which a packet reached its endpoint.
fn source(made: Made) -> Option<IpAddr> {
    match made {
        Made::Sent { source, .. } => Some(source.ip()),
        Made::Nothing | Made::Same | Made::Rejected => None,
    }
}

#[test]
fn pods_are_who_sends_by_the_interface_that_is_named() {
    in_namespace("pods_are_who_sends_by_the_interface_that_is_named", || {
        let mut scene = Scene::new();
        let [node, another] = [NODE, ANOTHER].map(|text| at(text, 0).ip());
        let mut wire = Wire::new(&[node, another]);
        scene.put_of(Protocol::Udp, 1, &[1], None);
        let mut table = open();
        let mut port = 1_000;
        for (detector, listed, by_pods, elsewhere) in [
            (
                LocalDetector::BridgeInterface(PODS.into()),
                "\"pods0\"",
                true,
                false,
            ),
            (
                LocalDetector::InterfaceNamePrefix("pod".into()),
                "\"pod*\"",
                true,
                false,
            ),
            (
                LocalDetector::InterfaceNamePrefix(PODS.into()),
                "\"pods0*\"",
                true,
                false,
            ),
            (
                LocalDetector::InterfaceNamePrefix("p".into()),
                "\"p*\"",
                true,
                true,
            ),
            (
                LocalDetector::BridgeInterface("pod".into()),
                "\"pod\"",
                false,
                false,
            ),
            (
                LocalDetector::BridgeInterface("a name that no interface has".into()),
                "",
                false,
                false,
            ),
            // Nobody can be told to be no pod.
            (LocalDetector::None, "", true, true),
        ] {
            scene.node.reconfigure(NodeConfig {
                addresses: vec![node, another],
                detect_local: detector.clone(),
                ..scene.node.config().clone()
            });
            scene.sync(&mut table);
            for family in ["ip", "ip6"] {
                let text = nft(&format!("list set {family} portolan pod-interfaces"));
                let elements = format!("elements = {{ {listed} }}");
                assert_eq!(
                    text.contains(&elements),
                    !listed.is_empty(),
                    "{detector:?}: {text}"
                );
                assert_eq!(
                    text.contains("elements"),
                    !listed.is_empty(),
                    "{detector:?}: {text}"
                );
            }
            for (arrival, is_pod) in [
                (Arrival::PodInterface, by_pods),
                (Arrival::Elsewhere, elsewhere),
            ] {
                port += 1;
                let packet = build::udp(at(CLIENT, port), at("10.96.0.1", 80)).payload(b"query");
                let kept =
                    source(wire.send_by(arrival, &packet.build())) == Some(at(CLIENT, 0).ip());
                assert_eq!(kept, is_pod, "{detector:?}, {arrival:?}");
            }
            // What the node itself sends has entered by nothing.
            port += 1;
            let seen = source(wire.send_from_here(at(ANOTHER, port), at("10.96.0.1", 80)));
            let expected = if detector == LocalDetector::None {
                another
            } else {
                node
            };
            assert_eq!(seen, Some(expected), "{detector:?}");
        }
        // Another process finds everything as it should be.
        drop(table);
        let mut table = open();
        scene.sync(&mut table);
        assert_eq!(table.stats().operations, 0);
    });
}
