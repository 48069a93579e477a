//! Annotations that say how a Service's endpoints are chosen.

use super::duration;
use super::findings::{About, Quoted};
use crate::model::{Scheduling, Weights};
use crate::net::Scheduler;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;
use core::net::IpAddr;

/// On a Service: the scheduler's short name.
const SCHEDULER: &str = "portolan/scheduler";
/// On a Service: a duration.
const SLOW_START: &str = "portolan/slow-start";
/// On a Service or a slice: weights, `3` of all endpoints, `10.200.1.7=5` of one, or several of these with commas.
const WEIGHT: &str = "portolan/weight";

type Annotations = BTreeMap<String, String>;

/// What a Service says of its scheduler. What is wrong is left to the node.
pub(super) fn scheduling(annotations: Option<&Annotations>, about: &mut About<'_>) -> Scheduling {
    let text = |name| annotations.and_then(|all: &Annotations| all.get(name));
    let field = |name| alloc::format!("metadata.annotations[{name}]");
    Scheduling {
        scheduler: text(SCHEDULER).and_then(|name| scheduler(name.trim(), field(SCHEDULER), about)),
        slow_start_seconds: text(SLOW_START)
            .and_then(|text| slow_start(text.trim(), field(SLOW_START), about)),
    }
}

/// The scheduler of a short name.
pub(super) fn scheduler(
    name: &str,
    field: impl Display,
    about: &mut About<'_>,
) -> Option<Scheduler> {
    let found = Scheduler::from_name(name);
    if found.is_none() {
        let names: Vec<&str> = Scheduler::ALL.iter().map(|one| one.as_str()).collect();
        let rule = format_args!(
            "{} is not a scheduler: must be one of {}",
            Quoted(name),
            names.join(", ")
        );
        about.reject(field, rule);
    }
    found
}

/// Whole seconds, rounded up; at most 65,535.
pub(super) fn slow_start(text: &str, field: impl Display, about: &mut About<'_>) -> Option<u16> {
    let seconds = duration::parse(text)
        .map(|time| {
            time.as_secs()
                .saturating_add(u64::from(time.subsec_nanos() > 0))
        })
        .and_then(|seconds| u16::try_from(seconds).ok());
    if seconds.is_none() {
        let rule = format_args!(
            "{} is no time to start slowly in: must be {}, and at most 18h12m15s",
            Quoted(text),
            duration::RULE
        );
        about.reject(field, rule);
    }
    seconds
}

/// Weights of a Service's or a slice's endpoints. What is wrong is left out.
pub(super) fn weights(annotations: Option<&Annotations>, about: &mut About<'_>) -> Weights {
    let mut weights = Weights::default();
    let text = annotations.and_then(|all| all.get(WEIGHT));
    for part in text.into_iter().flat_map(|text| text.split(',')) {
        let part = part.trim();
        let (address, number) = match part.split_once('=') {
            Some((address, number)) => (Some(address.trim()), number.trim()),
            None => (None, part),
        };
        let weight = number.parse::<u16>().ok();
        match (address.map(str::parse::<IpAddr>), weight) {
            (None, Some(weight)) => weights.all = Some(weight),
            (Some(Ok(address)), Some(weight)) => {
                weights.by_address.insert(address, weight);
            }
            (_, _) => about.reject(
                format_args!("metadata.annotations[{WEIGHT}]"),
                format_args!(
                    "{} is no weight: must be a number from 0 to 65535, or ADDRESS=NUMBER",
                    Quoted(part)
                ),
            ),
        }
    }
    weights
}
