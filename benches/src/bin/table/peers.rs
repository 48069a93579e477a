//! The rows of others: bare lookups in maps, and what this machine's kernel adds to a forwarded packet.

use crate::{Arguments, CaseName, DistributionName, FamilyName, OURS, ProtocolName, Row, name, or};
use clap::ValueEnum;
use portolan_benches::{Peer, RteHash, kernel};

/// Measures them, and prints their rows. What is not here is printed as absent, with the reason, and is no row.
pub(crate) fn compare(arguments: &Arguments, rows: &mut Vec<Row>) {
    let families = or(&arguments.families, FamilyName::value_variants());
    let rte_hash = RteHash::compile();
    for &connections in &arguments.peers {
        for &family in families {
            lookups(arguments, connections, family, rte_hash.as_ref(), rows);
        }
    }
    if !or(&arguments.protocols, &[ProtocolName::Tcp]).contains(&ProtocolName::Tcp) {
        return;
    }
    for &connections in &arguments.kernel {
        for &family in families {
            for case in or(&arguments.cases, CaseName::value_variants()) {
                if kernel::CASES.contains(&case.case()) {
                    forward(arguments, *case, connections, family, rows);
                }
            }
        }
    }
}

/// The rows of bare lookups among so many keys.
fn lookups(
    arguments: &Arguments,
    connections: u32,
    family: FamilyName,
    rte_hash: Result<&RteHash, &String>,
    rows: &mut Vec<Row>,
) {
    let (rounds, lookups) = (arguments.rounds.max(1), arguments.packets.max(1));
    for peer in Peer::ALL {
        let nanos = peer.lookup_nanos(family.family(), connections, rounds, lookups);
        rows.push(lookup(peer.name(), connections, family, None, nanos));
    }
    let nanos = rte_hash
        .map_err(Clone::clone)
        .and_then(|rte_hash| rte_hash.lookup_nanos(family.family(), connections, rounds, lookups));
    match nanos {
        Ok(nanos) => {
            for (bulk, nanos) in RteHash::BULKS.into_iter().zip(nanos) {
                rows.push(lookup(
                    RteHash::NAME,
                    connections,
                    family,
                    Some(bulk),
                    nanos,
                ));
            }
        }
        Err(reason) => absent(
            &format!("lookup in {}", RteHash::NAME),
            connections,
            family,
            &reason,
        ),
    }
}

/// Prints a lookup's row.
fn lookup(
    peer: &'static str,
    connections: u32,
    family: FamilyName,
    bulk: Option<usize>,
    nanos: f64,
) -> Row {
    println!(
        "{:<24}{connections:>12}{:>4}{:>11}{nanos:>19.1}",
        format!("lookup in {peer}"),
        name(family),
        bulk.map_or_else(String::new, |bulk| bulk.to_string()),
    );
    Row {
        case: "lookup".to_owned(),
        connections,
        family: name(family),
        burst: bulk,
        distribution: name(DistributionName::Uniform),
        ns_per_packet: nanos,
        peer,
        ..Row::default()
    }
}

/// The row of a case in this kernel.
fn forward(
    arguments: &Arguments,
    case: CaseName,
    connections: u32,
    family: FamilyName,
    rows: &mut Vec<Row>,
) {
    // A packet costs the kernel twenty times as much: fewer are as telling.
    let packets = (arguments.packets / 8).max(1);
    let rounds = arguments.rounds.max(1);
    let measured = kernel::measure(case.case(), family.family(), connections, rounds, packets);
    let forwarded = match measured {
        Ok(forwarded) => forwarded,
        Err(error) => {
            let what = format!("{} in {}", name(case), kernel::NAME);
            return absent(&what, connections, family, &error.to_string());
        }
    };
    let [protocol, distribution] = [name(ProtocolName::Tcp), name(DistributionName::Uniform)];
    let ours = rows.iter().find(|row| {
        row.peer == OURS
            && (&row.case, row.connections, &row.family)
                == (&name(case), connections, &name(family))
            && (row.protocol.as_ref(), row.burst) == (Some(&protocol), Some(32))
            && row.distribution == distribution
    });
    let times = ours.map_or_else(String::new, |row| {
        let times = forwarded.added() / row.ns_per_packet;
        format!(", {times:.0} times {OURS}'s")
    });
    println!(
        "{:<24}{connections:>12}{:>4}{protocol:>5}{:>6}{distribution:>9}{:>10.1} {}: {:.1} forwarded with it, {:.1} without{times}",
        name(case),
        name(family),
        "",
        forwarded.added(),
        kernel::NAME,
        forwarded.translated,
        forwarded.plain,
    );
    rows.push(Row {
        case: name(case),
        connections,
        family: name(family),
        protocol: Some(protocol),
        distribution,
        ns_per_packet: forwarded.added(),
        forwarding_ns: Some(forwarded.plain),
        forwarding_nat_ns: Some(forwarded.translated),
        peer: kernel::NAME,
        ..Row::default()
    });
}

fn absent(what: &str, connections: u32, family: FamilyName, reason: &str) {
    println!(
        "{what:<24}{connections:>12}{:>4}  absent: {reason}",
        name(family)
    );
}
