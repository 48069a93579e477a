//! One query's bytes to its reply's bytes.

use super::code::{INTERNET, Rcode, kind};
use super::name::Labels;
use super::query::{HEADER, Head, Query, Unanswerable};
use super::records::ServiceRecords;
use super::resolve::{Found, Located};
use super::tables::Tables;
use super::write_records::{Place, Sections};
use super::writer::{Flags, Full, Name, Section, Writer};

/// How a query came, which decides how long its reply may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// 512 bytes, or as many as EDNS says (RFC 6891, section 6.2.3).
    Udp,
    /// 65,535 bytes.
    Tcp,
}

/// What is to become of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// So many bytes of the reply are to be sent.
    Reply(usize),
    /// As [`Outcome::Reply`]; but its last CNAME leads to a name that is not ours. Whoever can ask about that name
    /// completes the answer.
    Onward(usize),
    /// The name is in none of our zones: whoever forwards asks elsewhere, everybody else refuses.
    NotOurs,
    /// Nothing is to be sent: the bytes are no query, or a reply, which must never be replied to.
    Silent,
}

/// Longest UDP reply without EDNS (RFC 1035, section 4.2.1).
const PLAIN_UDP: u16 = 512;

/// What we take by UDP ourselves: no fragment on any usual path (RFC 9715).
const OUR_UDP: u16 = 1232;

/// Bytes of the record of EDNS.
const EDNS_BYTES: usize = 11;

/// CNAMEs that are followed.
const MAX_CHAIN: usize = 10;

/// How a reply's sections were filled.
struct Filled {
    rcode: Rcode,
    truncated: bool,
    onward: bool,
}

/// Answers one query. Never writes more than `reply` has, nor more than the transport allows; what does not fit is left
/// out by whole records, and said.
pub(super) fn answer(
    tables: &Tables,
    message: &[u8],
    transport: Transport,
    reply: &mut [u8],
) -> Outcome {
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(Unanswerable::Silent) => return Outcome::Silent,
        Err(Unanswerable::Code(head, rcode)) => return bare(head, rcode, reply),
    };
    let refusal = refusal(&query);
    let located = match refusal {
        Some(_) => None,
        None => match tables.locate(&query.name) {
            Some(located) => Some(located),
            None => return Outcome::NotOurs,
        },
    };
    let written = write(tables, message, &query, located, refusal, transport, reply);
    match written {
        Ok((len, false)) => Outcome::Reply(len),
        Ok((len, true)) => Outcome::Onward(len),
        Err(Full) => bare(query.head, Rcode::SERVER_FAILURE, reply),
    }
}

/// What is refused whatever the name.
fn refusal(query: &Query) -> Option<Rcode> {
    if query.edns.is_some_and(|edns| edns.version > 0) {
        return Some(Rcode::BAD_VERSION);
    }
    let transfer = matches!(query.kind, kind::AXFR | kind::IXFR);
    (query.class != INTERNET || transfer).then_some(Rcode::REFUSED)
}

/// Why a host does not answer a query that is [`Outcome::NotOurs`], or could not have it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// REFUSED: nobody is asked about other names.
    Refused,
    /// SERVFAIL: whoever was asked did not answer.
    ServerFailure,
}

/// Writes the reply that declines a query, and says how long it is; 0 if nothing is to be sent.
#[must_use]
pub fn decline(message: &[u8], refusal: Refusal, reply: &mut [u8]) -> usize {
    let rcode = match refusal {
        Refusal::Refused => Rcode::REFUSED,
        Refusal::ServerFailure => Rcode::SERVER_FAILURE,
    };
    let declined = match Query::parse(message) {
        Ok(query) => empty(message, &query, rcode, reply),
        Err(Unanswerable::Code(head, rcode)) => bare(head, rcode, reply),
        Err(Unanswerable::Silent) => Outcome::Silent,
    };
    match declined {
        Outcome::Reply(length) | Outcome::Onward(length) => length,
        Outcome::NotOurs | Outcome::Silent => 0,
    }
}

/// A reply without records.
fn empty(message: &[u8], query: &Query, rcode: Rcode, reply: &mut [u8]) -> Outcome {
    let written = Writer::new(reply, PLAIN_UDP.into()).and_then(|mut writer| {
        let question = message.get(HEADER..query.question_end);
        writer.question(question.unwrap_or_default())?;
        if let Some(edns) = query.edns {
            writer.edns(OUR_UDP, rcode, edns.dnssec_ok)?;
        }
        Ok(writer.finish(query.head, rcode, Flags::default()))
    });
    written.map_or(Outcome::Silent, Outcome::Reply)
}

/// A header and nothing else.
fn bare(head: Head, rcode: Rcode, reply: &mut [u8]) -> Outcome {
    match Writer::new(reply, HEADER) {
        Ok(writer) => Outcome::Reply(writer.finish(head, rcode, Flags::default())),
        Err(Full) => Outcome::Silent,
    }
}

