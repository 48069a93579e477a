//! One state of a node against what a case expects of it.

use super::super::build::{Bindings, build};
use super::super::case::PacketFields;
use super::super::rig::{Rig, Sent};
use super::super::scalar::{Ip, IpProtocol, Payload};
use super::case::{
    EmptyVerdict, LbAffinity, LbEndpointState, LbExpect, LbFrontend, LbHealthCheck, LbPlace,
    LbProbe, LbScope, LbState, LbType, ProbeVerdict,
};
use super::{Finding, NOW, OUTSIDE, PODS, sample};
use core::net::{IpAddr, SocketAddr};
use portolan::dataplane::{Explanation, Verdict};
use portolan::net::Protocol;
use portolan::plan::{EndpointState, FrontendPlan};
use portolan::service::{EndpointSet, FrontendKind, SourceClass};
use serde_json::Value;
use std::collections::BTreeSet;

/// Source ports before it are of flows that are only asked about.
pub(super) const FIRST_PORT: u16 = 20_000;

/// What names a frontend.
type Place = (IpAddr, u16, Protocol);

/// Compares, and notes what came of it.
pub(super) struct Judge<'a> {
    pub(super) rig: &'a mut Rig,
    pub(super) step: &'a str,
    /// The source port of the next flow: each is a new one.
    pub(super) port: &'a mut u16,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl Judge<'_> {
    pub(super) fn judge(&mut self, expect: &LbExpect) {
        if let Some(frontends) = &expect.frontends {
            for frontend in frontends {
                let result = self.frontend(frontend);
                let what = format!("{}{}", frontend.title(), frontend.scope_title());
                self.note(what, &frontend.tags, frontend.expected(), result);
            }
            let result = self.no_others(frontends, &expect.optional_frontends);
            let expected = "the frontends listed".to_owned();
            self.note(
                "no other frontend".to_owned(),
                &Value::Null,
                expected,
                result,
            );
        }
        for state in &expect.endpoint_states {
            let result = self.endpoint_state(state);
            let what = format!("endpoint {}", state.address.0);
            self.note(what, &state.tags, format!("{:?}", state.state), result);
        }
        for check in &expect.health_checks {
            let result = self.health_check(check);
            let what = format!("health check {}", check.port);
            self.note(what, &check.tags, check.expected(), result);
        }
        for place in &expect.blocked {
            let result = self.blocked(place);
            let what = format!("blocked {}:{}", place.ip.0, place.port);
            self.note(what, &place.tags, "not forwarded".to_owned(), result);
        }
        for probe in &expect.probes {
            let result = self.probe(probe);
            let what = format!("probe {} -> {}", probe.src.0, probe.dst.0);
            self.note(what, &probe.tags, format!("{:?}", probe.verdict), result);
        }
    }

    fn note(&mut self, what: String, tags: &Value, expected: String, result: Result<(), String>) {
        self.findings.push(Finding {
            expectation: format!("{}{what}", self.step),
            tags: tags.clone(),
            expected,
            result,
        });
    }

    fn planned(&self, wanted: &LbFrontend) -> Option<FrontendPlan<'_>> {
        let place = wanted.place()?;
        let mut frontends = self.rig.node().frontends();
        frontends.find(|found| place_of(found) == place && type_of(found) == wanted.kind)
    }

    fn frontend(&mut self, wanted: &LbFrontend) -> Result<(), String> {
        let Some(found) = self.planned(wanted) else {
            return Err("no such frontend".to_owned());
        };
        let service = found.key.service().to_string();
        if wanted.service.as_ref().is_some_and(|name| *name != service) {
            return Err(format!("it is Service {service}'s"));
        }
        let port_name = &found.key.port_name;
        if wanted
            .port_name
            .as_ref()
            .is_some_and(|name| name != port_name)
        {
            return Err(format!("its port's name is \"{port_name}\""));
        }
        affinity(
            wanted.session_affinity.as_ref(),
            found.port.spec.affinity_seconds,
        )?;
        if let Some(ranges) = &wanted.source_ranges {
            let own = &found.frontend.source_ranges;
            let wanted: BTreeSet<_> = ranges.iter().map(|range| range.0).collect();
            if wanted != own.iter().copied().collect() {
                return Err(format!("only from {own:?}"));
            }
        }
        for (scope, class) in [
            (LbScope::External, SourceClass::Outside),
            (LbScope::Internal, SourceClass::Pod),
        ] {
            if wanted.scope.is_none_or(|only| only == scope) {
                self.new_flows(wanted, class)?;
            }
        }
        Ok(())
    }

    /// Where new flows of a class of senders go, by what the dataplane says of a packet and by what it does with some.
    fn new_flows(&mut self, wanted: &LbFrontend, class: SourceClass) -> Result<(), String> {
        let found = self.planned(wanted).ok_or("no such frontend")?;
        let set = found.frontend.rules[class as usize].set;
        let states = found.port.endpoints.iter();
        let draining: BTreeSet<SocketAddr> = states
            .filter(|one| one.state == EndpointState::Terminating)
            .filter(|one| match set {
                EndpointSet::Cluster => !one.in_cluster_set,
                EndpointSet::Local => !one.in_local_set,
            })
            .map(|one| one.address)
            .collect();
        let client = self.client(&found, class);
        if let Some(expected) = &wanted.draining {
            let expected: BTreeSet<_> = expected.iter().map(|one| one.0).collect();
            if expected != draining {
                return Err(format!("{class}: draining {draining:?}"));
            }
        }
        let client = client.ok_or("no client that the source ranges admit")?;
        let explanation = self.explain(wanted, client)?;
        let choices: BTreeSet<SocketAddr> = explanation.choices.iter().copied().collect();
        if let Some(backends) = &wanted.backends {
            let backends: BTreeSet<_> = backends.iter().map(|one| one.0).collect();
            if backends != choices {
                return Err(format!("{class}: {choices:?}"));
            }
        }
        let expected = match (choices.is_empty(), wanted.empty_verdict) {
            (false, _) => Some(Verdict::Forward),
            (true, Some(EmptyVerdict::Reject)) => Some(Verdict::Reply),
            (true, Some(EmptyVerdict::Drop)) => Some(Verdict::Drop),
            (true, None) => None,
        };
        for _ in 0..4 * choices.len().max(1) {
            let sent = self.send(wanted.ip, wanted.port, wanted.protocol, client)?;
            if expected.is_some_and(|verdict| verdict != sent.verdict) {
                return Err(format!("{class}: {sent}"));
            }
            let out = super::super::read::read(&sent.bytes)?;
            let to = super::super::attempt::destination(&out);
            if sent.verdict == Verdict::Forward && !to.is_some_and(|to| choices.contains(&to)) {
                return Err(format!("{class}: {sent}"));
            }
        }
        Ok(())
    }

    /// Somebody of a class whom the frontend's source ranges admit.
    fn client(&self, found: &FrontendPlan<'_>, class: SourceClass) -> Option<IpAddr> {
        let ranges = &found.frontend.source_ranges;
        let like = found.frontend.address;
        let usual = match class {
            SourceClass::Pod => sample(PODS, like),
            SourceClass::Node | SourceClass::Outside => sample(OUTSIDE, like),
        }?;
        let admitted = |address: IpAddr| {
            ranges.is_empty() || ranges.iter().any(|range| range.contains(address))
        };
        if admitted(usual) {
            return Some(usual);
        }
        // Whoever is admitted is an outsider here, unless it is the load balancer's own address.
        let mut others = ranges.iter().map(|range| range.address());
        others.find(|address| *address != like)
    }

    fn explain(&self, wanted: &LbFrontend, client: IpAddr) -> Result<Explanation, String> {
        let fields = opening(
            wanted.ip,
            wanted.port,
            wanted.protocol,
            (client, FIRST_PORT),
        );
        let packet = build(&fields, &Bindings::new())?;
        Ok(self.rig.explain(NOW, &packet.bytes))
    }

    fn send(
        &mut self,
        ip: Ip,
        port: u16,
        protocol: IpProtocol,
        client: IpAddr,
    ) -> Result<Sent, String> {
        *self.port = self.port.checked_add(1).unwrap_or(FIRST_PORT);
        let client = (client, *self.port);
        let packet = build(&opening(ip, port, protocol, client), &Bindings::new())?;
        Ok(self.rig.send(NOW, &packet))
    }

    fn no_others(&self, wanted: &[LbFrontend], optional: &[LbFrontend]) -> Result<(), String> {
        let known: Vec<(Option<Place>, LbType)> = wanted
            .iter()
            .chain(optional)
            .map(|one| (one.place(), one.kind))
            .collect();
        let others: Vec<String> = self
            .rig
            .node()
            .frontends()
            .filter(|found| !known.contains(&(Some(place_of(found)), type_of(found))))
            .map(|found| format!("{} ({})", found.frontend, found.key))
            .collect();
        if others.is_empty() {
            Ok(())
        } else {
            Err(others.join("; "))
        }
    }

    fn endpoint_state(&self, wanted: &LbEndpointState) -> Result<(), String> {
        let ports = self.rig.node().plan().ports();
        let mut endpoints = ports.flat_map(|(_, port)| &port.endpoints);
        let found = endpoints.find(|one| one.address == wanted.address.0);
        let state = found.ok_or("no such endpoint")?.state;
        let expected = match wanted.state {
            LbState::Active => EndpointState::Ready,
            LbState::Terminating => EndpointState::Terminating,
            LbState::TerminatingNotServing => EndpointState::TerminatingNotServing,
            LbState::NotReady => EndpointState::NotReady,
        };
        if state == expected {
            Ok(())
        } else {
            Err(state.to_string())
        }
    }

    fn health_check(&self, wanted: &LbHealthCheck) -> Result<(), String> {
        let plan = self.rig.node().plan();
        let mut checks = plan.health_checks();
        let Some((service, check)) = checks.find(|(_, check)| check.port == wanted.port) else {
            return Err("no Service has this health check".to_owned());
        };
        let status = if check.local_endpoints > 0 { 200 } else { 503 };
        let service = service.to_string();
        let right = wanted.service.as_ref().is_none_or(|name| *name == service)
            && wanted
                .local_endpoints
                .is_none_or(|count| count == check.local_endpoints)
            && wanted.status.is_none_or(|code| code == status);
        if right {
            Ok(())
        } else {
            Err(format!(
                "{service}: {status}, {} endpoints here",
                check.local_endpoints
            ))
        }
    }

    fn blocked(&mut self, place: &LbPlace) -> Result<(), String> {
        let source = place.src.map(|ip| ip.0);
        let source = source
            .or_else(|| sample(OUTSIDE, place.ip.0))
            .ok_or("no client")?;
        let protocol = place.protocol.unwrap_or(IpProtocol::TCP);
        let sent = self.send(place.ip, place.port, protocol, source)?;
        if sent.verdict == Verdict::Forward {
            Err(sent.to_string())
        } else {
            Ok(())
        }
    }

    fn probe(&mut self, probe: &LbProbe) -> Result<(), String> {
        let protocol = probe.protocol.unwrap_or(IpProtocol::TCP);
        let to = probe.dst.0;
        let sent = self.send(Ip(to.ip()), to.port(), protocol, probe.src.0)?;
        let expected = match probe.verdict {
            ProbeVerdict::Forward => Verdict::Forward,
            ProbeVerdict::Drop => Verdict::Drop,
        };
        if sent.verdict == expected {
            Ok(())
        } else {
            Err(sent.to_string())
        }
    }
}

