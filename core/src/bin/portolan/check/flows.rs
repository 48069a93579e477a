//! Cases of kind `flows`: the first packet of a connection, sent for real, and its answer.

use super::attempt::{State, one_connection};
use super::case::{CaseLimits, Entry, EntryFate, Flow, FlowExpect, FlowVerdict, FlowsCase, Health};
use super::entry::{self, Opened};
use super::kernel::Kernel;
use super::report::{Outcome, Status};
use super::rig::{Change, Rig};
use super::{Sink, joined};
use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use portolan::net::Instant;
use serde_json::Value;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A case begins so long after the clock's origin, so that nothing depends on the origin.
const BEGIN: Instant = Instant::from_secs(1_000_000);

/// What has been seen of one expectation, over all connections and all seeds.
#[derive(Debug, Default)]
struct Tally {
    expectation: String,
    tags: Value,
    expected: String,
    /// Endpoints that must each be reached.
    wanted: BTreeSet<SocketAddr>,
    seen: BTreeSet<SocketAddr>,
    connections: usize,
    failure: Option<String>,
    skipped: Option<String>,
}

impl Tally {
    fn is_settled(&self) -> bool {
        self.failure.is_some() || self.skipped.is_some() || self.wanted.is_subset(&self.seen)
    }

    /// Connections after which an endpoint that was never chosen is held to be out of reach: of n endpoints
    /// each is missed with probability below 1e-27.
    fn bound(&self) -> usize {
        64 * self.wanted.len() + 256
    }

    /// Connections that are made at least, so that an endpoint too many has its chance to show.
    fn floor(&self) -> usize {
        16 * self.wanted.len().max(1)
    }

    fn outcome(self, file: &str, case: &str) -> Outcome {
        let missed: Vec<_> = self.wanted.difference(&self.seen).collect();
        let (status, actual) = match (self.failure, self.skipped) {
            (Some(failure), _) => (Status::Failed, failure),
            (None, Some(reason)) => (Status::Skipped, reason),
            (None, None) if !missed.is_empty() => (
                Status::Failed,
                format!(
                    "{} never chosen in {} connections",
                    listed(missed.into_iter()),
                    self.connections
                ),
            ),
            (None, None) => (Status::Passed, self.expected.clone()),
        };
        Outcome {
            file: file.to_owned(),
            case: case.to_owned(),
            expectation: self.expectation,
            status,
            tags: self.tags,
            expected: self.expected,
            actual,
        }
    }
}

fn listed(endpoints: impl Iterator<Item = impl ToString>) -> String {
    let names: Vec<_> = endpoints.map(|endpoint| endpoint.to_string()).collect();
    if names.is_empty() {
        "no endpoint".to_owned()
    } else {
        names.join(", ")
    }
}

/// Runs one case and hands over what came of each expectation, in the order of the file.
pub(crate) fn run(
    file: &str,
    case: &FlowsCase,
    kernel: Option<&Rc<RefCell<Kernel>>>,
    sink: Sink<'_>,
) -> std::io::Result<()> {
    let mut tallies = Vec::new();
    let sticky = has_affinity(case);
    let mut seed = 0;
    // A flow that can be tried only once per state is tried once per seed; the others are done after the first.
    loop {
        let once = Once {
            case,
            sticky,
            seed,
            kernel,
            tallies: &mut tallies,
        };
        once.run();
        seed += 1;
        let unsettled = |tally: &Tally| !tally.is_settled() && tally.connections < tally.bound();
        let rare = |tally: &Tally| {
            tally.failure.is_none() && tally.wanted.len() > 1 && tally.connections < tally.floor()
        };
        let mut tried = tallies.iter().filter(|tally| tally.skipped.is_none());
        if seed >= 4096 || !tried.any(|tally| unsettled(tally) || rare(tally)) {
            break;
        }
    }
    for tally in tallies {
        sink(&tally.outcome(file, &case.name))?;
    }
    Ok(())
}

/// With session affinity a client's first connection decides all others, so nothing can be tried many times.
fn has_affinity(case: &FlowsCase) -> bool {
    case.objects
        .iter()
        .chain(case.steps.iter().flat_map(|step| &step.apply))
        .any(|object| {
            object
                .pointer("/spec/sessionAffinity")
                .and_then(Value::as_str)
                == Some("ClientIP")
        })
}

