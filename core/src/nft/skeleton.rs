//! The constant part of a family's table, as text for `nft`: sets, maps and chains, then the hooks.
//!
//! Text, because nft's JSON cannot say it: in nft 1.0.6 a map with concatenated data becomes a set there, and
//! `update` of a map, named verdict maps and comments are unknown or lost.

use super::{Choice, Field, Options, Set, SizeClass, Ticket};
use crate::net::{Family, Protocol};
use crate::service::EndpointSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

#[cfg(all(feature = "netlink", target_os = "linux"))]
mod census;
mod drawing;
#[cfg(test)]
mod tests;

/// nft wants this said before ports are translated.
const PORTS: &str = "meta l4proto { tcp, udp, sctp }";
const SETS: [EndpointSet; 2] = [EndpointSet::Cluster, EndpointSet::Local];
/// What is counted, and what that means.
const COUNTERS: [(&str, &str); 5] = [
    ("missed", "a lookup that found nothing: dropped"),
    (
        "no-local-endpoint",
        "the traffic policy allows no endpoint: dropped",
    ),
    ("source-range", "outside loadBalancerSourceRanges: dropped"),
    ("rejected", "no endpoint, or no such port: rejected"),
    ("unallocated", "no Service has this address: dropped"),
];

/// Writes a table without its hooks: nothing passes through it yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Skeleton<'a> {
    pub(super) options: &'a Options,
    pub(super) family: Family,
}

/// The words that differ between families.
impl Skeleton<'_> {
    /// `ip` or `ip6`: the table's family and the header's name.
    pub(super) const fn ip(&self) -> &'static str {
        match self.family {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        }
    }

    const fn address_type(&self) -> &'static str {
        match self.family {
            Family::Ipv4 => "ipv4_addr",
            Family::Ipv6 => "ipv6_addr",
        }
    }

    /// Bits of a ticket, as rules write them.
    fn bits(&self, bits: u32) -> String {
        format!("{}", Ticket::address(bits, self.family))
    }

    /// The ticket with only these bits.
    fn masked(&self, bits: u32) -> String {
        format!("{} daddr & {}", self.ip(), self.bits(bits))
    }

    /// The endpoint set of the ticket: what slots are found by.
    fn set_of_ticket(&self) -> String {
        self.masked(Ticket::NUMBER | Ticket::SET)
    }

    /// What a client is remembered by. nft 1.0.6 fails on longer keys of dynamic maps, so an IPv6 client is two
    /// independent hashes of its address: should two clients of one ServicePort share both, they share an endpoint.
    fn client(&self) -> String {
        match self.family {
            Family::Ipv4 => format!("{} . ip saddr", self.masked(Ticket::NUMBER)),
            Family::Ipv6 => format!(
                "@nh,288,32 & {:#x} . jhash ip6 saddr mod 4294967295 seed 0x706f7274 . \
                 jhash ip6 saddr mod 4294967295 seed 0x6f6c616e",
                Ticket::NUMBER
            ),
        }
    }

    /// Is the source the destination? A rule cannot compare one field with another, but each byte of both with a set of
    /// all bytes that are twice the same. The last bytes differ most, and what differs ends the rule.
    fn sends_to_itself(&self) -> String {
        let (source, bytes) = match self.family {
            Family::Ipv4 => (96, 4),
            Family::Ipv6 => (64, 16),
        };
        let destination = source + 8 * bytes;
        let byte = |byte: u32| {
            let [source, destination] = [source, destination].map(|at| at + 8 * byte);
            format!("@nh,{source},8 . @nh,{destination},8 @twice")
        };
        let all: Vec<String> = (0..bytes).rev().map(byte).collect();
        all.join(" ")
    }

    /// The source becomes the node's.
    fn masqueraded(&self) -> String {
        let Some(range) = &self.options.masquerade_ports else {
            return "masquerade fully-random".into();
        };
        let (first, last) = (range.start(), range.end());
        if first < last {
            format!("{PORTS} masquerade to :{first}-{last} fully-random")
        } else {
            format!("{PORTS} masquerade to :{first}")
        }
    }

    /// How a set's keys and data are declared. A number that is drawn has no type that nft could name.
    fn declaration(&self, set: Set) -> String {
        let drawn = set.key().contains(&Field::Slot);
        let words = |fields: &[Field]| {
            let words = fields.iter().map(|field| match (field, drawn) {
                (Field::Address, false) => self.address_type().into(),
                (Field::Protocol, false) => "inet_proto".into(),
                (Field::Port, false) => "inet_service".into(),
                (Field::Address, true) => format!("{} daddr", self.ip()),
                (Field::Protocol, true) => "meta l4proto".into(),
                (Field::Port, true) => "th dport".into(),
                (Field::Slot, _) => "numgen random mod 2".into(),
                (Field::Interface, _) => "ifname".into(),
            });
            words.collect::<Vec<String>>().join(" . ")
        };
        let kind = if drawn { "typeof" } else { "type" };
        let mut text = format!("{kind} {}", words(set.key()));
        if set.is_map() {
            let _ = write!(text, " : {}", words(set.data()));
        }
        if set.has_ranges() {
            text.push_str("; flags interval");
        }
        text
    }
}

