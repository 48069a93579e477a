//! A ruleset of kube-proxy's shape (its nftables mode up to Kubernetes 1.35): a chain for each Service with an
//! anonymous verdict map of its endpoints, and a chain for each endpoint.

use core::fmt::Write;

use crate::cluster::{Cluster, PROTOCOL};

const TABLE: &str = "ip kube-proxy-shape";

/// The ruleset of a whole cluster, as text for `nft`.
pub(crate) fn ruleset(cluster: Cluster) -> String {
    let mut text = format!("table {TABLE} {{\n{BASE}");
    for service in 0..cluster.services {
        for index in 0..cluster.endpoints {
            write_endpoint(&mut text, cluster, service, index, 0);
        }
        let name = chain(service);
        let rules = service_rules(cluster, service, 0);
        write!(text, "chain {name} {{\n{}\n}}\n", rules.join("\n")).expect("memory suffices");
    }
    text.push_str("map service-ips {\ntype ipv4_addr . inet_proto . inet_service : verdict\n");
    text.push_str("elements = {\n");
    for service in 0..cluster.services {
        let frontend = Cluster::frontend(service);
        let (ip, port, chain) = (frontend.ip(), frontend.port(), chain(service));
        let protocol = protocol();
        writeln!(text, "{ip} . {protocol} . {port} : goto {chain},").expect("memory suffices");
    }
    text.push_str("}\n}\n");
    text.push_str("set cluster-ips {\ntype ipv4_addr\nelements = {\n");
    for service in 0..cluster.services {
        writeln!(text, "{},", Cluster::frontend(service).ip()).expect("memory suffices");
    }
    text.push_str("}\n}\n}\n");
    text
}

/// One endpoint of a Service is replaced: a chain more, and the Service's chain written anew, as a partial sync does.
pub(crate) fn change(cluster: Cluster, service: u32, turn: u32) -> String {
    let mut text = String::new();
    let chain = chain(service);
    let name = endpoint_chain(service, 0, turn);
    writeln!(text, "add chain {TABLE} {name}").expect("memory suffices");
    for rule in endpoint_rules(cluster, service, 0, turn) {
        writeln!(text, "add rule {TABLE} {name} {rule}").expect("memory suffices");
    }
    writeln!(text, "flush chain {TABLE} {chain}").expect("memory suffices");
    for rule in service_rules(cluster, service, turn) {
        writeln!(text, "add rule {TABLE} {chain} {rule}").expect("memory suffices");
    }
    text
}

const BASE: &str = "\
set nodeport-ips {
  type ipv4_addr
  elements = { 10.64.0.1 }
}
map firewall-ips {
  type ipv4_addr . inet_proto . inet_service : verdict
}
map no-endpoint-services {
  type ipv4_addr . inet_proto . inet_service : verdict
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
  ip daddr . meta l4proto . th dport vmap @firewall-ips
}
chain nodeport-endpoints-check {
  ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
}
chain service-endpoints-check {
  ip daddr . meta l4proto . th dport vmap @no-endpoint-services
}
chain cluster-ips-check {
  ip daddr @cluster-ips reject
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
  ip daddr . meta l4proto . th dport vmap @service-ips
  ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
}
";

fn write_endpoint(text: &mut String, cluster: Cluster, service: u32, index: u32, turn: u32) {
    let name = endpoint_chain(service, index, turn);
    let rules = endpoint_rules(cluster, service, index, turn).join("\n");
    write!(text, "chain {name} {{\n{rules}\n}}\n").expect("memory suffices");
}

fn service_rules(cluster: Cluster, service: u32, turn: u32) -> Vec<String> {
    let frontend = Cluster::frontend(service);
    let (ip, port, protocol) = (frontend.ip(), frontend.port(), protocol());
    let endpoints = (0..cluster.endpoints).map(|index| {
        let turn = if index == 0 { turn } else { 0 };
        format!("{index} : goto {}", endpoint_chain(service, index, turn))
    });
    let endpoints: Vec<_> = endpoints.collect();
    vec![
        format!(
            "ip daddr {ip} {protocol} dport {port} ip saddr != 10.128.0.0/9 jump mark-for-masquerade"
        ),
        format!(
            "numgen random mod {} vmap {{ {} }}",
            cluster.endpoints,
            endpoints.join(", ")
        ),
    ]
}

fn endpoint_rules(cluster: Cluster, service: u32, index: u32, turn: u32) -> Vec<String> {
    let endpoints = cluster.endpoints(service, turn);
    let Some(endpoint) = endpoints.get(index as usize) else {
        return Vec::new();
    };
    vec![
        format!("ip saddr {} jump mark-for-masquerade", endpoint.ip()),
        format!("meta l4proto {} dnat to {endpoint}", protocol()),
    ]
}

/// As long as names there are, with what stands for a hash.
fn chain(service: u32) -> String {
    let (name, protocol) = (Cluster::name(service), protocol());
    format!(
        "service-{:08X}-bench/{name}/{protocol}/p",
        service.wrapping_mul(0x9e37_79b9)
    )
}

fn endpoint_chain(service: u32, index: u32, turn: u32) -> String {
    let (name, protocol) = (Cluster::name(service), protocol());
    let hash = service.wrapping_mul(0x9e37_79b9).wrapping_add(index);
    format!("endpoint-{hash:08X}-bench/{name}/{protocol}/p__{index}/{turn}")
}

fn protocol() -> String {
    PROTOCOL.as_str().to_lowercase()
}