/// One pass over a case with one seed.
struct Once<'a> {
    case: &'a FlowsCase,
    sticky: bool,
    seed: u64,
    kernel: Option<&'a Rc<RefCell<Kernel>>>,
    tallies: &'a mut Vec<Tally>,
}

impl Once<'_> {
    fn run(mut self) {
        let case = self.case;
        let rig = Rig::new(&case.node, &CaseLimits::default(), self.seed).and_then(|mut rig| {
            if let Some(kernel) = self.kernel {
                rig.use_kernel(kernel)?;
            }
            Ok(rig)
        });
        let rig = match rig {
            Ok(rig) => rig,
            Err(error) => {
                let tally =
                    self.tally(0, "node".to_owned(), &Value::Null, "a dataplane".to_owned());
                tally.failure = Some(error);
                return;
            }
        };
        let mut state = State::new(rig, BEGIN, case.node.clone());
        let change = Change {
            apply: &case.objects,
            ..Change::default()
        };
        state.rig.change(&change);
        self.flows(&mut state, "", &case.flows);
        self.health(&mut state, "", &case.health);
        for (index, step) in case.steps.iter().enumerate() {
            let name = match &step.step {
                Some(name) => format!("{name}: "),
                None => format!("step {}: ", index + 1),
            };
            let entries: Vec<_> = step
                .conntrack
                .iter()
                .map(|entry| entry::open(&mut state, entry))
                .collect();
            if let Some(node) = &step.node {
                state.node = node.clone();
            }
            state.rig.change(&Change {
                delete: &step.delete,
                apply: &step.apply,
                node: step.node.as_ref(),
            });
            for (entry, opened) in step.conntrack.iter().zip(entries) {
                self.entry(&mut state, &name, entry, opened);
            }
            self.flows(&mut state, &name, &step.flows);
            self.health(&mut state, &name, &step.health);
        }
    }

    /// The tally of the expectation at `index`, made at the first pass.
    fn tally(&mut self, index: usize, name: String, tags: &Value, expected: String) -> &mut Tally {
        if index == self.tallies.len() {
            self.tallies.push(Tally {
                expectation: name,
                tags: joined(&self.case.tags, tags),
                expected,
                ..Tally::default()
            });
        }
        &mut self.tallies[index]
    }

    fn flows(&mut self, state: &mut State, step: &str, flows: &[Flow]) {
        for (number, flow) in flows.iter().enumerate() {
            if let Some(at) = flow.at {
                state.now = BEGIN.after(Duration::from_secs_f64(at.max(0.0)));
            }
            let index = state.next_tally;
            state.next_tally += 1;
            let name = match flow.name.as_ref().or(flow.id.as_ref()) {
                Some(name) => format!("{step}{name}"),
                None => format!("{step}flow {}", number + 1),
            };
            let same = flow
                .same_endpoint_as
                .as_ref()
                .or(flow.expect.same_endpoint_as.as_ref());
            let once = self.sticky || flow.sport.is_some() || flow.id.is_some() || same.is_some();
            let seed = self.seed;
            let tally = self.tally(index, name, &flow.tags, expected(&flow.expect, same));
            if tally.failure.is_some() || (!once && seed > 0) {
                continue;
            }
            if flow.expect.verdict == FlowVerdict::Forward {
                let wanted = flow.expect.endpoints.iter().flatten();
                tally.wanted = wanted.map(|endpoint| endpoint.0).collect();
            }
            tally.skipped = hidden(state, flow);
            if tally.skipped.is_some() {
                continue;
            }
            loop {
                let same_as = same.map(|id| (id, state.chosen.get(id).copied()));
                match one_connection(state, flow, same_as) {
                    Ok(Some(endpoint)) => {
                        tally.seen.insert(endpoint);
                        if let Some(id) = &flow.id {
                            state.chosen.insert(id.clone(), endpoint);
                        }
                    }
                    Ok(None) => {}
                    Err(failure) => tally.failure = Some(failure),
                }
                tally.connections += 1;
                let enough = tally.connections >= tally.floor() && tally.is_settled();
                if once || enough || tally.failure.is_some() || tally.connections >= tally.bound() {
                    break;
                }
            }
        }
    }

    fn health(&mut self, state: &mut State, step: &str, checks: &[Health]) {
        for check in checks {
            let index = state.next_tally;
            state.next_tally += 1;
            let name = match &check.name {
                Some(name) => format!("{step}{name}"),
                None => format!("{step}health check port {}", check.port),
            };
            let say = |status: Option<u16>, count: Option<u32>| {
                let status = status.map(|status| format!("status {status}"));
                let count = count.map(|count| format!("{count} local endpoints"));
                let parts: Vec<_> = status.into_iter().chain(count).collect();
                parts.join(" with ")
            };
            let found = state.rig.health(check.port);
            let actual = found.map(|count| (if count > 0 { 200 } else { 503 }, count));
            let expected = say(check.status, check.local_endpoints);
            let tally = self.tally(index, name, &check.tags, expected);
            let holds = actual.is_some_and(|(status, count)| {
                check.status.is_none_or(|wanted| wanted == status)
                    && check.local_endpoints.is_none_or(|wanted| wanted == count)
            });
            if !holds {
                tally.failure = Some(match actual {
                    Some((status, count)) => say(Some(status), Some(count)),
                    None => "no Service answers at this port".to_owned(),
                });
            }
        }
    }

    fn entry(
        &mut self,
        state: &mut State,
        step: &str,
        entry: &Entry,
        opened: Result<Opened, String>,
    ) {
        let index = state.next_tally;
        state.next_tally += 1;
        let name = match &entry.name {
            Some(name) => format!("{step}{name}"),
            None => format!("{step}connection to {}", entry.reply.address),
        };
        let expected = match entry.expect {
            EntryFate::Deleted => "deleted",
            EntryFate::Kept => "kept",
        };
        let tally = self.tally(index, name, &entry.tags, expected.to_owned());
        let opened = match opened {
            Ok(opened) => opened,
            Err(reason) => {
                tally.skipped = Some(reason);
                return;
            }
        };
        let next = entry::goes_on(state, &opened);
        if next.is_ok() != (entry.expect == EntryFate::Kept) {
            tally.failure = Some(match next {
                Ok(()) => "kept".to_owned(),
                Err(what) => format!("deleted: its next packet was {what}"),
            });
        }
    }
}

