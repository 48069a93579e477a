//! The demo's cluster: two nodes with pods, a router before them, a client outside.
//!
//! ```text
//! outside --- router --+-- node-1 --+-- web-1
//! 203.0.113.0/24       |            +-- web-2
//!       192.168.10.0/24|            +-- client-1   pods: 10.244.NODE.0/24
//!                      +-- node-2 --+-- web-3
//!                                   +-- client-2
//! ```
//! Everything has an IPv6 address beside. Pods are routed, each behind a veth of its own: through a
//! bridge, two pods of one node would answer each other past Portolan.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::client;
use super::routing::{self, NodeAddresses, TUN};
use crate::namespace::Namespace;
use crate::process::{self, Running};

/// How long a server may take until it answers, and a TUN until it is there.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where the pods' servers listen: the Services' ports, and one that has another number on each node.
const POD_PORTS: [u16; 3] = [80, 8081, 8082];

/// What is to be built: nodes from 1, each with these pods that serve.
const SERVING: [(u8, &[(&str, u8)]); 2] =
    [(1, &[("web-1", 11), ("web-2", 12)]), (2, &[("web-3", 11)])];

/// A host that is no node of the cluster: its number, its pods and the last bytes of their addresses.
pub(crate) type Host<'a> = (u8, &'a [(&'a str, u8)]);

/// The last byte of the address of a node's client pod.
const CLIENT_HOST: u8 = 101;

/// A place that a client can be in.
#[derive(Debug)]
pub(crate) struct Place {
    /// What the tables call it.
    pub(crate) name: String,
    /// Its network.
    pub(crate) namespace: Namespace,
}

/// A node and what runs on it.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its own network.
    pub(crate) place: Place,
    /// A pod on it that only asks.
    pub(crate) client: Place,
    /// Its addresses.
    pub(crate) addresses: NodeAddresses,
    number: u8,
    serving: Vec<Place>,
}

/// All of it. Children die before the namespaces they live in go: fields drop in order.
#[derive(Debug)]
pub(crate) struct Cluster {
    running: Vec<Running>,
    /// The two nodes.
    pub(crate) nodes: [Node; 2],
    /// A client beyond the router.
    pub(crate) outside: Place,
    /// What stands before the nodes.
    pub(crate) router: Place,
    directory: PathBuf,
}

impl Cluster {
    /// Builds the cluster with plain routing and a server in each pod; logs go to `directory`.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let router = place("router")?;
        let outside = place("outside")?;
        outer_network(&outside.namespace, &router.namespace)?;
        let [(first, first_pods), (second, second_pods)] = SERVING;
        let nodes = [
            Node::new(first, first_pods, &router.namespace)?,
            Node::new(second, second_pods, &router.namespace)?,
        ];
        let [node_1, node_2] = &nodes;
        node_1.route_to(node_2)?;
        node_2.route_to(node_1)?;
        let mut cluster = Self {
            running: Vec::new(),
            nodes,
            outside,
            router,
            directory: directory.to_path_buf(),
        };
        cluster.start_pods()?;
        cluster.prove_plain_routing()?;
        Ok(cluster)
    }

    /// Before Portolan comes in, everyone reaches every pod at its own address. What fails after
    /// that is not for want of a route or a neighbour.
    fn prove_plain_routing(&self) -> Result<()> {
        let mut places = vec![&self.outside];
        places.extend(
            self.nodes
                .iter()
                .flat_map(|node| [&node.place, &node.client]),
        );
        for (pod, _) in SERVING.iter().flat_map(|(_, pods)| pods.iter()) {
            let [ipv4, ipv6] = self.pod_addresses(pod)?;
            for url in [format!("http://{ipv4}"), format!("http://[{ipv6}]")] {
                for place in &places {
                    let awaited = format!("{} reaches {pod} at {url}", place.name);
                    process::until(&awaited, START_LIMIT, || {
                        Ok(client::ask(place, &url, 1)?.unanswered() == 0)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Starts `command` of each node in that node's namespace, waits for its TUN and sends the
    /// node's packets through it.
    pub(crate) fn divert(&mut self, command: impl Fn(&Node) -> Result<Command>) -> Result<()> {
        for node in &self.nodes {
            let child = node.divert(&mut command(node)?, &self.directory)?;
            self.running.push(child);
        }
        Ok(())
    }

    /// Builds a host that belongs to no cluster, on the nodes' network, with pods of its own.
    pub(crate) fn edge(
        &self,
        (number, pods): Host<'_>,
        command: impl Fn(&Node) -> Result<Command>,
    ) -> Result<Edge> {
        let node = Node::new(number, pods, &self.router.namespace)?;
        let mut running = node.start_pods(&self.directory)?;
        running.push(node.divert(&mut command(&node)?, &self.directory)?);
        Ok(Edge { running, node })
    }

    /// The two nodes.
    pub(crate) fn nodes(&self) -> (&Node, &Node) {
        let [first, second] = &self.nodes;
        (first, second)
    }

    /// The node that `pod` runs on.
    pub(crate) fn node_of(&self, pod: &str) -> Result<&Node> {
        let mut nodes = self.nodes.iter();
        nodes
            .find(|node| node.pod(pod).is_ok())
            .with_context(|| format!("no pod {pod}"))
    }

    /// The addresses of a pod that serves.
    pub(crate) fn pod_addresses(&self, pod: &str) -> Result<[String; 2]> {
        let number = self.node_of(pod)?.number;
        let pods = SERVING.iter().flat_map(|(_, pods)| pods.iter());
        let (_, last) = pods
            .copied()
            .find(|(name, _)| *name == pod)
            .context("no such pod")?;
        Ok([
            format!("10.244.{number}.{last}"),
            format!("fd00:244:{number}::{last}"),
        ])
    }

    /// Fails if anything that should be running is not.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.running.iter_mut().try_for_each(Running::check)
    }

    fn start_pods(&mut self) -> Result<()> {
        for node in &self.nodes {
            self.running.extend(node.start_pods(&self.directory)?);
        }
        Ok(())
    }
}

/// A host without a cluster, and what runs on it.
#[derive(Debug)]
pub(crate) struct Edge {
    running: Vec<Running>,
    /// The host.
    pub(crate) node: Node,
}

impl Edge {
    /// Fails if anything that should be running is not.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.running.iter_mut().try_for_each(Running::check)
    }
}

impl Node {
    fn new(number: u8, pods: &[(&str, u8)], router: &Namespace) -> Result<Self> {
        let place = place(&format!("node-{number}"))?;
        let namespace = &place.namespace;
        let host = 10 + number;
        namespace.join("eth0", router, &format!("node{number}"))?;
        router.ip(&format!("link set node{number} master lan up\n"))?;
        routing::prepare(namespace)?;
        namespace.ip(&format!(
            "addr add 192.168.10.{host}/24 dev eth0\n\
             addr add fd00:10::{host}/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add default via 192.168.10.1\n\
             route add default via fd00:10::1\n"
        ))?;
        router.ip(&format!(
            "route add 10.244.{number}.0/24 via 192.168.10.{host}\n\
             route add fd00:244:{number}::/64 via fd00:10::{host}\n"
        ))?;
        let client = pod(namespace, &format!("client-{number}"), number, CLIENT_HOST)?;
        let serving = pods
            .iter()
            .map(|(name, last)| pod(namespace, name, number, *last));
        let serving = serving.collect::<Result<Vec<_>>>()?;
        let addresses = NodeAddresses {
            ipv4: node_ipv4(number),
            ipv6: format!("fd00:10::{host}").parse::<Ipv6Addr>()?,
        };
        Ok(Self {
            place,
            client,
            addresses,
            number,
            serving,
        })
    }

    /// Starts a server in each of its pods that serve.
    fn start_pods(&self, directory: &Path) -> Result<Vec<Running>> {
        let own = env::current_exe().context("finding this program")?;
        let own = own.to_string_lossy().into_owned();
        let mut running = Vec::new();
        for pod in &self.serving {
            let mut command = pod.namespace.command(&own);
            command.args(["pod", "--name", &pod.name, "--node", &self.place.name]);
            for port in POD_PORTS {
                command.args(["--port", &port.to_string()]);
            }
            let log = directory.join(&pod.name).with_extension("log");
            running.push(Running::start(&pod.name, &mut command, &log)?);
            wait_for_server(pod)?;
        }
        Ok(running)
    }

    /// Starts what moves its packets, waits for its TUN and sends the packets through it.
    fn divert(&self, command: &mut Command, directory: &Path) -> Result<Running> {
        let name = format!("portolan-{}", self.place.name);
        let log = directory.join(&name).with_extension("log");
        let mut child = Running::start(&name, command, &log)?;
        process::until(&format!("{name} holds {TUN}"), START_LIMIT, || {
            child
                .check()
                .with_context(|| format!("see {}", log.display()))?;
            self.place.namespace.has_link(TUN)
        })?;
        routing::divert(&self.place.namespace, self.addresses)?;
        Ok(child)
    }

    /// One of its pods that serve.
    pub(crate) fn pod(&self, name: &str) -> Result<&Place> {
        let found = self.serving.iter().find(|pod| pod.name == name);
        found.with_context(|| format!("no pod {name} on {}", self.place.name))
    }

    /// Where its pods' addresses come from.
    pub(crate) fn pod_cidrs(&self) -> (String, String) {
        let number = self.number;
        (
            format!("10.244.{number}.0/24"),
            format!("fd00:244:{number}::/64"),
        )
    }

    fn route_to(&self, other: &Self) -> Result<()> {
        let NodeAddresses { ipv4, ipv6 } = other.addresses;
        let number = other.number;
        self.place.namespace.ip(&format!(
            "route add 10.244.{number}.0/24 via {ipv4}\n\
             route add fd00:244:{number}::/64 via {ipv6}\n"
        ))
    }
}

fn node_ipv4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, 10 + number)
}

fn place(name: &str) -> Result<Place> {
    Ok(Place {
        name: name.to_owned(),
        namespace: Namespace::new(name)?,
    })
}

fn outer_network(outside: &Namespace, router: &Namespace) -> Result<()> {
    outside.join("eth0", router, "outer")?;
    // Twelve addresses are as good as twelve clients.
    let addresses = (10..=21).map(|last| format!("addr add 203.0.113.{last}/24 dev eth0\n"));
    outside.ip(&addresses.collect::<String>())?;
    outside.ip("addr add 2001:db8:203::10/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via 203.0.113.1\n\
         route add default via 2001:db8:203::1\n")?;
    router.sysctl(&[
        "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.forwarding=1",
        // Of several next hops, the connection chooses, not the address alone.
        "net.ipv4.fib_multipath_hash_policy=1",
    ])?;
    // An address of its own: a bridge without one takes its lowest port's, and another when an appliance leaves, while
    // the nodes still send to the first.
    router.ip("link add lan address 02:00:00:00:10:01 type bridge\n\
         addr add 203.0.113.1/24 dev outer\n\
         addr add 2001:db8:203::1/64 dev outer nodad\n\
         addr add 192.168.10.1/24 dev lan\n\
         addr add fd00:10::1/64 dev lan nodad\n\
         link set outer up\n\
         link set lan up\n")
}

/// A pod: its own namespace, routed, with the same gateway addresses everywhere.
fn pod(node: &Namespace, name: &str, number: u8, last: u8) -> Result<Place> {
    let pod = place(name)?;
    let link = format!("veth-{name}");
    let ipv4 = node_ipv4(number);
    node.join(&link, &pod.namespace, "eth0")?;
    node.ip(&format!(
        "addr add 169.254.1.1/32 dev {link}\n\
         addr add fe80::1/64 dev {link} nodad\n\
         link set {link} up\n\
         route add 10.244.{number}.{last} dev {link} src {ipv4}\n\
         route add fd00:244:{number}::{last} dev {link}\n"
    ))?;
    pod.namespace.ip(&format!(
        "addr add 10.244.{number}.{last}/32 dev eth0\n\
         addr add fd00:244:{number}::{last}/128 dev eth0 nodad\n\
         link set eth0 up\n\
         route add 169.254.1.1 dev eth0 scope link\n\
         route add default via 169.254.1.1\n\
         route add default via fe80::1 dev eth0\n"
    ))?;
    Ok(pod)
}

fn wait_for_server(pod: &Place) -> Result<()> {
    process::until(&format!("{} answers itself", pod.name), START_LIMIT, || {
        let mut curl = pod.namespace.command("curl");
        curl.args([
            "-s",
            "-o",
            "/dev/null",
            "--max-time",
            "2",
            "http://localhost/",
        ]);
        Ok(process::output(&mut curl, "", START_LIMIT)?
            .status
            .success())
    })
}