impl LbFrontend {
    fn place(&self) -> Option<Place> {
        let protocol = Protocol::from_number(self.protocol.0)?;
        Some((self.ip.0, self.port, protocol))
    }

    fn title(&self) -> String {
        let at = SocketAddr::new(self.ip.0, self.port);
        format!("{:?} {at}/{}", self.kind, self.protocol)
    }

    const fn scope_title(&self) -> &'static str {
        match self.scope {
            Some(LbScope::External) => " from outside",
            Some(LbScope::Internal) => " from inside",
            None => "",
        }
    }

    fn expected(&self) -> String {
        match (&self.backends, self.empty_verdict) {
            (Some(backends), Some(verdict)) if backends.is_empty() => format!("{verdict:?}"),
            (Some(backends), _) => {
                let names: Vec<_> = backends.iter().map(|one| one.0.to_string()).collect();
                names.join(", ")
            }
            (None, _) => "a frontend".to_owned(),
        }
    }
}

impl LbHealthCheck {
    fn expected(&self) -> String {
        let number = |value: Option<u32>| value.map_or("any".to_owned(), |value| value.to_string());
        let status = number(self.status.map(u32::from));
        format!("{status}, {} endpoints here", number(self.local_endpoints))
    }
}

fn place_of(found: &FrontendPlan<'_>) -> Place {
    let frontend = found.frontend;
    (frontend.address, frontend.port, found.key.protocol)
}

