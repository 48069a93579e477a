//! Connections that a case says exist before a step: opened for real, then asked whether they go on.

use super::attempt::{Client, State, answer, built, destination, following, opening};
use super::case::{Entry, EntryEndpoint, PacketFields};
use super::read::read;
use super::rig::{Change, Sent};
use core::net::SocketAddr;
use portolan::dataplane::{Verdict, descriptor_flags};
use serde_json::{Value, json};

/// How often an entry is tried to be opened towards the endpoint that the case names.
const ATTEMPTS: usize = 512;
/// Name of the slice that stands in for what the cluster looked like when the entry was made.
const EARLIER: &str = "portolan-check-earlier";

/// An entry that exists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened {
    client: Client,
    sport: u16,
    endpoint: EntryEndpoint,
    /// The dataplane leaves its packets alone: the entry is the host's.
    untouched: bool,
}

/// Opens the connection that a case says exists. If its endpoint is not chosen for new connections as things
/// stand, it is opened as things may have stood earlier: with that endpoint ready on this node.
pub(crate) fn open(state: &mut State, entry: &Entry) -> Result<Opened, String> {
    let sent = match attempt(state, entry)? {
        Ok(opened) => return Ok(opened),
        Err(sent) => sent,
    };
    if let Some(slice) = earlier_slice(state, entry) {
        state.rig.change(&Change {
            apply: core::slice::from_ref(&slice),
            ..Change::default()
        });
        let second = attempt(state, entry);
        state.rig.forget_slice(&slice);
        if let Ok(opened) = second? {
            return Ok(opened);
        }
    }
    Err(format!(
        "such a connection cannot be opened before the step: {sent}"
    ))
}

/// Makes connections until one goes where the entry goes, or the last packet that did not.
fn attempt(state: &mut State, entry: &Entry) -> Result<Result<Opened, Sent>, String> {
    let client = Client {
        src: entry.orig_src,
        dst: entry.orig_dst,
        dport: entry.orig_dport,
        proto: entry.proto,
    };
    for last in (0..ATTEMPTS).rev() {
        let sport = state.port();
        let fields = opening(client, sport);
        let sent = state.rig.send(state.now, &built(&fields)?);
        let mut opened = Opened {
            client,
            sport,
            endpoint: entry.reply,
            untouched: false,
        };
        match sent.verdict {
            Verdict::Pass if entry.reply.address == entry.orig_dst.0 => {
                opened.untouched = true;
                return Ok(Ok(opened));
            }
            Verdict::Pass | Verdict::Reply | Verdict::Drop => return Ok(Err(sent)),
            Verdict::Forward => {}
        }
        let reached = read(&sent.bytes)?;
        if destination(&reached).is_some_and(|to| is_to(to, entry.reply)) {
            let reply = answer(&PacketFields {
                chunk: fields.chunk.clone(),
                ..reached
            });
            state.rig.send(state.now, &built(&reply)?);
            let next = following(client, sport);
            state.rig.send(state.now, &built(&next)?);
            return Ok(Ok(opened));
        }
        if last == 0 {
            return Ok(Err(sent));
        }
    }
    Err("no attempt was made".to_owned())
}

/// A slice in which the entry's endpoint is ready on this node; `None` if no Service is served there.
fn earlier_slice(state: &State, entry: &Entry) -> Option<Value> {
    let plan = state.rig.frontend(
        SocketAddr::new(entry.orig_dst.0, entry.orig_dport),
        entry.proto.0,
    )?;
    let known = plan
        .endpoints
        .iter()
        .find(|port| port.ip() == entry.reply.address);
    let port = entry.reply.port.or_else(|| known.map(SocketAddr::port))?;
    let family = if entry.reply.address.is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    };
    Some(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": plan.namespace,
            "name": EARLIER,
            "labels": {"kubernetes.io/service-name": plan.service},
        },
        "addressType": family,
        "ports": [{"name": plan.port_name, "port": port, "protocol": entry.proto.to_string()}],
        "endpoints": [{"addresses": [entry.reply.address], "nodeName": state.node.node_name}],
    }))
}

fn is_to(endpoint: SocketAddr, wanted: EntryEndpoint) -> bool {
    endpoint.ip() == wanted.address && wanted.port.is_none_or(|port| port == endpoint.port())
}

/// Sends the next packet of a connection: `Ok` if it goes on to the same endpoint, else what came of it.
pub(crate) fn goes_on(state: &mut State, opened: &Opened) -> Result<(), String> {
    let next = built(&following(opened.client, opened.sport))?;
    let sent = state.rig.send(state.now, &next);
    let goes_on = if opened.untouched {
        sent.verdict == Verdict::Pass
    } else {
        sent.verdict == Verdict::Forward
            && sent.flags & descriptor_flags::NEW == 0
            && read(&sent.bytes)
                .ok()
                .and_then(|out| destination(&out))
                .is_some_and(|to| is_to(to, opened.endpoint))
    };
    if goes_on {
        Ok(())
    } else {
        Err(sent.to_string())
    }
}
