//! Messages of other servers: asking for the end of a chain of CNAMEs, and joining it with what is ours.

use domain::base::iana::{OptRcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, PushError};
use domain::base::{Message, MessageBuilder, ParsedName, StaticCompressor};
use domain::rdata::{AllRecordData, Cname};

/// Largest reply by UDP that other servers may send us.
const OUR_UDP: u16 = 1232;

/// How long a reply to `query` by UDP may be.
pub(super) fn udp_limit(query: &[u8]) -> usize {
    let size = Message::from_octets(query)
        .ok()
        .and_then(|query| query.opt().map(|opt| opt.udp_payload_size()));
    usize::from(size.unwrap_or(0)).clamp(512, super::LONGEST_UDP)
}

/// The query for the name that the last CNAME of `chain` leads to.
pub(super) fn follow_up(chain: &[u8]) -> Option<Vec<u8>> {
    let chain = Message::from_octets(chain).ok()?;
    let kind = chain.sole_question().ok()?.qtype();
    let answers = chain.answer().ok()?.limit_to::<Cname<_>>();
    let last = answers.filter_map(Result::ok).last()?;
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((last.data().cname(), kind)).ok()?;
    let mut builder = builder.additional();
    let opt = builder.opt(|opt| {
        opt.set_udp_payload_size(OUR_UDP);
        Ok(())
    });
    opt.ok()?;
    Some(builder.finish())
}

/// `chain`, with the other server's answers behind it. What does not fit into `limit` bytes is left out, and said.
pub(super) fn joined(chain: &[u8], other: &[u8], limit: usize) -> Option<Vec<u8>> {
    let ours = Message::from_octets(chain).ok()?;
    let other = Message::from_octets(other).ok()?;
    let target = StaticCompressor::new(Vec::with_capacity(limit));
    let mut builder = MessageBuilder::from_target(target).ok()?;
    let edns = ours.opt().is_some();
    // Eleven bytes are EDNS's.
    builder.set_push_limit(if edns {
        limit.saturating_sub(11)
    } else {
        limit
    });
    *builder.header_mut() = ours.header();
    builder.header_mut().set_rcode(other.header().rcode());
    let mut builder = builder.question();
    builder.push(ours.sole_question().ok()?).ok()?;
    let mut builder = builder.answer();
    let mut cut = other.header().tc();
    for message in [&ours, &other] {
        for record in message
            .answer()
            .ok()?
            .limit_to::<AllRecordData<_, ParsedName<_>>>()
        {
            cut |= builder.push(record.ok()?).is_err();
        }
    }
    let mut builder = builder.authority();
    for record in other
        .authority()
        .ok()?
        .limit_to::<AllRecordData<_, ParsedName<_>>>()
    {
        // Says why there is nothing; without it there still is nothing.
        let _ = builder.push(record.ok()?);
    }
    builder.header_mut().set_tc(cut);
    let mut builder = builder.additional();
    builder.clear_push_limit();
    if edns {
        put_edns(&mut builder, other.opt_rcode()).ok()?;
    }
    Some(builder.finish().into_target())
}

fn put_edns(
    builder: &mut AdditionalBuilder<StaticCompressor<Vec<u8>>>,
    rcode: OptRcode,
) -> Result<(), PushError> {
    builder.opt(|opt| {
        opt.set_udp_payload_size(OUR_UDP);
        opt.set_rcode(rcode);
        Ok(())
    })
}

/// Is `reply` the reply to `query`, which nobody else can have sent by chance?
pub(super) fn is_reply(query: &[u8], reply: &[u8]) -> bool {
    let messages = (Message::from_octets(query), Message::from_octets(reply));
    let (Ok(query), Ok(reply)) = messages else {
        return false;
    };
    // A server that understands nothing repeats no question.
    let same = reply.header_counts().qdcount() == 0 && reply.header().rcode().to_int() != 0
        || query.sole_question().ok() == reply.sole_question().ok();
    reply.header().qr() && reply.header().id() == query.header().id() && same
}

/// Was something left out?
pub(super) fn is_truncated(reply: &[u8]) -> bool {
    Message::from_octets(reply).is_ok_and(|reply| reply.header().tc())
}

/// Header and question of a reply that does not fit.
pub(super) fn truncated(reply: &[u8]) -> Option<Vec<u8>> {
    let reply = Message::from_octets(reply).ok()?;
    let mut builder = MessageBuilder::new_vec();
    *builder.header_mut() = reply.header();
    builder.header_mut().set_tc(true);
    let mut builder = builder.question();
    builder.push(reply.sole_question().ok()?).ok()?;
    Some(builder.finish())
}

/// A message under another id.
pub(super) fn with_id(mut message: Vec<u8>, id: [u8; 2]) -> Vec<u8> {
    for (to, from) in message.iter_mut().zip(id) {
        *to = from;
    }
    message
}

/// Is a zone transfer asked for? That is nothing to be handed on.
pub(super) fn is_transfer(query: &[u8]) -> bool {
    let query = Message::from_octets(query);
    let kind = query
        .ok()
        .and_then(|query| Some(query.sole_question().ok()?.qtype()));
    kind.is_some_and(|kind| matches!(kind, Rtype::AXFR | Rtype::IXFR))
}
