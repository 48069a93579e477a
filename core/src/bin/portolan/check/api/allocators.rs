//! Cases about allocators: what a range amounts to, and what it gives.

use super::Bench;
use super::case::{
    AllocatorCase, AllocatorKind, AllocatorOperation, AllocatorStep, ValidationFile,
};
use crate::check::Sink;
use core::net::IpAddr;
use portolan::api::{AddressError, ClusterIps, NodePortRange, NodePorts, PortError, ServiceRange};
use portolan::model::ObjectKey;
use portolan::net::{Family, Prefix};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Runs the cases that are wanted.
pub(crate) fn run(
    name: &str,
    file: &ValidationFile,
    wanted: impl Fn(&str) -> bool,
    sink: Sink<'_>,
) -> std::io::Result<()> {
    for case in file.allocators.iter().filter(|case| wanted(&case.name)) {
        let mut bench = Bench {
            file: name,
            case: &case.name,
            tags: &case.tags,
            sink: &mut *sink,
        };
        run_case(case, &mut bench)?;
    }
    Ok(())
}

/// A range of addresses or of ports.
enum Range {
    Addresses(ServiceRange, ClusterIps),
    Ports(NodePortRange, NodePorts),
}

fn range(case: &AllocatorCase) -> Result<Range, String> {
    let text = case.range.as_deref().ok_or("no `range`")?;
    if case.kind == AllocatorKind::NodePort {
        let range: NodePortRange = text.parse().map_err(|error| format!("{text}: {error}"))?;
        return Ok(Range::Ports(range, NodePorts::new(range, 1)));
    }
    let prefix = text.parse().map_err(|error| format!("{text}: {error}"))?;
    let range = ServiceRange::new(prefix).ok_or(format!("{text} has no usable addresses"))?;
    Ok(Range::Addresses(range, ClusterIps::new(vec![range], 1)))
}

fn run_case(case: &AllocatorCase, bench: &mut Bench<'_>) -> std::io::Result<()> {
    if case.kind == AllocatorKind::Service {
        return bench.skip("*".to_owned(), "steps in words are for people");
    }
    let mut range = match range(case) {
        Ok(range) => range,
        Err(error) => return bench.judge("range".to_owned(), "a range".to_owned(), Err(error)),
    };
    if let Some(expect) = &case.expect {
        let (usable, fixed, dynamic) = range.amounts();
        let sizes = [(expect.usable.as_ref(), "usable", vec![usable])];
        let bands = [
            (expect.static_band.as_ref(), "staticBand", fixed),
            (expect.dynamic_band.as_ref(), "dynamicBand", dynamic),
        ];
        for (expected, what, actual) in sizes.into_iter().chain(bands) {
            let Some(expected) = expected else { continue };
            let text = actual.join(" or ");
            let right = actual.contains(&plain(expected));
            let actual = if right { Ok(text) } else { Err(text) };
            bench.judge(what.to_owned(), plain(expected), actual)?;
        }
    }
    for (number, step) in (1_u32..).zip(&case.steps) {
        let name = format!("step {number}");
        match AllocatorStep::deserialize(step) {
            Ok(step) => run_step(&mut range, &step, number, &name, bench)?,
            Err(error) => bench.judge(name, "a step".to_owned(), Err(error.to_string()))?,
        }
    }
    Ok(())
}

/// A value as text; lists as `first-last`, nothing as `none`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.replace(" - ", "-").replace("..", "-"),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("-"),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn run_step(
    range: &mut Range,
    step: &AllocatorStep,
    number: u32,
    name: &str,
    bench: &mut Bench<'_>,
) -> std::io::Result<()> {
    let mut given = BTreeSet::new();
    let (mut results, mut strays) = (BTreeSet::new(), Vec::new());
    let times = step.times.unwrap_or(1);
    let mut repeats = 0;
    for time in 0..times {
        let owner = ObjectKey::new("default", format!("s{number}-{time}"));
        let (result, value) = range.perform(step, &owner);
        results.insert(result);
        if let Some(value) = value {
            if step
                .within
                .as_ref()
                .is_some_and(|within| !range.is_within(&value, within))
            {
                strays.push(value.clone());
            }
            repeats += u32::from(!given.insert(value));
        }
    }
    let expected = step.result.as_ref().map(plain);
    let found = results.into_iter().collect::<Vec<_>>().join(", ");
    let actual = match &expected {
        Some(expected) if *expected != found && !range.is_value(expected, &given) => Err(found),
        _ if !strays.is_empty() => Err(format!("{} outside", strays.join(", "))),
        _ if step.distinct && repeats > 0 => Err(format!("{repeats} given again")),
        _ => Ok(found),
    };
    let within = step
        .within
        .as_ref()
        .map(|it| format!(" within {}", plain(it)));
    let expected = expected.unwrap_or_default() + &within.unwrap_or_default();
    bench.judge(format!("{name}: {:?}", step.op), expected, actual)
}

