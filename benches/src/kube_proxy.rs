//! A ruleset of kube-proxy's shape (its nftables mode up to Kubernetes 1.35): a chain for each Service with an
//! anonymous verdict map of its endpoints, and a chain for each endpoint.

use crate::Family;
use crate::cluster::{Cluster, NAMESPACE, PORT_NAME};
use core::fmt::Write;

/// The ruleset of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct KubeProxy {
    /// What is served.
    pub cluster: Cluster,
    /// The network that pods are in: whoever is outside of it is masqueraded.
    pub pods: &'static str,
}

impl KubeProxy {
    /// All of it, as text for `nft`.
    #[must_use]
    pub fn ruleset(self) -> String {
        let Self { cluster, .. } = self;
        let mut text = format!("table {} {{\n{}", self.table(), self.base());
        for service in 0..cluster.services {
            for index in 0..cluster.endpoints {
                let name = self.endpoint_chain(service, index, 0);
                let rules = self.endpoint_rules(service, index, 0).join("\n");
                write!(text, "chain {name} {{\n{rules}\n}}\n").expect("memory suffices");
            }
            let name = self.chain(service);
            let rules = self.service_rules(service, 0).join("\n");
            write!(text, "chain {name} {{\n{rules}\n}}\n").expect("memory suffices");
        }
        let address = self.address_type();
        write!(
            text,
            "map service-ips {{\ntype {address} . inet_proto . inet_service : verdict\nelements = {{\n"
        )
        .expect("memory suffices");
        for service in 0..cluster.services {
            let frontend = cluster.frontend(service);
            let (ip, port, chain) = (frontend.ip(), frontend.port(), self.chain(service));
            let protocol = self.protocol();
            writeln!(text, "{ip} . {protocol} . {port} : goto {chain},").expect("memory suffices");
        }
        write!(
            text,
            "}}\n}}\nset cluster-ips {{\ntype {address}\nelements = {{\n"
        )
        .expect("memory suffices");
        for service in 0..cluster.services {
            writeln!(text, "{},", cluster.frontend(service).ip()).expect("memory suffices");
        }
        text.push_str("}\n}\n}\n");
        text
    }

    /// One endpoint of a Service is replaced: a chain more, and the Service's chain written anew, as a partial sync does.
    #[must_use]
    pub fn change(self, service: u32, turn: u32) -> String {
        let mut text = String::new();
        let (table, chain) = (self.table(), self.chain(service));
        let name = self.endpoint_chain(service, 0, turn);
        writeln!(text, "add chain {table} {name}").expect("memory suffices");
        for rule in self.endpoint_rules(service, 0, turn) {
            writeln!(text, "add rule {table} {name} {rule}").expect("memory suffices");
        }
        writeln!(text, "flush chain {table} {chain}").expect("memory suffices");
        for rule in self.service_rules(service, turn) {
            writeln!(text, "add rule {table} {chain} {rule}").expect("memory suffices");
        }
        text
    }

    fn service_rules(self, service: u32, turn: u32) -> [String; 2] {
        let Self { cluster, pods } = self;
        let frontend = cluster.frontend(service);
        let (ip, port, protocol) = (frontend.ip(), frontend.port(), self.protocol());
        let endpoints = (0..cluster.endpoints).map(|index| {
            let turn = if index == 0 { turn } else { 0 };
            format!(
                "{index} : goto {}",
                self.endpoint_chain(service, index, turn)
            )
        });
        let endpoints: Vec<_> = endpoints.collect();
        let family = self.word();
        [
            format!(
                "{family} daddr {ip} {protocol} dport {port} {family} saddr != {pods} jump mark-for-masquerade"
            ),
            format!(
                "numgen random mod {} vmap {{ {} }}",
                cluster.endpoints,
                endpoints.join(", ")
            ),
        ]
    }

