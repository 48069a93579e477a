//! Cases of kind `packets`: single packets in order, through the hot path, with time.

use super::build::{Bindings, Built, build};
use super::case::{
    Checksums, ConnectionExpect, ConnectionFields, PacketExpect, PacketFields, PacketStep,
    PacketVerdict, PacketsCase,
};
use super::compare::compare;
use super::read::read;
use super::report::{Outcome, Status};
use super::rig::{Change, LiveConnection, Rig, Sent};
use super::{Sink, joined, verify};
use core::time::Duration;
use portolan::dataplane::{Offload, Verdict};
use portolan::net::Instant;

/// A case begins so long after the clock's origin, so that nothing depends on the origin.
const BEGIN: Instant = Instant::from_secs(1_000_000);
/// How far a timeout may be from what is expected, in seconds.
const TIMEOUT_TOLERANCE: f64 = 1.0;

/// Runs one case and hands over what came of each packet, in the order of the file.
pub(crate) fn run(file: &str, case: &PacketsCase, sink: Sink<'_>) -> std::io::Result<()> {
    let mut outcome = Outcome {
        file: file.to_owned(),
        case: case.name.clone(),
        expectation: "node".to_owned(),
        status: Status::Failed,
        tags: joined(&case.tags, &serde_json::Value::Null),
        expected: "a dataplane".to_owned(),
        actual: String::new(),
    };
    let mut rig = match Rig::new(&case.node, &case.limits, 0) {
        Ok(rig) => rig,
        Err(error) => {
            outcome.actual = error;
            return sink(&outcome);
        }
    };
    rig.change(&Change {
        apply: &case.objects,
        ..Change::default()
    });
    let mut walk = Walk {
        rig,
        now: BEGIN,
        bindings: Bindings::new(),
    };
    let mut judge = |walk: &mut Walk, step: &str, packets: &[PacketStep]| {
        for (number, packet) in packets.iter().enumerate() {
            let name = match &packet.id {
                Some(id) => format!("{step}{id}"),
                None => format!("{step}packet {}", number + 1),
            };
            let differences = walk.one(packet);
            sink(&Outcome {
                expectation: name,
                status: if differences.is_empty() {
                    Status::Passed
                } else {
                    Status::Failed
                },
                tags: joined(&case.tags, &packet.tags),
                expected: expected(&packet.expect),
                actual: if differences.is_empty() {
                    "as expected".to_owned()
                } else {
                    differences.join("; ")
                },
                ..outcome.clone()
            })?;
        }
        Ok::<_, std::io::Error>(())
    };
    judge(&mut walk, "", &case.packets)?;
    for (index, step) in case.steps.iter().enumerate() {
        let name = match &step.step {
            Some(name) => format!("{name}: "),
            None => format!("step {}: ", index + 1),
        };
        walk.rig.change(&Change {
            delete: &step.delete,
            apply: &step.apply,
            node: step.node.as_ref(),
        });
        judge(&mut walk, &name, &step.packets)?;
    }
    Ok(())
}

/// What a case carries from packet to packet.
struct Walk {
    rig: Rig,
    now: Instant,
    bindings: Bindings,
}

impl Walk {
    /// Sends one packet; what is not as expected.
    fn one(&mut self, step: &PacketStep) -> Vec<String> {
        if let Some(at) = step.at {
            self.now = BEGIN.after(Duration::from_secs_f64(at.max(0.0)));
        }
        let packet = match (&step.packet, &step.hex) {
            (Some(fields), None) => build(fields, &self.bindings),
            (None, Some(hex)) => Ok(Built {
                bytes: hex.0.clone(),
                offload: Offload::default(),
            }),
            (Some(_), Some(_)) | (None, None) => {
                Err("a packet is given either by `packet` or by `hex`".to_owned())
            }
        };
        let packet = match packet {
            Ok(packet) => packet,
            Err(error) => return vec![format!("the packet cannot be built: {error}")],
        };
        let sent = self.rig.send(self.now, &packet);
        let expect = &step.expect;
        let mut differences = Vec::new();
        if let Some(verdict) = expect.verdict
            && verdict != sent_verdict(&sent)
        {
            return vec![sent.to_string()];
        }
        if let Some(reason) = &expect.reason {
            let actual = sent.reason.map_or("", portolan::net::DropReason::as_str);
            if !plain(actual).starts_with(&plain(reason)) {
                differences.push(format!("reason {actual}"));
            }
        }
        differences.extend(judge_bytes(expect, &packet, &sent, &mut self.bindings));
        if let Some(wanted) = &expect.connection {
            let found = self.rig.connection_of(self.now, &packet.bytes);
            differences.extend(judge_connection(wanted, found.as_ref()));
        }
        if let Some(wanted) = expect.connections {
            let live = self.rig.connections(self.now);
            if live != wanted {
                differences.push(format!("{live} connections instead of {wanted}"));
            }
        }
        differences
    }
}