/// The parts.
impl Skeleton<'_> {
    /// A new table without elements and without hooks: no packet passes through it yet.
    pub(super) fn body(&self) -> String {
        let mut chains = String::new();
        self.drops(&mut chains);
        for size in SizeClass::all() {
            self.draw(size, &mut chains);
            self.pick(size, &mut chains);
            self.choose(size, &mut chains);
        }
        self.forget(&mut chains);
        self.dispatch(&mut chains);
        self.masquerade(&mut chains);
        self.refuse(&mut chains);
        let mut text = String::new();
        self.counters(&mut text);
        self.sets(&mut text);
        // Chains and maps name each other, so the names come first.
        let named = chains.lines().filter_map(|line| {
            let name = line.strip_prefix("add chain ")?;
            name.split(" {").next()
        });
        for name in named {
            let _ = writeln!(text, "add chain {name}");
        }
        self.verdict_maps(&mut text);
        text.push_str(&chains);
        // Only an exact copy of this table may be taken over by another process.
        let layout = layout_name(&[&text, self.hooks().as_str()].concat());
        text.push_str(&self.add("chain"));
        let _ = writeln!(
            text,
            "{layout} {{ comment \"names the layout, for the next process\"\n}}"
        );
        text
    }

    /// The beginning of a command.
    fn add(&self, kind: &str) -> String {
        format!("add {kind} {} {} ", self.ip(), self.options.table)
    }

    /// The beginning of a chain, with what it is for.
    fn chain(&self, name: &str, what: &str) -> String {
        format!("{}{name} {{ comment \"{what}\"\n", self.add("chain"))
    }

    /// The table with all of this in it, asleep: its hooks are not in force. As one block, which nft reads in half the
    /// time that commands take.
    pub(super) fn asleep(&self, commands: &str) -> String {
        let mut block = format!(
            "table {} {} {{\n  flags dormant\n",
            self.ip(),
            self.options.table
        );
        let kinds = ["counter", "map", "set", "chain"].map(|kind| (kind, self.add(kind)));
        for line in commands.lines() {
            let item = kinds
                .iter()
                .find_map(|(kind, add)| Some((kind, line.strip_prefix(add.as_str())?)));
            let _ = match item {
                // In a block everything may name what comes later.
                Some((_, name)) if !name.contains('{') => continue,
                Some((kind, rest)) => writeln!(block, "{kind} {rest}"),
                None => writeln!(block, "{line}"),
            };
        }
        block.push_str("}\n");
        block
    }

    /// The name of the chain that says by which layout the table was made.
    pub(super) fn layout(&self) -> String {
        let body = self.body();
        let chain = self.add("chain");
        let mut names = body
            .lines()
            .filter_map(|line| line.strip_prefix(chain.as_str())?.split(' ').next());
        let name = names.rfind(|name| name.starts_with("layout-"));
        name.unwrap_or_default().into()
    }

    fn drops(&self, text: &mut String) {
        for (name, what, counter) in [
            ("missed", "a lookup found nothing", "missed"),
            (
                "nowhere",
                "the traffic policy allows no endpoint",
                "no-local-endpoint",
            ),
        ] {
            text.push_str(&self.chain(name, what));
            let _ = writeln!(text, "  counter name {counter} drop\n}}");
        }
    }

    fn counters(&self, text: &mut String) {
        for (name, what) in COUNTERS {
            text.push_str(&self.add("counter"));
            let _ = writeln!(text, "{name} {{ comment \"{what}\"\n}}");
        }
    }

    fn sets(&self, text: &mut String) {
        for set in Set::ALL {
            let kind = if set.is_map() { "map" } else { "set" };
            text.push_str(&self.add(kind));
            let (declaration, what) = (self.declaration(set), set.meaning());
            let _ = writeln!(text, "{set} {{ {declaration}; comment \"{what}\"; }}");
        }
        text.push_str(&self.affinity());
        let bytes = (0..=u8::MAX).map(|byte| format!("{byte} . {byte}"));
        let bytes: Vec<String> = bytes.collect();
        let _ = writeln!(
            text,
            "{}twice {{ typeof @nh,96,8 . @nh,128,8; size 256; comment \"each byte twice: what is the same\"; \
             elements = {{ {} }}; }}",
            self.add("set"),
            bytes.join(", ")
        );
    }

    /// The map that packets fill.
    fn affinity(&self) -> String {
        let (ip, size) = (self.ip(), self.options.affinity_clients);
        let key = match self.family {
            Family::Ipv4 => "ip daddr . ip saddr",
            Family::Ipv6 => "@nh,288,32 . numgen random mod 2 . numgen random mod 2",
        };
        format!(
            "{}affinity {{ typeof {key} : {ip} daddr; size {size}; flags timeout; \
             comment \"ServicePort . client : ticket of its endpoint; packets fill it\"; }}\n",
            self.add("map")
        )
    }

    fn verdict_maps(&self, text: &mut String) {
        // What goes by the ticket's lower bits; the second is for tickets that `tickets` gave.
        let address = self.address_type();
        let picks = SizeClass::all()
            .map(|size| (Choice::Plain(size), format!("pick-{}", size.slots())))
            .chain([(Choice::Nowhere, "nowhere".into())]);
        let picks: Vec<(Choice, String)> = picks.collect();
        let by_source = [(Choice::BySource, "by-source".into())];
        let kinds = [&picks[..], &by_source].concat();
        for (map, kinds) in [("kinds", &kinds), ("kinds-of-sets", &picks)] {
            let both = SETS.iter().flat_map(|set| {
                let set = Ticket::new(0, *set);
                kinds
                    .iter()
                    .map(move |(choice, chain)| (set.with(*choice), chain))
            });
            let elements =
                both.map(|(ticket, chain)| format!("{} : goto {chain}", self.bits(ticket.bits())));
            let elements: Vec<String> = elements.collect();
            text.push_str(&self.add("map"));
            let _ = writeln!(
                text,
                "{map} {{ type {address} : verdict; elements = {{ {} }}; }}",
                elements.join(", ")
            );
        }
        let sizes = SizeClass::all()
            .map(|size| format!("{} : jump choose-{}", self.bits(size.bits()), size.slots()));
        let sizes: Vec<String> = sizes.collect();
        text.push_str(&self.add("map"));
        let _ = writeln!(
            text,
            "sizes {{ type {address} : verdict; elements = {{ {} }}; }}",
            sizes.join(", ")
        );
    }

    /// What only session affinity asks of a kernel is in every table, so that a kernel without it is known at once.
    fn forget(&self, text: &mut String) {
        text.push_str(&self.chain("forget", "a client's endpoint is gone"));
        let (ip, client) = (self.ip(), self.client());
        let _ = writeln!(text, "  delete @affinity {{ {client} : {ip} daddr }}\n}}");
    }

    /// From a frontend to its ticket, and from the ticket to the chain that chooses.
    fn dispatch(&self, text: &mut String) {
        let ip = self.ip();
        let kind = self.masked(Ticket::SET | Ticket::KIND | Ticket::SIZE);
        let number = self.masked(Ticket::NUMBER);
        let local = self.bits(Ticket::SET);
        let (services, tickets) = (Set::Services, Set::Tickets);
        let (pods, interfaces) = (Set::Pods, Set::PodInterfaces);
        let services = format!(
            "  {ip} daddr set {ip} daddr . meta l4proto . th dport map @{services} goto kind\n"
        );
        let kinds = format!("  {kind} vmap @kinds\n  goto missed\n");
        let by_source = format!(
            "  {ip} saddr @{pods} goto cluster-set
  iifname @{interfaces} goto cluster-set
  fib saddr type local goto cluster-set
  {ip} daddr set {number} | {local} map @{tickets} goto kind-of-set
  goto missed\n"
        );
        let cluster_set =
            format!("  {ip} daddr set {number} map @{tickets} goto kind-of-set\n  goto missed\n");
        let kind_of_set = format!("  {kind} vmap @kinds-of-sets\n  goto missed\n");
        for (name, what, rules) in [
            (
                "services",
                "writes the frontend's ticket over the destination",
                services,
            ),
            ("kind", "goes where the ticket says", kinds),
            (
                "by-source",
                "pods and the node get the Cluster endpoints, others the Local ones",
                by_source,
            ),
            ("cluster-set", "the Cluster endpoints", cluster_set),
            (
                "kind-of-set",
                "goes where the endpoint set's ticket says",
                kind_of_set,
            ),
        ] {
            text.push_str(&self.chain(name, what));
            text.push_str(&rules);
            text.push_str("}\n");
        }
    }

    /// Asks what the connection was for before it was translated, so that no mark has to say it.
    fn masquerade(&self, text: &mut String) {
        let ip = self.ip();
        let (direct, cluster_ips) = (Set::Direct, Set::ClusterIps);
        let (pods, interfaces) = (Set::Pods, Set::PodInterfaces);
        let (itself, masquerade) = (self.sends_to_itself(), self.masqueraded());
        let mut by_frontend = String::new();
        for (set, what) in [
            (Set::Masqueraded, masquerade.as_str()),
            (Set::NodeMasqueraded, "goto node-source"),
        ] {
            for protocol in Protocol::ALL.map(protocol_name) {
                let _ = writeln!(
                    by_frontend,
                    "  meta l4proto {protocol} ct original {ip} daddr . meta l4proto . \
                     ct original proto-dst @{set} {what}"
                );
            }
        }
        text.push_str(&self.chain("source", "what is masqueraded, by what it was opened to"));
        let _ = write!(
            text,
            "  {itself} {masquerade}
{by_frontend}  ct original {ip} daddr @{cluster_ips} iifname != @{interfaces} {ip} saddr != @{direct} {masquerade}\n}}\n"
        );
        text.push_str(&self.chain("node-source", "only the node's own"));
        let _ = write!(
            text,
            "  {ip} saddr @{pods} return\n  iifname @{interfaces} return\n  fib saddr type local {masquerade}\n}}\n"
        );
    }

    fn refuse(&self, text: &mut String) {
        let ip = self.ip();
        let frontend = format!("{ip} daddr . meta l4proto . th dport");
        let (guarded, allowed) = (Set::Guarded, Set::Allowed);
        text.push_str(&self.chain("guard", "source ranges"));
        let _ = writeln!(
            text,
            "  {frontend} @{guarded} {frontend} . {ip} saddr != @{allowed} counter name source-range drop\n}}"
        );
        text.push_str(&self.chain("refuse", "what no endpoint is there for"));
        let _ = writeln!(
            text,
            "  {frontend} @{} counter name rejected reject
  {ip} daddr @{} counter name rejected reject
  {ip} daddr @{} counter name unallocated drop\n}}",
            Set::WithoutEndpoints,
            Set::ClusterIps,
            Set::ServiceRanges,
        );
    }

    /// The chains in which a client keeps its endpoint for so long.
    pub(super) fn sticky(&self, seconds: u32, index: u8) -> String {
        let (ip, table) = (self.ip(), &self.options.table);
        let (client, number) = (self.client(), self.masked(Ticket::NUMBER));
        let size = self.masked(Ticket::SIZE);
        let other_bits = self.masked(!Ticket::SET);
        let (endpoints, tickets) = (Set::StickyEndpoints, Set::Tickets);
        let remember = format!("update @affinity {{ {client} timeout {seconds}s : {ip} daddr }}");
        let send = format!("{PORTS} dnat {ip} to {ip} daddr map @{endpoints}");
        let mut text = String::new();
        for set in SETS {
            for part in ["", "-new"] {
                let name = sticky_name(seconds, index, set);
                let _ = writeln!(text, "{}{name}{part}", self.add("chain"));
            }
        }
        for (set, bit) in SETS.iter().zip(["", " | "]) {
            let name = sticky_name(seconds, index, *set);
            let bit = match set {
                EndpointSet::Cluster => String::new(),
                EndpointSet::Local => format!("{bit}{}", self.bits(Ticket::SET)),
            };
            let what = format!("a client keeps its endpoint for {seconds} s");
            text.push_str(&self.chain(&name, &what));
            let _ = writeln!(
                text,
                "  {client} != @affinity goto {name}-new
  {ip} daddr set {client} map @affinity
  {ip} daddr set {other_bits}{bit}
  {PORTS} {ip} daddr @{endpoints} {remember} dnat {ip} to {ip} daddr map @{endpoints}
  {ip} daddr set {number}{bit} map @{tickets}
  jump forget
  goto {name}-new\n}}"
            );
            text.push_str(&self.chain(&format!("{name}-new"), "a client that has none yet"));
            let _ = writeln!(
                text,
                "  {size} vmap @sizes
  {remember}
  {send}
  {ip} daddr set {number}{bit}
  jump draw-ticket-1
  {send}
  goto missed\n}}"
            );
        }
        for map in ["kinds", "kinds-of-sets"] {
            let elements = SETS.iter().flat_map(|set| {
                SizeClass::all().map(|size| {
                    let ticket = Ticket::new(0, *set).with(Choice::Sticky(index, size));
                    let chain = sticky_name(seconds, index, *set);
                    format!("{} : goto {chain}", self.bits(ticket.bits()))
                })
            });
            let elements: Vec<String> = elements.collect();
            let elements = elements.join(", ");
            let _ = writeln!(text, "add element {ip} {table} {map} {{ {elements} }}");
        }
        text
    }

    /// The base chains: from here on packets pass through.
    pub(super) fn hooks(&self) -> String {
        let Options {
            dnat_priority,
            filter_priority,
            snat_priority,
            ..
        } = self.options;
        let guard_priority = dnat_priority.saturating_sub(10);
        let mut text = String::new();
        let guard = "ct state new jump guard";
        let refuse = "ct state new jump refuse";
        let translate = "jump services";
        let source = "ct status dnat jump source";
        for (chain, kind, hook, priority, rule) in [
            (
                "prerouting-guard",
                "filter",
                "prerouting",
                &guard_priority,
                guard,
            ),
            ("output-guard", "filter", "output", &guard_priority, guard),
            ("prerouting", "nat", "prerouting", dnat_priority, translate),
            ("output", "nat", "output", dnat_priority, translate),
            ("input-refuse", "filter", "input", filter_priority, refuse),
            (
                "forward-refuse",
                "filter",
                "forward",
                filter_priority,
                refuse,
            ),
            ("output-refuse", "filter", "output", filter_priority, refuse),
            ("postrouting", "nat", "postrouting", snat_priority, source),
        ] {
            text.push_str(&self.add("chain"));
            let _ = writeln!(
                text,
                "{chain} {{ type {kind} hook {hook} priority {priority}; policy accept;\n  {rule}\n}}"
            );
        }
        text
    }
}

/// FNV-1a of the text: enough to tell versions apart.
fn layout_name(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("layout-{hash:016x}")
}

const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// The name says what the chain is for, and is how a new process learns which timeouts have chains already.
pub(super) fn sticky_name(seconds: u32, index: u8, set: EndpointSet) -> String {
    let set = match set {
        EndpointSet::Cluster => "cluster",
        EndpointSet::Local => "local",
    };
    format!("sticky-{index}-{seconds}s-{set}")
}