impl Range {
    /// How many there are, and the bands: as first and last, or as a number.
    fn amounts(&self) -> (String, Vec<String>, Vec<String>) {
        match self {
            Self::Addresses(range, _) => {
                let of = |(first, last): (IpAddr, IpAddr)| {
                    vec![format!("{first}-{last}"), span(first, last).to_string()]
                };
                let fixed = range.static_band();
                (
                    range.usable().to_string(),
                    fixed.map_or_else(none, of),
                    of(range.dynamic_band()),
                )
            }
            Self::Ports(range, _) => {
                let of = |(first, last): (u16, u16)| {
                    let size = u32::from(last) + 1 - u32::from(first);
                    vec![format!("{first}-{last}"), size.to_string()]
                };
                let fixed = range.static_band();
                (
                    range.usable().to_string(),
                    fixed.map_or_else(none, of),
                    of(range.dynamic_band()),
                )
            }
        }
    }

    /// The result in a word, and the value that was given.
    fn perform(&mut self, step: &AllocatorStep, owner: &ObjectKey) -> (String, Option<String>) {
        let value = step.value.as_ref().map(plain).unwrap_or_default();
        let word = |word: &str| (word.to_owned(), None);
        match self {
            Self::Addresses(range, ips) => {
                let ip = value.parse::<IpAddr>();
                match (step.op, ip) {
                    (AllocatorOperation::AllocateNext, _) => {
                        let family = Family::of(range.prefix().address());
                        match ips.allocate_next(family, owner) {
                            Ok(ip) => ("ok".to_owned(), Some(ip.to_string())),
                            Err(_) => word("full"),
                        }
                    }
                    (AllocatorOperation::Free, _) => {
                        let used = ips.used(range) as u128;
                        word(&range.usable().saturating_sub(used).to_string())
                    }
                    (_, Err(_)) => word("no address"),
                    (AllocatorOperation::Allocate, Ok(ip)) => match ips.allocate(ip, owner) {
                        Ok(()) => ("ok".to_owned(), Some(value)),
                        Err(AddressError::Allocated(_)) => word("already-allocated"),
                        Err(_) => word("not-in-range"),
                    },
                    (AllocatorOperation::Release, Ok(ip)) => {
                        ips.release(ip);
                        word("ok")
                    }
                    (AllocatorOperation::Has, Ok(ip)) => word(&ips.owner(ip).is_some().to_string()),
                }
            }
            Self::Ports(_, ports) => {
                let port = value.parse::<u16>();
                match (step.op, port) {
                    (AllocatorOperation::AllocateNext, _) => match ports.allocate_next(owner) {
                        Ok(port) => ("ok".to_owned(), Some(port.to_string())),
                        Err(_) => word("full"),
                    },
                    (AllocatorOperation::Free, _) => word(&ports.free().to_string()),
                    (AllocatorOperation::Allocate, Ok(port)) => match ports.allocate(port, owner) {
                        Ok(()) => ("ok".to_owned(), Some(value)),
                        Err(PortError::Allocated(_)) => word("already-allocated"),
                        Err(_) => word("not-in-range"),
                    },
                    (AllocatorOperation::Allocate, Err(_)) => word("not-in-range"),
                    (AllocatorOperation::Release, port) => {
                        port.into_iter().for_each(|port| ports.release(port));
                        word("ok")
                    }
                    (AllocatorOperation::Has, port) => {
                        let owned = port.is_ok_and(|port| ports.owner(port).is_some());
                        word(&owned.to_string())
                    }
                }
            }
        }
    }

    /// Is this the one value that was given, named where a result is?
    fn is_value(&self, expected: &str, given: &BTreeSet<String>) -> bool {
        given.len() == 1 && given.contains(expected)
    }

    /// Does a value lie in a band (by name), a prefix, or between two values?
    fn is_within(&self, value: &str, within: &Value) -> bool {
        let (_, fixed, dynamic) = self.amounts();
        let text = plain(within);
        let text = match text.as_str() {
            "static" | "staticBand" | "lower" => fixed.first().cloned().unwrap_or_default(),
            "dynamic" | "dynamicBand" | "upper" => dynamic.first().cloned().unwrap_or_default(),
            _ => text,
        };
        if let (Ok(ip), Ok(prefix)) = (value.parse(), text.parse::<Prefix>()) {
            return prefix.contains(ip);
        }
        let Some((first, last)) = text.split_once('-') else {
            return text == value;
        };
        if let Self::Addresses(..) = self {
            let bounds = first
                .parse::<IpAddr>()
                .ok()
                .zip(last.parse::<IpAddr>().ok());
            let ip = value.parse::<IpAddr>().ok();
            return bounds
                .zip(ip)
                .is_some_and(|((first, last), ip)| (first..=last).contains(&ip));
        }
        let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        let port = value.parse::<u16>().ok();
        bounds
            .zip(port)
            .is_some_and(|((first, last), port)| (first..=last).contains(&port))
    }
}

fn none() -> Vec<String> {
    vec!["none".to_owned(), "0".to_owned()]
}

/// How many addresses lie between two, both included.
fn span(first: IpAddr, last: IpAddr) -> u128 {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            u128::from(u32::from(last)).saturating_sub(u32::from(first).into()) + 1
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => u128::from(last)
            .saturating_sub(u128::from(first))
            .saturating_add(1),
        _ => 0,
    }
}