fn sent_verdict(sent: &Sent) -> PacketVerdict {
    match sent.verdict {
        Verdict::Pass => PacketVerdict::Pass,
        Verdict::Forward => PacketVerdict::Forward,
        Verdict::Reply => PacketVerdict::Reply,
        Verdict::Drop => PacketVerdict::Drop,
    }
}

/// A name without case and separators.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| letter.is_ascii_alphanumeric())
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// Judges what came out: fields, checksums, and that what was not rewritten was not touched.
fn judge_bytes(
    expect: &PacketExpect,
    packet: &Built,
    sent: &Sent,
    bindings: &mut Bindings,
) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(fields) = &expect.packet {
        match read(&sent.bytes) {
            Ok(out) => differences.extend(compare(fields, &out, bindings)),
            Err(error) => differences.push(error),
        }
    }
    let before = (packet.bytes.as_slice(), &packet.offload);
    let after = (sent.bytes.as_slice(), &sent.offload);
    match sent.verdict {
        Verdict::Pass | Verdict::Drop if packet.bytes != sent.bytes => {
            differences.push("the packet was touched".to_owned());
        }
        Verdict::Forward if expect.checksums != Some(Checksums::Any) => {
            differences.extend(verify::rewritten(before, after).err());
        }
        Verdict::Reply if expect.checksums != Some(Checksums::Any) => {
            differences.extend(verify::fresh(after.0, after.1).err());
        }
        Verdict::Pass | Verdict::Drop | Verdict::Forward | Verdict::Reply => {}
    }
    if expect.checksums == Some(Checksums::Ok) {
        differences.extend(verify::fresh(after.0, after.1).err());
    }
    differences
}

fn judge_connection(wanted: &ConnectionExpect, found: Option<&LiveConnection>) -> Vec<String> {
    match (wanted, found) {
        (ConnectionExpect::Word(_), None) => Vec::new(),
        (ConnectionExpect::Word(_), Some(found)) => vec![format!("connection {found}")],
        (ConnectionExpect::Entry(_), None) => vec!["no connection".to_owned()],
        (ConnectionExpect::Entry(fields), Some(found)) => {
            let holds = |wanted: &Option<String>, actual: &str| {
                wanted.as_ref().is_none_or(|w| plain(w) == plain(actual))
            };
            let in_time = fields
                .timeout_seconds
                .is_none_or(|wanted| (wanted - found.timeout_seconds).abs() <= TIMEOUT_TOLERANCE);
            if holds(&fields.state, &found.state)
                && holds(&fields.direction, found.direction)
                && in_time
            {
                Vec::new()
            } else {
                vec![format!("connection {found}")]
            }
        }
    }
}

/// Says what a case expects of a packet, in one line.
fn expected(expect: &PacketExpect) -> String {
    let mut parts = Vec::new();
    if let Some(verdict) = expect.verdict {
        parts.push(format!("{verdict:?}").to_lowercase());
    }
    if let Some(reason) = &expect.reason {
        parts.push(format!("reason {reason}"));
    }
    if let Some(fields) = &expect.packet {
        // Beside a packet without fields, each difference is a field that is expected.
        let all = compare(fields, &PacketFields::default(), &mut Bindings::new());
        parts.extend(
            all.iter()
                .map(|one| one.replace(" absent instead of ", " ")),
        );
    }
    match &expect.connection {
        Some(ConnectionExpect::Word(_)) => parts.push("no connection".to_owned()),
        Some(ConnectionExpect::Entry(ConnectionFields {
            state,
            timeout_seconds,
            direction,
            ..
        })) => {
            let timeout = timeout_seconds.map(|seconds| format!("{seconds} s left"));
            let facts = [state.clone(), direction.clone(), timeout];
            let facts: Vec<_> = facts.into_iter().flatten().collect();
            parts.push(format!("connection {}", facts.join(", ")));
        }
        None => {}
    }
    if let Some(count) = expect.connections {
        parts.push(format!("{count} connections"));
    }
    if parts.is_empty() {
        "any verdict".to_owned()
    } else {
        parts.join("; ")
    }
}
