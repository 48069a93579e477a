//! Which UDP connections the kernel must forget: a connection that it remembers goes where its first packet went,
//! whatever the ruleset says now, and UDP never ends while somebody sends.
//!
//! The rules are kube-proxy's (`conntrack/cleanup.go`), without its exceptions for Services that have lost all their
//! endpoints (kubernetes #139628) or are gone (#141371): those are the ones whose senders would wait for ever.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::netlink::Flow;
use crate::net::{Family, Protocol};
use crate::plan::{Change, Changes, PortKey, PortPlan};
use crate::service::{EndpointSpec, ServiceSpec};

/// Follows a plan's UDP frontends, those that are gone included until their connections are.
#[derive(Debug, Default)]
pub struct StaleFlows {
    served: BTreeMap<Arc<PortKey>, Arc<PortPlan>>,
    /// The serving endpoints of each frontend; none for one that nobody serves any more.
    endpoints: BTreeMap<SocketAddr, Arc<[SocketAddr]>>,
    /// Frontends without a ServicePort, to be forgotten after the next deletion.
    abandoned: BTreeSet<SocketAddr>,
    due: [bool; 2],
}

impl StaleFlows {
    /// Of a plan without Services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows the plan.
    pub fn follow(&mut self, changes: &Changes) {
        let mut gone: BTreeSet<Arc<PortKey>> = BTreeSet::new();
        if changes.full {
            gone.extend(self.served.keys().cloned());
        }
        let mut put = Vec::new();
        for change in &changes.changes {
            match change {
                Change::Remove(key) => {
                    gone.insert(Arc::clone(key));
                }
                Change::Put(key, plan) if key.protocol == Protocol::Udp => {
                    gone.remove(key);
                    let known = self.served.get(key);
                    if known.is_none_or(|known| known.spec != plan.spec) {
                        put.push((key, plan));
                    }
                }
                Change::Put(..) | Change::Node(_) => {}
            }
        }
        // A connection becomes stale only by what is taken away from a Service, or by a frontend that is new.
        for (key, plan) in &put {
            let known = self.served.get(*key);
            if known.is_none_or(|known| !only_grows(&known.spec, &plan.spec)) {
                self.set_due(key.family, true);
            }
        }
        // What is taken away goes first: a frontend may have moved from one ServicePort to another.
        for key in &gone {
            self.set_due(key.family, true);
        }
        for key in &gone {
            if let Some(plan) = self.served.remove(key) {
                self.abandon(&plan.spec, &Arc::from([]));
            }
        }
        for (key, plan) in &put {
            if let Some(known) = self.served.remove(*key) {
                self.abandon(&known.spec, &endpoints(&plan.spec));
            }
        }
        for (key, plan) in put {
            self.serve(&plan.spec);
            self.served.insert(Arc::clone(key), Arc::clone(plan));
        }
    }

    const fn set_due(&mut self, family: Family, due: bool) {
        let [ipv4, ipv6] = &mut self.due;
        match family {
            Family::Ipv4 => *ipv4 = due,
            Family::Ipv6 => *ipv6 = due,
        }
    }

    /// Frontends are no more; what came by them to endpoints that their Service still has goes on.
    fn abandon(&mut self, spec: &ServiceSpec, still: &Arc<[SocketAddr]>) {
        for frontend in frontends(spec) {
            self.endpoints.insert(frontend, Arc::clone(still));
            self.abandoned.insert(frontend);
        }
    }

    fn serve(&mut self, spec: &ServiceSpec) {
        let endpoints = endpoints(spec);
        for frontend in frontends(spec) {
            self.endpoints.insert(frontend, Arc::clone(&endpoints));
            self.abandoned.remove(&frontend);
        }
    }

    /// Has anything changed that can have made a connection of a family stale? Ask the kernel for its connections only
    /// then, and only after the ruleset has been committed, lest the next packet makes the same connection again.
    #[must_use]
    pub const fn is_due(&self, family: Family) -> bool {
        let [ipv4, ipv6] = self.due;
        match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }

    /// Must the kernel forget this connection: was it opened to a frontend, and is it answered by anybody but one of
    /// the frontend's serving endpoints? Which of them traffic policy would choose now does not matter. Connections
    /// that never were translated, because they are older than the rules, are answered by the frontend itself and
    /// must go, too.
    #[must_use]
    pub fn is_stale(&self, flow: &Flow) -> bool {
        let endpoints = self.endpoints.get(&flow.destination);
        endpoints.is_some_and(|endpoints| !endpoints.contains(&flow.answerer))
    }

