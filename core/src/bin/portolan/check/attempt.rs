//! One connection of a flow: its first packet, what came of it, and the endpoint's answer on the way back.

use super::build::{Bindings, Built, build};
use super::case::{Flow, FlowExpect, FlowVerdict, NodeDescription, PacketFields};
use super::read::read;
use super::rig::{Rig, Sent};
use super::scalar::{Field, Ip, IpProtocol, Payload};
use super::verify;
use core::net::SocketAddr;
use portolan::dataplane::{Verdict, descriptor_flags};
use portolan::net::Instant;
use std::collections::BTreeMap;

/// What a pass over a case carries from flow to flow.
pub(crate) struct State {
    pub(crate) rig: Rig,
    pub(crate) now: Instant,
    pub(crate) node: NodeDescription,
    /// The endpoint that the flow of each id got.
    pub(crate) chosen: BTreeMap<String, SocketAddr>,
    /// Index of the next expectation.
    pub(crate) next_tally: usize,
    next_port: u16,
}

impl State {
    pub(crate) fn new(rig: Rig, now: Instant, node: NodeDescription) -> Self {
        Self {
            rig,
            now,
            node,
            chosen: BTreeMap::new(),
            next_tally: 0,
            next_port: 20_000,
        }
    }

    /// A source port that no connection of this pass has used lately.
    pub(super) fn port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port >= 60_000 { 20_000 } else { port + 1 };
        port
    }

    /// The node's primary address of the family of `like`: what masquerading takes.
    fn primary(&self, like: Ip) -> Option<Ip> {
        let mut ips = self.node.ips.iter();
        ips.find(|ip| ip.0.is_ipv4() == like.0.is_ipv4()).copied()
    }
}

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(super) src: Ip,
    pub(super) dst: Ip,
    pub(super) dport: u16,
    pub(super) proto: IpProtocol,
}

impl Client {
    const fn of(flow: &Flow) -> Self {
        Self {
            src: flow.src,
            dst: flow.dst,
            dport: match flow.dport {
                Some(port) => port,
                None => 0,
            },
            proto: flow.proto,
        }
    }
}

/// Fields of a connection's first packet.
pub(super) fn opening(client: Client, sport: u16) -> PacketFields {
    let icmp = matches!(client.proto, IpProtocol::ICMP | IpProtocol::ICMPV6);
    PacketFields {
        src: Some(client.src.into()),
        dst: Some(client.dst.into()),
        proto: Some(client.proto),
        sport: (!icmp).then_some(sport.into()),
        dport: (!icmp).then_some(client.dport.into()),
        flags: (client.proto == IpProtocol::TCP).then(|| "S".to_owned()),
        seq: Some(1000.into()),
        chunk: (client.proto == IpProtocol::SCTP).then(|| "INIT".to_owned()),
        echo_id: icmp.then_some(sport.into()),
        payload: (client.proto == IpProtocol::UDP).then_some(Payload::Length(23)),
        ..PacketFields::default()
    }
}

/// Fields of the packet that the client sends once it has been answered.
pub(super) fn following(client: Client, sport: u16) -> PacketFields {
    PacketFields {
        flags: (client.proto == IpProtocol::TCP).then(|| "A".to_owned()),
        seq: Some(1001.into()),
        ack: Some(7001.into()),
        chunk: (client.proto == IpProtocol::SCTP).then(|| "COOKIE_ECHO".to_owned()),
        vtag: Some(1.into()),
        ..opening(client, sport)
    }
}

/// Fields of the endpoint's answer to the packet that reached it.
pub(super) fn answer(reached: &PacketFields) -> PacketFields {
    PacketFields {
        src: reached.dst.clone(),
        dst: reached.src.clone(),
        proto: reached.proto,
        sport: reached.dport.clone(),
        dport: reached.sport.clone(),
        flags: reached.flags.as_ref().map(|_| "SA".to_owned()),
        seq: Some(7000.into()),
        ack: Some(1001.into()),
        chunk: reached.chunk.as_ref().map(|_| "INIT_ACK".to_owned()),
        vtag: Some(1.into()),
        payload: (reached.proto == Some(IpProtocol::UDP)).then_some(Payload::Length(9)),
        ..PacketFields::default()
    }
}

pub(super) fn built(fields: &PacketFields) -> Result<Built, String> {
    build(fields, &Bindings::new())
}

/// Where a packet that came out goes.
pub(super) fn destination(fields: &PacketFields) -> Option<SocketAddr> {
    match (&fields.dst, &fields.dport) {
        (Some(Field::Value(Ip(address))), Some(Field::Value(port))) => {
            Some(SocketAddr::new(*address, *port))
        }
        _ => None,
    }
}

/// Opens one connection and judges it; `Some` is the endpoint that it got.
pub(crate) fn one_connection(
    state: &mut State,
    flow: &Flow,
    same_as: Option<(&String, Option<SocketAddr>)>,
) -> Result<Option<SocketAddr>, String> {
    let sport = flow.sport.unwrap_or_else(|| state.port());
    let fields = opening(Client::of(flow), sport);
    let packet = built(&fields)?;
    let sent = state.rig.send_by(flow.iface.as_deref(), state.now, &packet);
    match flow.expect.verdict {
        FlowVerdict::Forward => {
            let endpoint = forwarded(state, flow, &fields, &sent)?;
            if let Some((id, wanted)) = same_as {
                let wanted = wanted.ok_or_else(|| format!("`{id}` got no endpoint"))?;
                if wanted != endpoint {
                    return Err(format!("{endpoint}, but {id} got {wanted}"));
                }
            }
            Ok(Some(endpoint))
        }
        FlowVerdict::Reject if state.rig.has_own_clock() => refused(&fields, &sent).map(|()| None),
        FlowVerdict::Reject => rejected(&fields, &packet, &sent).map(|()| None),
        FlowVerdict::Drop if sent.verdict == Verdict::Drop => Ok(None),
        FlowVerdict::Pass if sent.verdict == Verdict::Pass => {
            if sent.bytes == packet.bytes {
                Ok(None)
            } else {
                Err("passed, but not untouched".to_owned())
            }
        }
        FlowVerdict::Drop | FlowVerdict::Pass => Err(sent.to_string()),
    }
}

