//! Queries to bytes, and replies to what a case can be compared with. Replies are read by a library that knows nothing
//! of how they were written.

use super::case::{Edns, Query};
use core::fmt::Display;
use core::str::FromStr;
use domain::base::iana::{OptRcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ParsedName, RecordSection};
use domain::dep::octseq::Octets;
use domain::rdata::AllRecordData;
use serde_json::{Value, json};

/// One record of a reply.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) ttl: u32,
    pub(super) rdata: Value,
}

/// A reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) rcode: OptRcode,
    pub(super) truncated: bool,
    pub(super) edns: bool,
    pub(super) answers: Vec<Found>,
    pub(super) authority: Vec<Found>,
    pub(super) additional: Vec<Found>,
}

/// The bytes of a query.
pub(super) fn query(query: &Query) -> Result<Vec<u8>, String> {
    let name: Name<Vec<u8>> = Name::from_str(&query.qname)
        .map_err(|error| format!("`{}` is no name: {error}", query.qname))?;
    let kind = Rtype::from_str(&query.qtype)
        .map_err(|_| format!("`{}` is no type of record", query.qtype))?;
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(0x5052);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    let full = |_| "the query does not fit".to_owned();
    builder.push((name, kind)).map_err(full)?;
    let mut builder = builder.additional();
    if let Some(Edns {
        udp_size,
        version,
        dnssec_ok,
        ..
    }) = query.edns
    {
        let opt = builder.opt(|opt| {
            opt.set_udp_payload_size(udp_size);
            opt.set_version(version);
            opt.set_dnssec_ok(dnssec_ok);
            Ok(())
        });
        opt.map_err(|_| "the query does not fit".to_owned())?;
    }
    Ok(builder.finish())
}

/// Reads a reply to a query, strictly.
pub(super) fn read(query: &[u8], reply: &[u8]) -> Result<Reply, String> {
    let wrong = |what: &str| format!("{what} ({} bytes)", reply.len());
    let asked = Message::from_octets(query).map_err(|_| wrong("no query"))?;
    let message = Message::from_octets(reply).map_err(|_| wrong("no DNS message"))?;
    let header = message.header();
    if !header.qr() || header.id() != asked.header().id() {
        return Err(wrong("not this query's reply"));
    }
    let same = match (message.first_question(), asked.first_question()) {
        (Some(one), Some(other)) => one == other,
        (None, _) => true,
        (Some(_), None) => false,
    };
    if !same {
        return Err(wrong("another question is repeated"));
    }
    let malformed = |error| wrong(&format!("malformed: {error}"));
    let opt = message.opt();
    Ok(Reply {
        rcode: message.opt_rcode(),
        truncated: header.tc(),
        edns: opt.is_some(),
        answers: records(message.answer().map_err(malformed)?)?,
        authority: records(message.authority().map_err(malformed)?)?,
        additional: records(message.additional().map_err(malformed)?)?,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever has no names in it reads as it is printed"
)]
fn records<O: Octets + ?Sized>(section: RecordSection<'_, O>) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    for record in section.limit_to::<AllRecordData<_, ParsedName<_>>>() {
        let record = record.map_err(|error| format!("malformed: {error}"))?;
        if record.rtype() == Rtype::OPT {
            continue;
        }
        let name = |name: &dyn Display| absolute(&name.to_string());
        let rdata = match record.data() {
            AllRecordData::Cname(data) => json!(name(data.cname())),
            AllRecordData::Ptr(data) => json!(name(data.ptrdname())),
            AllRecordData::Ns(data) => json!(name(data.nsdname())),
            AllRecordData::Srv(data) => json!({
                "priority": data.priority(), "weight": data.weight(), "port": data.port(),
                "target": name(data.target()),
            }),
            AllRecordData::Txt(data) => {
                let texts = data
                    .iter()
                    .map(|text| String::from_utf8_lossy(text).into_owned());
                json!(texts.collect::<Vec<_>>())
            }
            AllRecordData::Soa(data) => json!({
                "mname": name(data.mname()), "rname": name(data.rname()),
                "serial": data.serial().into_int(), "refresh": data.refresh().as_secs(),
                "retry": data.retry().as_secs(), "expire": data.expire().as_secs(),
                "minimum": data.minimum().as_secs(),
            }),
            other => json!(other.to_string()),
        };
        found.push(Found {
            name: absolute(&record.owner().to_string()),
            kind: record.rtype().to_string(),
            ttl: record.ttl().as_secs(),
            rdata,
        });
    }
    Ok(found)
}

/// A name with the dot at its end.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}
