//! Compares the fields that a case names with those of the packet that came out, binding `$names` on the way.

use super::build::{Bindings, tcp_flags};
use super::case::{ChecksumKind, PacketFields};
use super::scalar::{Field, Payload};
use core::fmt::Display;

/// Takes field after field; remembers what differs, as `sport 40001 instead of 40000`.
struct Comparison<'a> {
    prefix: &'a str,
    bindings: &'a mut Bindings,
    differences: &'a mut Vec<String>,
}

impl Comparison<'_> {
    fn differs(&mut self, name: &str, actual: impl Display, expected: impl Display) {
        let prefix = self.prefix;
        self.differences
            .push(format!("{prefix}{name} {actual} instead of {expected}"));
    }

    fn field<T: Display + PartialEq>(
        &mut self,
        name: &str,
        expected: Option<&Field<T>>,
        actual: Option<&Field<T>>,
    ) {
        let Some(expected) = expected else { return };
        let Some(actual) = actual else {
            return self.differs(name, "absent", expected);
        };
        match expected {
            Field::Value(_) if expected == actual => {}
            Field::Value(_) => self.differs(name, actual, expected),
            Field::Variable(variable) => {
                let text = actual.to_string();
                let bound = self
                    .bindings
                    .entry(variable.clone())
                    .or_insert(text.clone());
                if *bound != text {
                    let expected = format!("{variable} = {bound}");
                    self.differs(name, actual, expected);
                }
            }
        }
    }

    fn plain<T: PartialEq>(
        &mut self,
        name: &str,
        expected: Option<&T>,
        actual: Option<&T>,
        say: impl Fn(&T) -> String,
    ) {
        if let Some(wanted) = expected
            && actual != expected
        {
            let actual = actual.map_or_else(|| "absent".to_owned(), &say);
            self.differs(name, actual, say(wanted));
        }
    }

    fn headers(&mut self, expected: &PacketFields, actual: &PacketFields) {
        let (e, a) = (expected, actual);
        self.field("src", e.src.as_ref(), a.src.as_ref());
        self.field("dst", e.dst.as_ref(), a.dst.as_ref());
        self.plain(
            "proto",
            e.proto.as_ref(),
            a.proto.as_ref(),
            ToString::to_string,
        );
        self.field("ttl", e.ttl.as_ref(), a.ttl.as_ref());
        self.field("tos", e.tos.as_ref(), a.tos.as_ref());
        self.field("ipid", e.ipid.as_ref(), a.ipid.as_ref());
        self.field(
            "totalLength",
            e.total_length.as_ref(),
            a.total_length.as_ref(),
        );
        self.field("ihl", e.ihl.as_ref(), a.ihl.as_ref());
        self.plain("df", e.df.as_ref(), a.df.as_ref(), ToString::to_string);
        self.plain(
            "extension",
            e.extension.as_ref(),
            a.extension.as_ref(),
            |headers| format!("{headers:?}"),
        );
        let place = |fields: &PacketFields| {
            fields
                .fragment
                .as_ref()
                .map(|fragment| (fragment.offset, fragment.more))
        };
        self.plain(
            "fragment",
            place(e).as_ref(),
            place(a).as_ref(),
            |(offset, more)| format!("at {offset}{}", if *more { " with more" } else { "" }),
        );
    }

    fn transport(&mut self, expected: &PacketFields, actual: &PacketFields) {
        let (e, a) = (expected, actual);
        self.field("sport", e.sport.as_ref(), a.sport.as_ref());
        self.field("dport", e.dport.as_ref(), a.dport.as_ref());
        let flags = |fields: &PacketFields| {
            let letters = fields.flags.as_deref()?;
            tcp_flags(letters).ok()
        };
        if e.flags.is_some() && flags(e) != flags(a) {
            let actual = a.flags.as_deref().unwrap_or("absent");
            self.differs("flags", actual, e.flags.as_deref().unwrap_or_default());
        }
        self.field("seq", e.seq.as_ref(), a.seq.as_ref());
        self.field("ack", e.ack.as_ref(), a.ack.as_ref());
        self.field("window", e.window.as_ref(), a.window.as_ref());
        self.field(
            "headerLength",
            e.header_length.as_ref(),
            a.header_length.as_ref(),
        );
        self.field("udpLength", e.udp_length.as_ref(), a.udp_length.as_ref());
        self.plain("chunk", e.chunk.as_ref(), a.chunk.as_ref(), String::clone);
        self.field("vtag", e.vtag.as_ref(), a.vtag.as_ref());
        self.field("type", e.icmp_type.as_ref(), a.icmp_type.as_ref());
        self.field("code", e.code.as_ref(), a.code.as_ref());
        self.field("mtu", e.mtu.as_ref(), a.mtu.as_ref());
        self.field("echoId", e.echo_id.as_ref(), a.echo_id.as_ref());
        self.field("echoSeq", e.echo_seq.as_ref(), a.echo_seq.as_ref());
        self.plain(
            "innerBytes",
            e.inner_bytes.as_ref(),
            a.inner_bytes.as_ref(),
            |n| n.to_string(),
        );
    }

    fn contents(&mut self, expected: &PacketFields, actual: &PacketFields) {
        let (e, a) = (expected, actual);
        if let Some(options) = &e.options {
            let held = a.options.clone().unwrap_or_default();
            let pairs = [
                ("options.ip", &options.ip, &held.ip),
                ("options.tcp", &options.tcp, &held.tcp),
            ];
            for (name, wanted, held) in pairs {
                let padded = wanted.clone().map(|mut hex| {
                    hex.0.resize(hex.0.len().next_multiple_of(4), 0);
                    hex
                });
                self.plain(name, padded.as_ref(), held.as_ref(), ToString::to_string);
            }
        }
        match (&e.payload, &a.payload) {
            (Some(wanted), Some(held)) => {
                let same = match wanted {
                    Payload::Length(length) => held.bytes().len() == *length,
                    Payload::Bytes(bytes) => held.bytes() == *bytes,
                };
                if !same {
                    self.differs("payload", held, wanted);
                }
            }
            (Some(wanted), None) => self.differs("payload", "absent", wanted),
            (None, _) => {}
        }
        if e.checksum == Some(ChecksumKind::Zero) && a.checksum != e.checksum {
            self.differs("checksum", "not zero", "zero");
        }
    }
}

/// What differs between the fields that are expected and those that came out; `$names` seen first are bound.
pub(crate) fn compare(
    expected: &PacketFields,
    actual: &PacketFields,
    bindings: &mut Bindings,
) -> Vec<String> {
    let mut differences = Vec::new();
    compare_into("", expected, actual, bindings, &mut differences);
    differences
}

fn compare_into(
    prefix: &str,
    expected: &PacketFields,
    actual: &PacketFields,
    bindings: &mut Bindings,
    differences: &mut Vec<String>,
) {
    let mut comparison = Comparison {
        prefix,
        bindings,
        differences,
    };
    comparison.headers(expected, actual);
    comparison.transport(expected, actual);
    comparison.contents(expected, actual);
    if let Some(inner) = &expected.inner {
        match &actual.inner {
            Some(quoted) => {
                let prefix = format!("{prefix}inner ");
                compare_into(&prefix, inner, quoted, bindings, differences);
            }
            None => comparison.differs("inner", "absent", "a quoted packet"),
        }
    }
}