    /// The stale connections of a family have been deleted.
    pub fn deleted(&mut self, family: Family) {
        let endpoints = &mut self.endpoints;
        self.abandoned.retain(|frontend| {
            let kept = Family::of(frontend.ip()) != family;
            if !kept {
                endpoints.remove(frontend);
            }
            kept
        });
        self.set_due(family, false);
    }
}

/// Has a ServicePort the same frontends as before, and all endpoints that it had?
fn only_grows(before: &ServiceSpec, after: &ServiceSpec) -> bool {
    let served = |one: &&EndpointSpec| (one.address, one.port);
    let mut had = before.endpoints.iter();
    frontends(before).eq(frontends(after))
        && had.all(|one| {
            after
                .endpoints
                .iter()
                .any(|other| served(&one) == served(&other))
        })
}

fn endpoints(spec: &ServiceSpec) -> Arc<[SocketAddr]> {
    let endpoints = spec.endpoints.iter();
    let endpoints = endpoints.map(|endpoint| SocketAddr::new(endpoint.address, endpoint.port));
    endpoints.collect()
}

fn frontends(spec: &ServiceSpec) -> impl Iterator<Item = SocketAddr> {
    let frontends = spec.frontends.iter();
    frontends.map(|frontend| SocketAddr::new(frontend.address, frontend.port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Generation;
    use crate::plan::{ClusterReason, LocalReason};
    use crate::service::{EndpointSet, Frontend, FrontendKind, SourceRule};
    use alloc::vec;

    const DNS: &str = "10.96.0.10:53";
    const POD: &str = "10.244.1.5:5353";

    fn key(name: &str, protocol: Protocol) -> Arc<PortKey> {
        Arc::new(PortKey {
            namespace: "ns".into(),
            name: name.into(),
            port_name: "p".into(),
            protocol,
            family: Family::Ipv4,
        })
    }

    fn put(name: &str, protocol: Protocol, frontends: &[&str], endpoints: &[&str]) -> Change {
        let rule = SourceRule {
            set: EndpointSet::Cluster,
            masquerade: false,
        };
        let frontend = |text: &&str| {
            let address: SocketAddr = text.parse().unwrap();
            Frontend {
                address: address.ip(),
                port: address.port(),
                kind: FrontendKind::ClusterIp,
                rules: [rule; 3],
                source_ranges: Vec::new(),
            }
        };
        let endpoint = |text: &&str| {
            let address: SocketAddr = text.parse().unwrap();
            EndpointSpec {
                address: address.ip(),
                port: address.port(),
                local: false,
                // Serving is enough, chosen or not.
                in_cluster_set: false,
                in_local_set: false,
                weight: 1,
                tag: 0,
            }
        };
        let spec = ServiceSpec {
            protocol,
            frontends: frontends.iter().map(frontend).collect(),
            endpoints: endpoints.iter().map(endpoint).collect(),
            affinity_seconds: None,
            schedule: crate::service::Schedule::default(),
        };
        let plan = PortPlan {
            spec: Arc::new(spec),
            endpoints: Vec::new(),
            cluster_reason: ClusterReason::Empty,
            local_reason: LocalReason::Empty,
            health_check: None,
        };
        Change::Put(key(name, protocol), Arc::new(plan))
    }

    fn follow(stale: &mut StaleFlows, full: bool, changes: Vec<Change>) {
        let to = Generation(1);
        stale.follow(&Changes { to, full, changes });
    }

    fn after(changes: Vec<Change>) -> StaleFlows {
        let mut stale = StaleFlows::new();
        follow(&mut stale, true, changes);
        stale
    }

    fn flow(destination: &str, answerer: &str) -> Flow {
        let client = "10.244.9.9:40000".parse().unwrap();
        Flow::new(
            client,
            destination.parse().unwrap(),
            answerer.parse().unwrap(),
        )
    }

    #[test]
    fn only_a_serving_endpoint_may_answer_a_frontend() {
        let stale = after(vec![put("dns", Protocol::Udp, &[DNS], &[POD])]);
        for (answerer, wanted) in [
            (POD, false),
            ("10.244.1.6:5353", true),
            // The pod's address with the port that it had before.
            ("10.244.1.5:53", true),
            // Older than the rules: never translated.
            (DNS, true),
        ] {
            assert_eq!(stale.is_stale(&flow(DNS, answerer)), wanted, "{answerer}");
        }
    }

    #[test]
    fn what_is_no_frontend_is_left_alone() {
        let stale = after(vec![
            put("dns", Protocol::Udp, &[DNS], &[]),
            put("web", Protocol::Tcp, &["10.96.0.80:80"], &[]),
        ]);
        for destination in ["10.96.0.10:4789", "10.96.0.11:53", "10.96.0.80:80"] {
            assert!(!stale.is_stale(&flow(destination, POD)), "{destination}");
        }
    }

    #[test]
    fn a_service_that_lost_all_endpoints_keeps_none_of_its_flows() {
        let mut stale = after(vec![put("dns", Protocol::Udp, &[DNS], &[POD])]);
        stale.deleted(Family::Ipv4);
        assert!(!stale.is_due(Family::Ipv4));
        follow(
            &mut stale,
            false,
            vec![put("dns", Protocol::Udp, &[DNS], &[])],
        );
        assert!(stale.is_due(Family::Ipv4) && stale.is_stale(&flow(DNS, POD)));
    }

    #[test]
    fn a_service_that_is_gone_is_remembered_until_its_flows_are_gone() {
        for gone in [Some(Change::Remove(key("dns", Protocol::Udp))), None] {
            let mut stale = after(vec![put("dns", Protocol::Udp, &[DNS], &[POD])]);
            stale.deleted(Family::Ipv4);
            // Named as removed, or left out of a whole plan.
            follow(&mut stale, gone.is_none(), gone.into_iter().collect());
            assert!(stale.is_due(Family::Ipv4) && stale.is_stale(&flow(DNS, POD)));
            stale.deleted(Family::Ipv4);
            assert!(!stale.is_due(Family::Ipv4) && !stale.is_stale(&flow(DNS, POD)));
        }
    }

    #[test]
    fn a_frontend_that_moves_to_another_service_is_that_ones() {
        let other = "10.244.1.7:5353";
        let mut stale = after(vec![
            put("a", Protocol::Udp, &["10.96.0.1:53"], &[other]),
            put("b", Protocol::Udp, &[DNS], &[POD]),
        ]);
        let a = put("a", Protocol::Udp, &["10.96.0.1:53", DNS], &[other]);
        let b = put("b", Protocol::Udp, &["10.96.0.2:53"], &[POD]);
        follow(&mut stale, false, vec![a, b]);
        assert!(stale.is_stale(&flow(DNS, POD)) && !stale.is_stale(&flow(DNS, other)));
        stale.deleted(Family::Ipv4);
        assert!(stale.is_stale(&flow(DNS, POD)) && !stale.is_stale(&flow(DNS, other)));
    }

    #[test]
    fn what_came_by_a_closed_door_goes_on_to_endpoints_that_the_service_still_has() {
        let (node_port, other) = ("192.0.2.1:30053", "10.244.1.6:5353");
        let mut stale = after(vec![put(
            "dns",
            Protocol::Udp,
            &[DNS, node_port],
            &[POD, other],
        )]);
        stale.deleted(Family::Ipv4);
        let closed = put("dns", Protocol::Udp, &[DNS], &[POD]);
        follow(&mut stale, false, vec![closed]);
        assert!(stale.is_due(Family::Ipv4));
        assert!(!stale.is_stale(&flow(node_port, POD)));
        assert!(stale.is_stale(&flow(node_port, other)));
    }

    #[test]
    fn what_is_put_unchanged_asks_for_nothing() {
        let dns = || put("dns", Protocol::Udp, &[DNS], &[POD]);
        let mut stale = after(vec![dns()]);
        stale.deleted(Family::Ipv4);
        follow(&mut stale, true, vec![dns()]);
        assert!(!stale.is_due(Family::Ipv4));
    }

    #[test]
    fn an_endpoint_more_makes_no_connection_stale_but_one_less_and_a_new_frontend_do() {
        let dns = |frontends: &[&str], endpoints: &[&str]| {
            vec![put("dns", Protocol::Udp, frontends, endpoints)]
        };
        let (node_port, more) = ("192.0.2.1:30053", "10.244.1.6:5353");
        for (frontends, endpoints, due) in [
            (&[DNS][..], &[POD, more][..], false),
            (&[DNS], &[more], true),
            (&[DNS, node_port], &[POD], true),
        ] {
            let mut stale = after(dns(&[DNS], &[POD]));
            stale.deleted(Family::Ipv4);
            follow(&mut stale, false, dns(frontends, endpoints));
            assert_eq!(
                stale.is_due(Family::Ipv4),
                due,
                "{frontends:?} {endpoints:?}"
            );
            assert!(!stale.is_due(Family::Ipv6));
        }
    }
}