/// Judges a first packet that must have been forwarded, then the endpoint's answer.
fn forwarded(
    state: &mut State,
    flow: &Flow,
    fields: &PacketFields,
    sent: &Sent,
) -> Result<SocketAddr, String> {
    if sent.verdict != Verdict::Forward {
        return Err(sent.to_string());
    }
    let out = read(&sent.bytes)?;
    let endpoint = destination(&out).ok_or("forwarded, but without a port")?;
    if let Some(allowed) = &flow.expect.endpoints
        && !allowed.iter().any(|one| one.0 == endpoint)
    {
        return Err(format!("forward to {endpoint}"));
    }
    let masqueraded = sent.flags & descriptor_flags::MASQUERADE != 0;
    if let Some(wanted) = masquerade_wanted(&flow.expect, endpoint)
        && wanted != masqueraded
    {
        let not = if masqueraded { "" } else { "not " };
        return Err(format!("forward to {endpoint}, {not}masqueraded"));
    }
    let src = if masqueraded && state.rig.has_own_clock() {
        // Which of its addresses a kernel takes is its own choice.
        out.src.clone()
    } else if masqueraded {
        state.primary(flow.src).map(Field::Value)
    } else {
        fields.src.clone()
    };
    if out.src != src || (!masqueraded && out.sport != fields.sport) {
        return Err(format!("{sent}, and that is not what its source should be"));
    }
    expect_rewritten(fields, &out, sent)?;
    // What is answered to the node itself does not come out of the kernel's device.
    if state.rig.hides(core::iter::once(flow.src.0)).is_some() {
        return Ok(endpoint);
    }
    let reply = answer(&PacketFields {
        chunk: fields.chunk.clone(),
        ..out
    });
    let back = state.rig.send(state.now, &built(&reply)?);
    if back.verdict != Verdict::Forward {
        return Err(format!("forward to {endpoint}, whose answer was {back}"));
    }
    let returned = read(&back.bytes)?;
    let as_client_expects = returned.src == fields.dst
        && returned.sport == fields.dport
        && returned.dst == fields.src
        && returned.dport == fields.sport;
    if !as_client_expects {
        return Err(format!(
            "forward to {endpoint}, whose answer came back as {back}"
        ));
    }
    expect_rewritten(&reply, &returned, &back)?;
    Ok(endpoint)
}

/// The packet that came out must be, byte for byte, the one that would have been built with its addresses
/// and ports: nothing else touched, every checksum what full recomputation gives.
fn expect_rewritten(
    before: &PacketFields,
    after: &PacketFields,
    sent: &Sent,
) -> Result<(), String> {
    let ideal = built(&PacketFields {
        src: after.src.clone(),
        dst: after.dst.clone(),
        sport: after.sport.clone(),
        dport: after.dport.clone(),
        ..before.clone()
    })?;
    if ideal.bytes == sent.bytes {
        return Ok(());
    }
    verify::fresh(&sent.bytes, &sent.offload)?;
    let at = ideal
        .bytes
        .iter()
        .zip(&sent.bytes)
        .position(|(a, b)| a != b);
    Err(match at {
        Some(at) => format!("{sent}, and byte {at} was changed too"),
        None => format!("{sent}, and its length was changed"),
    })
}

fn masquerade_wanted(expect: &FlowExpect, endpoint: SocketAddr) -> Option<bool> {
    match (expect.masquerade, &expect.masquerade_endpoints) {
        (Some(true), _) => Some(true),
        (_, Some(only)) => Some(only.iter().any(|one| one.0 == endpoint)),
        (Some(false), None) => Some(false),
        (None, None) => None,
    }
}

/// Judges the kernel's ICMP error, which quotes the packet with one hop less.
fn refused(fields: &PacketFields, sent: &Sent) -> Result<(), String> {
    let out = read(&sent.bytes)?;
    if sent.verdict == Verdict::Reply && out.dst == fields.src {
        return Ok(());
    }
    Err(sent.to_string())
}

/// Judges the ICMP error that answers a packet: port unreachable, to its sender, quoting it.
fn rejected(fields: &PacketFields, packet: &Built, sent: &Sent) -> Result<(), String> {
    if sent.verdict != Verdict::Reply {
        return Err(sent.to_string());
    }
    let out = read(&sent.bytes)?;
    let v6 = out.proto == Some(IpProtocol::ICMPV6);
    let (kind, code, quoted_from) = if v6 { (1, 4, 48) } else { (3, 3, 28) };
    let port_unreachable = matches!(out.proto, Some(IpProtocol::ICMP | IpProtocol::ICMPV6))
        && out.icmp_type == Some(Field::Value(kind))
        && out.code == Some(Field::Value(code));
    if !port_unreachable {
        return Err(format!("{sent}, not ICMP port unreachable"));
    }
    if out.dst != fields.src {
        return Err(format!("{sent}, not sent to the packet's sender"));
    }
    let quoted = sent.bytes.get(quoted_from..).unwrap_or_default();
    if quoted.len() < 28.min(packet.bytes.len()) || !packet.bytes.starts_with(quoted) {
        return Err(format!("{sent}, which does not quote the packet"));
    }
    verify::fresh(&sent.bytes, &sent.offload)
}
