//! Compares a reply with what a case expects of it.

use super::case::{Authority, Expect, Presence, Query, Record};
use super::message::{Found, Reply};
use serde_json::Value;

/// What a case says of a query whose name is in none of our zones.
const NOT_HANDLED: &str = "not-handled";

/// Says what a case expects, in one line.
pub(super) fn expected(query: &Query) -> String {
    let one = |expect: &Expect| {
        let mut parts: Vec<String> = expect.rcode.iter().cloned().collect();
        let records = |name, records: &Option<Vec<Record>>| {
            let words = records.as_ref()?.iter().map(said).collect::<Vec<_>>();
            Some(format!("{name} [{}]", words.join(", ")))
        };
        parts.extend(records("answers", &expect.answers));
        parts.extend(records("a subset of", &expect.subset_of));
        parts.extend(expect.tc.map(|tc| format!("tc {tc}")));
        parts.join(", ")
    };
    let all = query.expect.iter().chain(query.expect_any.iter().flatten());
    all.map(one).collect::<Vec<_>>().join(" or ")
}

/// Is the reply, if there is one, as expected?
pub(super) fn judge(
    query: &Query,
    reply: Option<&Reply>,
    size: usize,
    exact: bool,
) -> Result<(), String> {
    let mut differences = Vec::new();
    for expect in query.expect.iter().chain(query.expect_any.iter().flatten()) {
        let difference = differs(expect, reply, size, exact);
        if difference.is_empty() {
            return Ok(());
        }
        differences.push(difference.join("; "));
    }
    if differences.is_empty() {
        return Err("the case expects nothing".to_owned());
    }
    Err(differences.join(" / "))
}

fn differs(expect: &Expect, reply: Option<&Reply>, size: usize, exact: bool) -> Vec<String> {
    let mut differences = Vec::new();
    let Some(reply) = reply else {
        if expect.rcode.as_deref() != Some(NOT_HANDLED) {
            differences.push(NOT_HANDLED.to_owned());
        }
        return differences;
    };
    let rcode = reply.rcode.to_string();
    // One code has two names.
    let rcode = if rcode == "BADSIG" { "BADVERS" } else { &rcode };
    if expect
        .rcode
        .as_deref()
        .is_some_and(|wanted| wanted != rcode)
    {
        differences.push(rcode.to_owned());
    }
    if let Some(wanted) = &expect.answers {
        differences.extend(compare("answer", wanted, &reply.answers, exact));
        differences.extend(order(&reply.answers));
    }
    if let Some(wanted) = &expect.subset_of {
        let found = reply.answers.iter();
        let strange = found.filter(|found| !wanted.iter().any(|one| same(one, found, exact)));
        differences.extend(strange.map(|found| format!("answer {}", shown(found))));
    }
    if let Some(wanted) = expect
        .additional
        .as_ref()
        .filter(|_| !reply.additional.is_empty())
    {
        differences.extend(compare("additional", wanted, &reply.additional, exact));
    }
    if let Some(wanted) = &expect.authority {
        differences.extend(authority(wanted, &reply.authority, exact));
    }
    if let Some(wanted) = expect.tc.filter(|wanted| *wanted != reply.truncated) {
        differences.push(format!("tc {}", !wanted));
    }
    if let Some(most) = expect.max_size.filter(|most| size > *most) {
        differences.push(format!("{size} bytes, at most {most}"));
    }
    if let Some(wanted) = expect.edns
        && (wanted == Presence::Present) != reply.edns
    {
        differences.push(format!(
            "EDNS {}",
            if reply.edns { "present" } else { "absent" }
        ));
    }
    differences
}

/// Both lists hold the same records, in whatever order.
fn compare(section: &str, wanted: &[Record], found: &[Found], exact: bool) -> Vec<String> {
    let mut left: Vec<&Found> = found.iter().collect();
    let mut differences = Vec::new();
    for record in wanted {
        match left.iter().position(|found| same(record, found, exact)) {
            Some(place) => {
                left.swap_remove(place);
            }
            None => differences.push(format!("no {section} {}", said(record))),
        }
    }
    differences.extend(
        left.iter()
            .map(|found| format!("{section} {}", shown(found))),
    );
    differences
}

/// A CNAME stands before what it leads to.
fn order(found: &[Found]) -> Option<String> {
    let leads_back = |(index, record): (usize, &Found)| {
        let earlier = found.get(..index).unwrap_or_default();
        // Names that lead to each other have no order.
        let mut led_to = earlier.iter().filter(|one| one.kind != "CNAME");
        record.kind == "CNAME" && led_to.any(|one| record.rdata == one.name.as_str())
    };
    let late = found.iter().enumerate().any(leads_back);
    late.then(|| "a CNAME behind what it leads to".to_owned())
}

fn same(wanted: &Record, found: &Found, exact: bool) -> bool {
    same_name(&wanted.name, &found.name, exact)
        && wanted.kind == found.kind
        && wanted.ttl.is_none_or(|ttl| ttl == found.ttl)
        && same_value(&wanted.rdata, &found.rdata, exact)
}

fn same_name(one: &str, other: &str, exact: bool) -> bool {
    let [one, other] = [one, other].map(|name| name.strip_suffix('.').unwrap_or(name));
    if exact {
        one == other
    } else {
        one.eq_ignore_ascii_case(other)
    }
}

/// Names and addresses compare as such; of a mapping only what is wanted counts.
fn same_value(wanted: &Value, found: &Value, exact: bool) -> bool {
    match (wanted, found) {
        (Value::String(wanted), Value::String(found)) => {
            let addresses = (
                wanted.parse::<core::net::IpAddr>(),
                found.parse::<core::net::IpAddr>(),
            );
            match addresses {
                (Ok(wanted), Ok(found)) => wanted == found,
                _ => same_name(wanted, found, exact),
            }
        }
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().all(|(key, wanted)| {
            found
                .get(key)
                .is_some_and(|found| same_value(wanted, found, exact))
        }),
        // A TXT record of one text may be written without its list.
        (Value::String(_), Value::Array(found)) => *found == [wanted.clone()],
        (wanted, found) => wanted == found,
    }
}

fn authority(wanted: &Authority, found: &[Found], exact: bool) -> Option<String> {
    let [soa] = found else {
        return Some(format!("{} records of authority", found.len()));
    };
    let minimum = soa.rdata.get("minimum").and_then(Value::as_u64);
    let holds = soa.kind == "SOA"
        && wanted
            .soa
            .as_ref()
            .is_none_or(|name| same_name(name, &soa.name, exact))
        && wanted.ttl.is_none_or(|ttl| ttl == soa.ttl)
        && wanted
            .minimum
            .is_none_or(|wanted| Some(u64::from(wanted)) == minimum);
    (!holds).then(|| format!("authority {}", shown(soa)))
}

fn said(record: &Record) -> String {
    format!("{} {} {}", record.name, record.kind, record.rdata)
}

fn shown(found: &Found) -> String {
    format!(
        "{} {} {} {}",
        found.name, found.ttl, found.kind, found.rdata
    )
}