    fn endpoint_rules(self, service: u32, index: u32, turn: u32) -> Vec<String> {
        let mut endpoints = self.cluster.endpoints(service, turn);
        let Some(endpoint) = endpoints.nth(index as usize) else {
            return Vec::new();
        };
        let (family, protocol) = (self.word(), self.protocol());
        vec![
            format!("{family} saddr {} jump mark-for-masquerade", endpoint.ip()),
            format!("meta l4proto {protocol} dnat to {endpoint}"),
        ]
    }

    /// As long as names there are, with what stands for a hash.
    fn chain(self, service: u32) -> String {
        let hash = service.wrapping_mul(0x9e37_79b9);
        format!("service-{hash:08X}-{}", self.port(service))
    }

    fn endpoint_chain(self, service: u32, index: u32, turn: u32) -> String {
        let hash = service.wrapping_mul(0x9e37_79b9).wrapping_add(index);
        let port = self.port(service);
        format!("endpoint-{hash:08X}-{port}__{index}/{turn}")
    }

    fn port(self, service: u32) -> String {
        let (name, protocol) = (Cluster::name(service), self.protocol());
        format!("{NAMESPACE}/{name}/{protocol}/{PORT_NAME}")
    }

    fn protocol(self) -> String {
        self.cluster.protocol.as_str().to_lowercase()
    }

    fn table(self) -> String {
        format!("{} kube-proxy-shape", self.word())
    }

    /// What nft calls the family.
    const fn word(self) -> &'static str {
        match self.cluster.family {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        }
    }

    const fn address_type(self) -> &'static str {
        match self.cluster.family {
            Family::Ipv4 => "ipv4_addr",
            Family::Ipv6 => "ipv6_addr",
        }
    }

    /// What stands in the table whatever is served.
    fn base(self) -> String {
        BASE.replace("ADDRESS", self.address_type())
            .replace("FAMILY", self.word())
            .replace("NODE", &self.cluster.node().to_string())
    }
}

const BASE: &str = "\
set nodeport-ips {
  type ADDRESS
  elements = { NODE }
}
map firewall-ips {
  type ADDRESS . inet_proto . inet_service : verdict
}
map no-endpoint-services {
  type ADDRESS . inet_proto . inet_service : verdict
}
map no-endpoint-nodeports {
  type inet_proto . inet_service : verdict
}
map service-nodeports {
  type inet_proto . inet_service : verdict
}
chain filter-prerouting-pre-dnat {
  type filter hook prerouting priority -110
  ct state new jump firewall-check
}
chain filter-output-pre-dnat {
  type filter hook output priority -110
  ct state new jump firewall-check
}
chain filter-input {
  type filter hook input priority 0
  ct state new jump nodeport-endpoints-check
  ct state new jump service-endpoints-check
}
chain filter-forward {
  type filter hook forward priority 0
  ct state new jump service-endpoints-check
  ct state new jump cluster-ips-check
}
chain filter-output {
  type filter hook output priority 0
  ct state new jump service-endpoints-check
  ct state new jump cluster-ips-check
}
chain nat-prerouting {
  type nat hook prerouting priority -100
  jump services
}
chain nat-output {
  type nat hook output priority -100
  jump services
}
chain nat-postrouting {
  type nat hook postrouting priority 100
  jump masquerading
}
chain firewall-check {
  FAMILY daddr . meta l4proto . th dport vmap @firewall-ips
}
chain nodeport-endpoints-check {
  FAMILY daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
}
chain service-endpoints-check {
  FAMILY daddr . meta l4proto . th dport vmap @no-endpoint-services
}
chain cluster-ips-check {
  FAMILY daddr @cluster-ips reject
}
chain masquerading {
  meta mark & 0x4000 == 0 return
  meta mark set meta mark ^ 0x4000
  masquerade fully-random
}
chain mark-for-masquerade {
  meta mark set meta mark | 0x4000
}
chain services {
  FAMILY daddr . meta l4proto . th dport vmap @service-ips
  FAMILY daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
}
";
