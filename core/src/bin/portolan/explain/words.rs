//! An explanation in words, and as JSON: the dataplane's own account, with the names that only the plan knows.

use crate::serving::Serving;
use core::net::SocketAddr;
use portolan::dataplane::{DropReason, Explanation, MasqueradeCause, Verdict};
use portolan::model::{Service, TrafficPolicy};
use portolan::net::{Direction, Scheduler};
use portolan::plan::{PortKey, PortPlan};
use portolan::service::{EndpointSet, FrontendKind, SourceClass};
use serde_json::{Value, json};

/// What the words are made of.
struct Account<'a> {
    serving: &'a Serving,
    explanation: &'a Explanation,
    port: Option<(&'a PortKey, &'a PortPlan)>,
    service: Option<&'a Service>,
}

/// The whole answer: every field by itself, and `text`.
pub(super) fn answer(serving: &Serving, explanation: &Explanation) -> Value {
    let port = explanation.service.and_then(|id| serving.port(id));
    let service = match port {
        Some((key, _)) => serving.service(&key.service()),
        None => explanation
            .tuple
            .and_then(|tuple| serving.service_at(tuple.destination)),
    };
    let account = Account {
        serving,
        explanation,
        port,
        service,
    };
    let tuple = explanation.tuple;
    json!({
        "packet": tuple.map(|tuple| tuple.to_string()),
        "verdict": account.verdict(),
        "reason": explanation.reason.map(DropReason::as_str),
        "rule": account.rule(),
        "why": account.why(),
        "connection": explanation.connection.map(direction),
        "source": explanation.class.map(|class| class.to_string()),
        "frontend": explanation.frontend.map(|kind| kind.to_string()),
        "service": port.map(|(key, _)| key.service().to_string()),
        "portName": port.map(|(key, _)| key.port_name.clone()),
        "policy": account.policy().map(|(field, policy)| format!("{field}: {policy}")),
        "endpointSet": explanation.set.map(|set| set.to_string()),
        "endpoints": explanation.choices.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "endpointsBecause": account.set_reason(),
        "affinitySeconds": port.and_then(|(_, plan)| plan.spec.affinity_seconds),
        "rememberedByAffinity": explanation.kept.is_some(),
        "scheduler": account.scheduler().map(Scheduler::as_str),
        "choice": explanation.endpoint.map(|endpoint| endpoint.to_string()),
        "translated": explanation.translated.map(|tuple| tuple.to_string()),
        "masquerade": explanation.masquerade.is_some(),
        "masqueradeBecause": account.masquerade(),
        "generation": explanation.generation.0,
        "text": account.text(),
    })
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Original => "original",
        Direction::Reply => "reply",
    }
}

