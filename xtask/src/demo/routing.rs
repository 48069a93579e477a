//! How a node's packets get into Portolan and out again: the recipe of docs/routing.md, done.
//!
//! The host routes, the library rewrites. A TUN stands in every packet's way: what enters the node
//! from a pod or from the uplink is marked and routed into the TUN; what comes out of the TUN is
//! unmarked and takes the ordinary tables. So a reply passes the connection's own node again, where
//! its addresses are put back.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::process;

/// The TUN that `portolan run` holds on every node.
pub(crate) const TUN: &str = "ptl0";

/// What a node's routing needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeAddresses {
    /// The node's own addresses: the source of what the node itself sends to Services.
    pub(crate) ipv4: Ipv4Addr,
    /// As above, IPv6.
    pub(crate) ipv6: Ipv6Addr,
}

/// Where cluster IPs come from.
pub(crate) const SERVICE_CIDRS: (&str, &str) = ("10.96.0.0/16", "fd00:96::/112");

/// Addresses that load balancers of the demo hand out.
pub(crate) const LOAD_BALANCER_CIDR: &str = "198.51.100.0/24";

/// Before the TUN is there: the node forwards, and takes its own address as a source from the TUN.
pub(crate) fn prepare(node: &Namespace) -> Result<()> {
    node.sysctl(&[
        "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.forwarding=1",
        // Replies leave by another device than their connection came from: the TUN.
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.default.rp_filter=0",
        // Masqueraded packets come out of the TUN with the node's own address as their source.
        "net.ipv4.conf.default.accept_local=1",
        // What answers the node's own sockets is to be forwarded into the TUN; a packet that
        // already belongs to a socket is not forwarded. Both families.
        "net.ipv4.ip_early_demux=0",
    ])
}

/// Once the TUN is there: sends through it whatever enters the node.
pub(crate) fn divert(node: &Namespace, addresses: NodeAddresses) -> Result<()> {
    let NodeAddresses { ipv4, ipv6 } = addresses;
    let (services_ipv4, services_ipv6) = SERVICE_CIDRS;
    node.ip(&format!(
        "link set {TUN} addrgenmode none\n\
         link set {TUN} up\n\
         route add default dev {TUN} src {ipv4} table 100\n\
         route add {services_ipv4} dev {TUN} src {ipv4}\n\
         route add {LOAD_BALANCER_CIDR} dev {TUN} src {ipv4}\n"
    ))?;
    node.ip6(&format!(
        "route add default dev {TUN} src {ipv6} table 100\n\
         route add {services_ipv6} dev {TUN} src {ipv6}\n"
    ))?;
    // The local table moves behind ours: a NodePort is asked for at the node's own address.
    let rules = |node_address: &str| {
        format!(
            "rule add pref 10 fwmark 0x706c lookup 100\n\
             rule add pref 15 iif lo to {node_address} dport 30000-32767 lookup 100\n\
             rule add pref 20 lookup local\n\
             rule del pref 0\n"
        )
    };
    node.ip(&rules(&ipv4.to_string()))?;
    node.ip6(&rules(&ipv6.to_string()))?;
    mark(node)
}

/// For a node that may change between the TUN and the kernel's tables: what comes out of the TUN is not followed by the
/// kernel a second time, and a segment in the middle of a connection that is not the kernel's stays the TUN's.
pub(crate) fn share_with_kernel(node: &Namespace) -> Result<()> {
    let ruleset = format!(
        "table inet portolan_sharing {{
            chain once {{
                type filter hook prerouting priority raw
                iifname {TUN} notrack
            }}
        }}"
    );
    let mut nft = node.command("nft");
    nft.args(["-f", "-"]);
    process::run(&mut nft, &ruleset, Duration::from_secs(20)).context("sharing packets")?;
    node.sysctl(&[
        "net.netfilter.nf_conntrack_tcp_loose=0",
        // Ports of connections that ended are free at once: for two minutes the kernel would take for its own what
        // answers the same port, which the dataplane has given to another connection meanwhile.
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait=1",
    ])
}

/// Marks what is to go through the TUN: TCP, UDP, SCTP and ICMP from anywhere but the TUN itself.
///
/// A mark rather than a rule for each device: pods come and go, and ARP asks the routing tables too
/// (as a packet of no protocol), so a rule that catches a device keeps the node from answering for
/// its own address. Neighbour discovery is left alone: it must arrive with its hop limit of 255.
fn mark(node: &Namespace) -> Result<()> {
    let ruleset = format!(
        "table inet portolan_routing {{
            chain divert {{
                type filter hook prerouting priority mangle
                iifname {{ lo, {TUN} }} return
                icmpv6 type {{ mld-listener-query, mld-listener-report, mld2-listener-report, \
                    nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
                    nd-neighbor-advert, nd-redirect }} return
                meta l4proto {{ tcp, udp, sctp, icmp, icmpv6 }} meta mark set 0x706c
            }}
        }}"
    );
    let mut nft = node.command("nft");
    nft.args(["-f", "-"]);
    process::run(&mut nft, &ruleset, Duration::from_secs(20)).context("marking packets")?;
    Ok(())
}