/// Why the kernel cannot be asked for what becomes of a flow; `None` if it can.
fn hidden(state: &State, flow: &Flow) -> Option<String> {
    let endpoints = flow.expect.endpoints.iter().flatten();
    let mut ends: Vec<_> = endpoints.map(|endpoint| endpoint.0.ip()).collect();
    if flow.expect.verdict == FlowVerdict::Reject {
        ends.push(flow.src.0);
    }
    if flow.expect.verdict == FlowVerdict::Pass {
        ends.push(flow.dst.0);
    }
    if let Some(reason) = state.rig.hides(ends.into_iter()) {
        return Some(reason.to_owned());
    }
    let nowhere = flow.src.0.is_unspecified() || flow.dst.0.is_multicast();
    if state.rig.has_own_clock() && nowhere {
        return Some("the kernel routes otherwise from no address and to groups".to_owned());
    }
    let later = state.rig.has_own_clock() && flow.at.is_some_and(|at| at > 1.0);
    later.then(|| "the kernel's clock cannot be set".to_owned())
}

/// Says what a case expects, in one line.
fn expected(expect: &FlowExpect, same: Option<&String>) -> String {
    let mut text = match expect.verdict {
        FlowVerdict::Forward => "forward".to_owned(),
        FlowVerdict::Reject => return "reject (ICMP port unreachable)".to_owned(),
        FlowVerdict::Drop => return "drop".to_owned(),
        FlowVerdict::Pass => return "pass, untouched".to_owned(),
    };
    if let Some(endpoints) = &expect.endpoints {
        text += &format!(" to {}", listed(endpoints.iter()));
    }
    match (expect.masquerade, &expect.masquerade_endpoints) {
        (Some(true), _) => text += ", masqueraded",
        (_, Some(only)) => text += &format!(", masqueraded only towards {}", listed(only.iter())),
        (Some(false), None) => text += ", not masqueraded",
        (None, None) => {}
    }
    if let Some(id) = same {
        text += &format!(", the same endpoint as {id}");
    }
    text
}