const fn type_of(found: &FrontendPlan<'_>) -> LbType {
    match found.frontend.kind {
        FrontendKind::ClusterIp => LbType::ClusterIp,
        FrontendKind::NodePort => LbType::NodePort,
        FrontendKind::ExternalIp => LbType::ExternalIp,
        FrontendKind::LoadBalancer => LbType::LoadBalancer,
    }
}

fn affinity(wanted: Option<&LbAffinity>, seconds: Option<u32>) -> Result<(), String> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let kind = if seconds.is_some() {
        "ClientIP"
    } else {
        "None"
    };
    let timeout = wanted.timeout_seconds;
    if wanted.kind == kind && (timeout.is_none() || seconds.is_none() || timeout == seconds) {
        Ok(())
    } else {
        Err(format!(
            "session affinity {kind}, {} s",
            seconds.unwrap_or(0)
        ))
    }
}

/// Fields of the first packet of a new flow.
fn opening(ip: Ip, port: u16, protocol: IpProtocol, (src, sport): (IpAddr, u16)) -> PacketFields {
    PacketFields {
        src: Some(Ip(src).into()),
        dst: Some(ip.into()),
        proto: Some(protocol),
        sport: Some(sport.into()),
        dport: Some(port.into()),
        flags: (protocol == IpProtocol::TCP).then(|| "S".to_owned()),
        chunk: (protocol == IpProtocol::SCTP).then(|| "INIT".to_owned()),
        payload: (protocol == IpProtocol::UDP).then_some(Payload::Length(23)),
        ..PacketFields::default()
    }
}
