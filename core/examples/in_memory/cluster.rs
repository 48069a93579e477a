//! Two nodes, their pods and a client outside, joined by function calls instead of wires.

use crate::host::Host;
use crate::node::Node;
use core::error::Error;
use core::net::{IpAddr, SocketAddr};
use smoltcp::time::{Duration, Instant};
use std::collections::BTreeMap;

/// How long a request may take, by the cluster's own clock.
const PATIENCE: Duration = Duration::from_millis(2000);

/// Who answered how often; silence counts as one more name.
pub(crate) type Answers = BTreeMap<String, u32>;

/// All of it. The clock is the cluster's own and moves when nothing else does.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    /// Each host, with the node it is on; `None` is outside.
    hosts: Vec<(Option<usize>, Host)>,
    now: Instant,
}

impl Cluster {
    /// The cluster that `cargo xtask demo` builds of namespaces.
    pub(crate) fn new(manifests: &[(String, String)]) -> Result<Self, Box<dyn Error>> {
        let nodes = vec![Node::new(1, manifests)?, Node::new(2, manifests)?];
        let mut hosts = Vec::new();
        for (node, name, last) in [
            (1, "web-1", 11),
            (1, "web-2", 12),
            (2, "web-3", 11),
            (1, "client-1", 101),
            (2, "client-2", 101),
        ] {
            let addresses = [
                format!("10.244.{node}.{last}").parse()?,
                format!("fd00:244:{node}::{last}").parse()?,
            ];
            let ports: &[u16] = if name.starts_with("web") {
                &[80, 8081, 8082]
            } else {
                &[]
            };
            hosts.push((Some(node - 1), Host::new(name, addresses, ports)?));
        }
        let outside = ["203.0.113.10".parse()?, "2001:db8:203::10".parse()?];
        hosts.push((None, Host::new("outside", outside, &[])?));
        Ok(Self {
            nodes,
            hosts,
            now: Instant::from_secs(1_000_000),
        })
    }

    /// Lets the client with this address make `requests` requests, each on a connection of its own.
    pub(crate) fn ask(
        &mut self,
        from: &str,
        to: &str,
        requests: u32,
    ) -> Result<Answers, Box<dyn Error>> {
        let (from, to): (IpAddr, SocketAddr) = (from.parse()?, to.parse()?);
        let mut answers = Answers::new();
        for _ in 0..requests {
            self.host(from).ok_or("no such client")?.ask(to)?;
            let answer = self.until_answered(from);
            let name = match answer.as_deref() {
                Some("") => "refused",
                Some(text) => text.split(' ').next().unwrap_or_default(),
                None => "silence",
            };
            *answers.entry(name.to_owned()).or_default() += 1;
        }
        Ok(answers)
    }

    fn until_answered(&mut self, client: IpAddr) -> Option<String> {
        let deadline = self.now + PATIENCE;
        while self.now < deadline {
            while self.exchange() {}
            if let Some(answer) = self.host(client)?.answer() {
                return Some(answer.to_owned());
            }
            if !self.exchange() {
                self.now += Duration::from_millis(1);
            }
        }
        None
    }

    /// Takes every host's packets to where they go. `false`: nobody had anything to send.
    fn exchange(&mut self) -> bool {
        let mut sent = Vec::new();
        for (node, host) in &mut self.hosts {
            sent.extend(
                host.poll(self.now)
                    .into_iter()
                    .map(|packet| (*node, packet)),
            );
        }
        let any = !sent.is_empty();
        for (node, packet) in sent {
            self.travel(node, packet);
        }
        any
    }

    /// Routing: a packet passes the dataplane of every node it enters, once each.
    fn travel(&mut self, from: Option<usize>, mut packet: Vec<u8>) {
        let mut entered = from;
        let mut first = true;
        loop {
            if let Some(index) = entered
                && !self.nodes[index].process(self.now, &mut packet)
            {
                return;
            }
            let Some(to) = destination(&packet) else {
                return;
            };
            let home = self.home(to);
            if home == entered && !(first && entered.is_none()) {
                if let Some(host) = self.host(to) {
                    host.receive(packet);
                }
                return;
            }
            first = false;
            entered = home;
        }
    }

    /// The node that an address belongs to; `None` is outside.
    fn home(&self, address: IpAddr) -> Option<usize> {
        let on_node = self
            .nodes
            .iter()
            .position(|node| node.addresses.contains(&address));
        let host = self
            .hosts
            .iter()
            .find(|(_, host)| host.addresses.contains(&address));
        on_node.or(host.and_then(|(node, _)| *node))
    }

    fn host(&mut self, address: IpAddr) -> Option<&mut Host> {
        let found = self
            .hosts
            .iter_mut()
            .find(|(_, host)| host.addresses.contains(&address));
        found.map(|(_, host)| host)
    }
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(packet.get(16..20)?.first_chunk::<4>().copied()?.into()),
        6 => Some(packet.get(24..40)?.first_chunk::<16>().copied()?.into()),
        _ => None,
    }
}