fn write(
    tables: &Tables,
    message: &[u8],
    query: &Query,
    located: Option<Located<'_>>,
    refusal: Option<Rcode>,
    transport: Transport,
    reply: &mut [u8],
) -> Result<(usize, bool), Full> {
    let limit = match transport {
        Transport::Tcp => u16::MAX,
        Transport::Udp => query.edns.map_or(0, |edns| edns.size).max(PLAIN_UDP),
    };
    let mut writer = Writer::new(reply, limit.into())?;
    let question = message.get(HEADER..query.question_end);
    writer.question(question.unwrap_or_default())?;
    let for_edns = query.edns.map_or(0, |_| EDNS_BYTES);
    writer.reserve(for_edns);
    let filled = match (located, refusal) {
        (Some(located), None) => fill(tables, query, located, &mut writer),
        (_, refusal) => Filled {
            rcode: refusal.unwrap_or(Rcode::SERVER_FAILURE),
            truncated: false,
            onward: false,
        },
    };
    writer.release(for_edns);
    if let Some(edns) = query.edns {
        writer.edns(OUR_UDP, filled.rcode, edns.dnssec_ok)?;
    }
    let flags = Flags {
        authoritative: refusal.is_none() && filled.rcode != Rcode::SERVER_FAILURE,
        truncated: filled.truncated,
        recursion_available: tables.settings.config.recursion,
    };
    Ok((
        writer.finish(query.head, filled.rcode, flags),
        filled.onward,
    ))
}

/// Follows CNAMEs inside our zones, then answers for the name they end at.
fn fill(tables: &Tables, query: &Query, located: Located<'_>, writer: &mut Writer<'_>) -> Filled {
    let mut filled = Filled {
        rcode: Rcode::NO_ERROR,
        truncated: false,
        onward: false,
    };
    let mut place = Place {
        located,
        labels: query.name.clone(),
        base: HEADER,
    };
    let mut visited: [Option<&ServiceRecords>; MAX_CHAIN] = [None; MAX_CHAIN];
    for seen in 0..=MAX_CHAIN {
        let Some((service, target)) = place.located.found.alias() else {
            return end(tables, query, &place, writer, filled);
        };
        let mut earlier = visited.iter().flatten();
        let round = earlier.any(|earlier| core::ptr::eq(*earlier, service));
        let Some(here) = visited.get_mut(seen).filter(|_| !round) else {
            return filled;
        };
        *here = Some(service);
        let ttl = tables.settings.config.ttl;
        let owner = Name::at(place.base);
        let mut base = 0;
        let written = writer.record(Section::Answer, owner, (kind::CNAME, ttl), |writer| {
            base = writer.position();
            writer.put(target)
        });
        filled.truncated = written.is_err();
        if filled.truncated || query.kind == kind::CNAME {
            return filled;
        }
        let Some((labels, _)) = Labels::read(target, 0) else {
            return filled;
        };
        let Some(located) = tables.locate(&labels) else {
            filled.onward = true;
            return filled;
        };
        place = Place {
            located,
            labels,
            base,
        };
    }
    filled
}

/// Answers for a name that is no alias.
fn end(
    tables: &Tables,
    query: &Query,
    place: &Place<'_>,
    writer: &mut Writer<'_>,
    mut filled: Filled,
) -> Filled {
    let [id0, id1] = query.head.id;
    let mut sections = Sections {
        tables,
        place,
        writer,
        turn: u16::from_be_bytes([id0, id1]).into(),
        written: false,
    };
    if matches!(place.located.found, Found::Missing) {
        if !tables.synced {
            // It may only be not known yet, and would be remembered as not existing.
            filled.rcode = Rcode::SERVER_FAILURE;
            return filled;
        }
        filled.rcode = Rcode::NO_SUCH_NAME;
    } else {
        let found = place.located.found;
        let mut kinds = match query.kind {
            // Some of what there is will do (RFC 8482, section 4.1).
            kind::ANY => usual_kinds(found).iter(),
            ref kind => core::slice::from_ref(kind).iter(),
        };
        filled.truncated = kinds.any(|kind| sections.answer(*kind).is_err());
        if sections.written || filled.truncated {
            return filled;
        }
    }
    filled.truncated = sections.negative().is_err();
    filled
}

/// The record types that a name usually has.
const fn usual_kinds(found: Found<'_>) -> &'static [u16] {
    match found {
        Found::Apex => &[kind::SOA, kind::NS],
        Found::Version => &[kind::TXT],
        Found::NameServer | Found::Service(_) | Found::Host(..) | Found::Pod(_) => {
            &[kind::A, kind::AAAA]
        }
        Found::Port(..) => &[kind::SRV],
        Found::Reverse(_) => &[kind::PTR],
        Found::Empty | Found::Missing => &[],
    }
}