impl Account<'_> {
    const fn verdict(&self) -> &'static str {
        match self.explanation.verdict {
            Verdict::Pass => "pass",
            Verdict::Forward => "forward",
            Verdict::Reply => "reject",
            Verdict::Drop => "drop",
        }
    }

    /// The field of the Service that decides, and what it says.
    fn policy(&self) -> Option<(&'static str, &'static str)> {
        let service = self.service?;
        let (field, policy) = match self.explanation.frontend? {
            FrontendKind::ClusterIp => ("internalTrafficPolicy", service.internal_traffic_policy),
            FrontendKind::NodePort | FrontendKind::ExternalIp | FrontendKind::LoadBalancer => {
                ("externalTrafficPolicy", service.external_traffic_policy)
            }
        };
        let policy = match policy {
            TrafficPolicy::Cluster => "Cluster",
            TrafficPolicy::Local => "Local",
        };
        Some((field, policy))
    }

    /// Why the endpoints of the sender's set are these.
    fn set_reason(&self) -> Option<String> {
        let (_, plan) = self.port?;
        Some(match self.explanation.set? {
            EndpointSet::Cluster => plan.cluster_reason.to_string(),
            EndpointSet::Local => plan.local_reason.to_string(),
        })
    }

    /// Who sends, in words.
    fn source(&self) -> Option<String> {
        let address = self.explanation.tuple?.source;
        let node = self.serving.node().plan().node();
        Some(match self.explanation.class? {
            SourceClass::Pod => {
                let prefix = node.pod_prefixes.iter().find(|one| one.contains(address));
                let inside = prefix.map(|one| format!(" (inside {one})"));
                let behind = || {
                    let pods = node.pod_interface.as_ref();
                    pods.map(|pods| format!(" (its packets enter by {pods})"))
                };
                let because = inside.or_else(behind).unwrap_or_default();
                format!("{address} is a pod{because}")
            }
            SourceClass::Node => format!("{address} is this node's own address"),
            SourceClass::Outside => match &node.pod_interface {
                Some(pods) => format!(
                    "{address} is not this node's, and its packet does not enter by {pods}, as pods' packets do"
                ),
                None if node.pod_prefixes.is_empty() => format!(
                    "{address} is not this node's; there is no way to tell whether it is a pod"
                ),
                None => format!("{address} is neither a pod nor this node"),
            },
        })
    }

    /// The rule that decided, by the name of the field or object that users know it by.
    fn rule(&self) -> String {
        let explanation = self.explanation;
        let policy = || {
            self.policy().map_or_else(
                || "traffic policy".to_owned(),
                |(field, policy)| format!("{field}: {policy}"),
            )
        };
        match (explanation.verdict, explanation.reason) {
            _ if explanation.connection.is_some() => "existing connection".to_owned(),
            (Verdict::Forward, _) if explanation.kept.is_some() => {
                "sessionAffinity: ClientIP".to_owned()
            }
            (Verdict::Forward, _) | (Verdict::Drop, Some(DropReason::NoLocalEndpoint)) => policy(),
            (Verdict::Pass | Verdict::Drop, _) if self.foreign_proxy().is_some() => {
                "service.kubernetes.io/service-proxy-name".to_owned()
            }
            (Verdict::Pass, _) => "no Service".to_owned(),
            (Verdict::Reply, _) if self.port.is_some() => "no ready endpoints".to_owned(),
            (Verdict::Reply, _) => "undeclared port of a clusterIP".to_owned(),
            (Verdict::Drop, Some(DropReason::SourceRange)) => "loadBalancerSourceRanges".to_owned(),
            (Verdict::Drop, Some(DropReason::UnallocatedAddress)) => {
                "unallocated address of a ServiceCIDR".to_owned()
            }
            (Verdict::Drop, Some(reason)) => reason.to_string(),
            (Verdict::Drop, None) => "packet held".to_owned(),
        }
    }

    /// The proxy that serves the Service at this address, if it is another.
    fn foreign_proxy(&self) -> Option<&str> {
        let known = self.port.is_some() || self.explanation.connection.is_some();
        let service = self.service.filter(|_| !known)?;
        let own = &self.serving.node().config().proxy_name;
        let foreign = service.proxy_name != *own;
        foreign.then(|| service.proxy_name.as_deref().unwrap_or("kube-proxy"))
    }

    /// Why the verdict is what it is, where that needs words.
    fn why(&self) -> String {
        let explanation = self.explanation;
        let destination = explanation.tuple.map_or_else(String::new, |tuple| {
            SocketAddr::new(tuple.destination, tuple.destination_port).to_string()
        });
        if let (Some(proxy), Some(service)) = (self.foreign_proxy(), self.service) {
            let fate = match explanation.verdict {
                Verdict::Pass => "its packets are left alone",
                Verdict::Forward | Verdict::Reply | Verdict::Drop => {
                    "its address is nobody's here, and dropped as the ServiceCIDR's unallocated ones are unless \
                     otherProxies is Pass"
                }
            };
            let key = &service.key;
            return format!(
                "{destination} is of Service {key}, which the proxy {proxy} serves: {fate}"
            );
        }
        match (explanation.verdict, explanation.reason) {
            (Verdict::Forward, _) if explanation.connection.is_some() => {
                "the packet belongs to a connection that exists: it goes where the connection goes"
                    .to_owned()
            }
            (Verdict::Forward, _) => "the packet opens a connection".to_owned(),
            (Verdict::Pass, _) => {
                format!("no Service is served at {destination}: the packet is left alone")
            }
            (Verdict::Reply, _) if self.port.is_some() => "the Service has no endpoint that is ready, or that \
                still serves while it terminates, on any node: the packet is answered with ICMP port \
                unreachable, which clients report as \"connection refused\""
                .to_owned(),
            (Verdict::Reply, _) => self.undeclared(),
            (Verdict::Drop, Some(DropReason::NoLocalEndpoint)) => {
                let (field, _) = self.policy().unwrap_or(("traffic policy", ""));
                let elsewhere = self.usable().unwrap_or(0);
                format!(
                    "the Service's {field} is Local, so only endpoints on this node may be used, and there is \
                     none; {elsewhere} elsewhere are not used. The packet is dropped without an answer: the \
                     client waits until it times out. Set {field}: Cluster, or run a pod here"
                )
            }
            (Verdict::Drop, Some(DropReason::SourceRange)) => {
                let ranges = self.service.map_or_else(String::new, |service| {
                    let ranges: Vec<_> =
                        service.source_ranges.iter().map(ToString::to_string).collect();
                    ranges.join(", ")
                });
                format!(
                    "the sender lies outside the Service's loadBalancerSourceRanges ({ranges}), which hold for \
                     pods and nodes too"
                )
            }
            (Verdict::Drop, Some(DropReason::UnallocatedAddress)) => {
                let cidrs = &self.serving.node().plan().node().service_prefixes;
                let address = explanation.tuple.map(|tuple| tuple.destination);
                let cidr = address
                    .and_then(|address| cidrs.iter().find(|cidr| cidr.contains(address)))
                    .map_or_else(String::new, |cidr| format!(" {cidr}"));
                format!("the address lies in the ServiceCIDR{cidr}, but no Service has it as a clusterIP")
            }
            (Verdict::Drop, Some(reason)) => reason.explanation().to_owned(),
            (Verdict::Drop, None) => "the packet is held".to_owned(),
        }
    }

    fn undeclared(&self) -> String {
        let Some(tuple) = self.explanation.tuple else {
            return "the packet is refused".to_owned();
        };
        let name = self.service.map_or_else(
            || "a Service".to_owned(),
            |service| format!("Service {}", service.key),
        );
        format!(
            "{} is a clusterIP of {name}, which declares no port {}/{}: the packet is answered with ICMP port \
             unreachable, which clients report as \"connection refused\"",
            tuple.destination, tuple.destination_port, tuple.protocol
        )
    }

    /// How many endpoints policy Cluster could use.
    fn usable(&self) -> Option<usize> {
        let (_, plan) = self.port?;
        Some(
            plan.endpoints
                .iter()
                .filter(|one| one.in_cluster_set && one.weight > 0)
                .count(),
        )
    }

    /// Whether the source is rewritten, and why.
    fn masquerade(&self) -> Option<String> {
        let explanation = self.explanation;
        if explanation.verdict != Verdict::Forward || explanation.connection.is_some() {
            return None;
        }
        let (class, kind) = (explanation.class?, explanation.frontend?);
        let local = self.policy().is_some_and(|(_, policy)| policy == "Local");
        let words = match (explanation.masquerade, class, kind) {
            (Some(MasqueradeCause::Hairpin), ..) => {
                "yes: the endpoint is the sender itself, and must see an answer come back through this node"
            }
            (Some(_), SourceClass::Pod, FrontendKind::ClusterIp) => "yes: masqueradeAll is set",
            (Some(_), _, FrontendKind::ClusterIp) => {
                "yes: the sender is no pod, so the answer must be made to come back through this node"
            }
            (Some(_), SourceClass::Node, _) if local => {
                "yes: the node itself is given endpoints of the whole cluster, and the answer must come back \
                 here"
            }
            (Some(_), ..) => {
                "yes: externalTrafficPolicy is Cluster, so the endpoint may be on another node, and the answer \
                 must come back through this one"
            }
            (None, SourceClass::Pod, _) => "no: endpoints can answer a pod directly",
            (None, _, FrontendKind::ClusterIp) => {
                "no: there is no way to tell pods from others, so nobody is masqueraded towards a clusterIP"
            }
            (None, ..) => "no: externalTrafficPolicy is Local, which keeps the client's address",
        };
        Some(words.to_owned())
    }

    fn frontend(&self) -> Option<String> {
        let tuple = self.explanation.tuple?;
        let (key, _) = self.port?;
        let at = SocketAddr::new(tuple.destination, tuple.destination_port);
        let name = if key.port_name.is_empty() {
            String::new()
        } else {
            format!(", port {}", key.port_name)
        };
        let kind = self.explanation.frontend?;
        Some(format!("{kind} {at} of Service {}{name}", key.service()))
    }

    fn policy_words(&self) -> Option<String> {
        let (field, policy) = self.policy()?;
        let set = self.explanation.set?;
        let aside = match (policy, set, self.explanation.class?) {
            ("Local", EndpointSet::Cluster, class) => {
                let who = match class {
                    SourceClass::Pod => "pods are",
                    SourceClass::Node => "the node itself is",
                    SourceClass::Outside => "this sender is",
                };
                format!(
                    ", but {who} given the endpoints of the whole cluster: nobody's address is lost there"
                )
            }
            _ => String::new(),
        };
        Some(format!("{field}: {policy}{aside}"))
    }

    fn endpoints(&self) -> Option<String> {
        let reason = self.set_reason()?;
        let choices = &self.explanation.choices;
        if choices.is_empty() {
            return Some(reason);
        }
        let names: Vec<_> = choices.iter().map(ToString::to_string).collect();
        Some(format!("{} ({reason})", names.join(", ")))
    }

    fn left_out(&self) -> Option<String> {
        let (_, plan) = self.port?;
        let others: Vec<_> = plan
            .endpoints
            .iter()
            .filter(|one| !self.explanation.choices.contains(&one.address))
            .map(|one| {
                let place = if one.local {
                    "on this node"
                } else {
                    "on another node"
                };
                format!("{} ({}, {place})", one.address, one.state)
            })
            .collect();
        (!others.is_empty()).then(|| others.join(", "))
    }

    fn affinity(&self) -> Option<String> {
        let (_, plan) = self.port?;
        self.explanation.endpoint?;
        let seconds = plan.spec.affinity_seconds?;
        let known = if self.explanation.kept.is_some() {
            "the client is remembered, and keeps its endpoint"
        } else {
            "the client is not known yet, and keeps what it is given now"
        };
        Some(format!("ClientIP, {seconds} s: {known}"))
    }

    fn choice(&self) -> Option<String> {
        let endpoint = self.explanation.endpoint?;
        let place = self.port.and_then(|(_, plan)| {
            let found = plan.endpoints.iter().find(|one| one.address == endpoint)?;
            Some(if found.local {
                ", on this node"
            } else {
                ", on another node"
            })
        });
        let how = match (self.explanation.kept, self.explanation.choices.len()) {
            (Some(_), _) | (None, 0) => String::new(),
            (None, 1) => ", the only one".to_owned(),
            (None, count) => match self.scheduler() {
                Some(scheduler) if scheduler != Scheduler::Random => {
                    format!(", one of {count} by {scheduler}")
                }
                _ => format!(", one of {count} at random"),
            },
        };
        Some(format!("{endpoint}{}{how}", place.unwrap_or_default()))
    }

    /// How one of several endpoints is chosen.
    fn scheduler(&self) -> Option<Scheduler> {
        let (_, plan) = self.port?;
        self.explanation.set?;
        Some(plan.spec.schedule.scheduler)
    }

    fn scheduler_words(&self) -> Option<String> {
        let scheduler = self.scheduler()?;
        let rule = match scheduler {
            Scheduler::Random => "any, with equal chances",
            Scheduler::RoundRobin => "one after another",
            Scheduler::WeightedRoundRobin => "one after another, each as often as its weight says",
            Scheduler::LeastConnection => "the one with the fewest connections",
            Scheduler::WeightedLeastConnection => {
                "the one with the fewest connections for its weight"
            }
            Scheduler::SourceHashing => "by the client's address",
            Scheduler::DestinationHashing => "by the address that the client connects to",
            Scheduler::ShortestExpectedDelay => "the one that is expected to be done first",
            Scheduler::NeverQueue => {
                "an idle one if there is any, else the one expected to be done first"
            }
            Scheduler::Maglev => {
                "by consistent hashing (Maglev): the same on every node of one seed"
            }
            _ => "by a rule of its own",
        };
        let asked = self
            .service
            .and_then(|service| service.scheduling.scheduler);
        let whose = match (asked, scheduler) {
            (Some(_), _) => ", as the Service's annotation says",
            (None, Scheduler::Random) => "",
            (None, _) => ", as the node's configuration says",
        };
        Some(format!("{scheduler}: {rule}{whose}"))
    }

    fn text(&self) -> String {
        let explanation = self.explanation;
        let verdict = match explanation.reason {
            Some(reason) => format!("{} ({reason})", self.verdict()),
            None => self.verdict().to_owned(),
        };
        let lines = [
            ("packet", explanation.tuple.map(|tuple| tuple.to_string())),
            ("source", self.source()),
            (
                "connection",
                explanation
                    .connection
                    .map(|way| format!("known, {} direction", direction(way))),
            ),
            ("frontend", self.frontend()),
            ("policy", self.policy_words()),
            ("endpoints", self.endpoints()),
            ("left out", self.left_out()),
            ("affinity", self.affinity()),
            ("scheduler", self.scheduler_words()),
            ("choice", self.choice()),
            (
                "NAT",
                explanation
                    .translated
                    .map(|tuple| format!("becomes {tuple}")),
            ),
            ("masquerade", self.masquerade()),
            ("rule", Some(self.rule())),
            ("verdict", Some(format!("{verdict}: {}", self.why()))),
        ];
        let mut text = String::new();
        for (name, line) in lines {
            if let Some(line) = line {
                text += &format!("{name:<11} {line}\n");
            }
        }
        text
    }
}
