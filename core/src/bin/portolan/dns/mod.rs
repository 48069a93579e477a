//! DNS over sockets. What is answered is decided in `portolan::dns`; here are UDP threads, one thread for TCP
//! connections and for questions that go on to other servers, and bounds on all of them.

mod connection;
mod forward;
mod message;
mod slow;
#[cfg(test)]
mod tests;
mod udp;

use crate::CommandError;
use clap::Args;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use portolan::dns::{Config, Zone};
use portolan::driver::Datagrams;
use portolan::net::Prefix;
use portolan::node::Node;
use portolan::plan::NodeConfig;
use slow::Slow;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

/// How long a UDP thread waits before it looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often publishing waits for a reader, and how long each time: together far longer than any answer.
const PUBLISH_ATTEMPTS: u32 = 1_000;
const PUBLISH_PAUSE: Duration = Duration::from_millis(1);
/// UDP replies of more bytes are fragmented on some path, whatever a client says it takes (RFC 9715).
const LONGEST_UDP: usize = 1232;

/// What `portolan run` is told of DNS.
#[derive(Debug, Clone, Args)]
pub(crate) struct DnsArguments {
    /// Answers DNS queries for Services at this address of the host's, by UDP and TCP, for instance 192.168.66.11:53
    /// [default: nowhere]
    #[arg(long, value_name = "IP:PORT")]
    dns: Option<SocketAddr>,
    /// The cluster's domain
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cluster.local",
        requires = "dns"
    )]
    dns_zone: String,
    /// A reverse zone to answer for, such as 10.in-addr.arpa [default: those that hold the node's clusterCIDRs and
    /// serviceCIDRs]
    #[arg(long, value_name = "NAME", requires = "dns")]
    dns_reverse_zone: Vec<String>,
    /// A DNS server that is asked about all other names [default: they are refused]
    #[arg(long, value_name = "IP[:PORT]", requires = "dns", value_parser = server)]
    dns_upstream: Vec<SocketAddr>,
    /// How long answers may be remembered, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "dns")]
    dns_ttl: u32,
    /// Threads that answer UDP queries [default: one for each processor, at most 4]
    #[arg(long, value_name = "N", requires = "dns", value_parser = clap::value_parser!(u16).range(1..=64))]
    dns_threads: Option<u16>,
}

/// A server's address; without a port it is 53.
fn server(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse::<SocketAddr>().ok();
    let plain = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53));
    with_port
        .or_else(plain)
        .ok_or_else(|| "must be an address such as 192.0.2.53 or [2001:db8::53]:53".to_owned())
}

/// The server, until it is dropped.
#[derive(Debug)]
pub(crate) struct DnsServer {
    zone: Zone,
    slow: Option<slow::Handle>,
    threads: Vec<JoinHandle<()>>,
    /// Threads go on as long as this is there.
    alive: Option<Arc<()>>,
}

impl DnsServer {
    /// Listens, if that is asked for; from then on names are those of `node`, as [`DnsServer::follow`] saw it last.
    pub(crate) fn start(
        arguments: &DnsArguments,
        node: &Node,
    ) -> Result<Option<Self>, CommandError> {
        let Some(address) = arguments.dns else {
            return Ok(None);
        };
        if arguments.dns_upstream.contains(&address) {
            return Err(format!("--dns-upstream {address}: is --dns itself").into());
        }
        let processors = thread::available_parallelism().map_or(1, |count| count.get().min(4));
        let threads = arguments.dns_threads.map_or(processors, usize::from);
        let mut zone = Zone::new(zone_config(arguments, node.config(), address, threads)?)?;
        zone.follow(node);
        zone.publish(serial())?;
        let alive = Arc::new(());
        let no_reader = "no reader is left";
        let named = |error: std::io::Error| format!("--dns {address}: {error}");
        let slow = Slow::open(
            address,
            zone.reader().ok_or(no_reader)?,
            arguments.dns_upstream.clone(),
        )
        .map_err(named)?;
        let mut server = Self {
            zone,
            slow: Some(slow.handle()),
            threads: Vec::new(),
            alive: Some(Arc::clone(&alive)),
        };
        let handle = slow.handle();
        let watch = Arc::downgrade(&alive);
        server.spawn("portolan-dns", move || slow.until_gone(&watch))?;
        for number in 0..threads {
            let socket = Datagrams::bind(address, LONGEST_UDP, PATIENCE).map_err(named)?;
            let answers = udp::Answers {
                reader: server.zone.reader().ok_or(no_reader)?,
                socket,
                onward: (!arguments.dns_upstream.is_empty()).then(|| handle.clone()),
            };
            let watch = Arc::downgrade(&alive);
            server.spawn(&format!("portolan-dns{number}"), move || {
                answers.until_gone(&watch);
            })?;
        }
        Ok(Some(server))
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Takes what changed in the node's objects; the next answer knows it.
    pub(crate) fn follow(&mut self, node: &Node) {
        self.zone.follow(node);
        for _ in 0..PUBLISH_ATTEMPTS {
            if self.zone.publish(serial()).is_ok() {
                return;
            }
            thread::sleep(PUBLISH_PAUSE);
        }
        tracing::error!("DNS: an answer does not end, so nothing can be published");
    }

    /// How many Services have names.
    pub(crate) fn len(&self) -> usize {
        self.zone.len()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(slow) = self.slow.take() {
            slow.wake();
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn zone_config(
    arguments: &DnsArguments,
    node: &NodeConfig,
    address: SocketAddr,
    threads: usize,
) -> Result<Config, CommandError> {
    use std::io::Read;
    let mut seed = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let prefixes = node.cluster_cidrs.iter().chain(&node.service_cidrs);
    let mut reverse = arguments.dns_reverse_zone.clone();
    if reverse.is_empty() {
        reverse = prefixes.map(reverse_zone).collect();
        reverse.sort();
        reverse.dedup();
    }
    let own = Some(address.ip()).filter(|address| !address.is_unspecified());
    Ok(Config {
        zone: arguments.dns_zone.clone(),
        reverse_zones: reverse,
        ttl: arguments.dns_ttl,
        name_server_addresses: own.map_or_else(|| node.addresses.clone(), |own| vec![own]),
        recursion: !arguments.dns_upstream.is_empty(),
        // One for TCP.
        readers: threads.saturating_add(1),
        seed: u64::from_ne_bytes(seed),
        ..Config::default()
    })
}

/// The reverse zone of whole octets, or nibbles, that holds a prefix.
fn reverse_zone(prefix: &Prefix) -> String {
    let length = usize::from(prefix.len());
    let (labels, end): (Vec<String>, _) = match prefix.address() {
        IpAddr::V4(address) => {
            let octets = address.octets().into_iter().take(length / 8);
            (
                octets.map(|octet| octet.to_string()).collect(),
                "in-addr.arpa",
            )
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter();
            let nibbles = nibbles.flat_map(|octet| [octet >> 4, octet & 15]);
            let nibbles = nibbles.take(length / 4);
            (
                nibbles.map(|nibble| format!("{nibble:x}")).collect(),
                "ip6.arpa",
            )
        }
    };
    let backwards = labels.into_iter().rev().chain([end.to_owned()]);
    backwards.collect::<Vec<_>>().join(".")
}

/// Seconds since 1970, as the serial of SOA records.
#[expect(
    clippy::disallowed_methods,
    reason = "the wall clock, which only serials show"
)]
fn serial() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // RFC 1982: serials come round.
    since.map_or(0, |since| since.as_secs() as u32)
}
