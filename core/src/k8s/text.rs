//! One JSON value as text: objects and lists are read straight into the API's types.
//!
//! A parsed tree of values takes ten times the memory of its text, and lists are long. Whatever is not plainly sound
//! goes the way of values (`item`), which says what is wrong.

use super::findings::{About, Findings};
use super::item::{self, Typed};
use super::source::Place;
use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use serde::Deserialize;
use serde_json::Deserializer;
use serde_json::value::RawValue;

/// Lists in lists in lists are read this deep; deeper ones as values, whose depth is bounded.
const MAX_LISTS: usize = 4;

/// What says which way a text goes.
#[derive(Debug, Deserialize)]
struct Head<'a> {
    #[serde(borrow, default, rename = "apiVersion")]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    items: Option<&'a RawValue>,
}

/// Adds what one text of JSON holds to the findings.
pub(super) fn decode(text: &RawValue, place: Place<'_>, findings: &mut Findings) {
    decode_as(text.get(), None, MAX_LISTS, place, findings);
}

fn decode_as(
    text: &str,
    default: Option<(&str, &str)>,
    lists: usize,
    place: Place<'_>,
    findings: &mut Findings,
) {
    if try_decode(text, default, lists, place, findings).is_none() {
        match serde_json::from_str(text) {
            Ok(value) => item::decode_as(value, default, place, findings),
            Err(error) => findings.reject(place, "", super::json::rule(&error)),
        }
    }
}

/// Reads what is plainly sound; `None`, and nothing said, if the text is not.
fn try_decode(
    text: &str,
    default: Option<(&str, &str)>,
    lists: usize,
    place: Place<'_>,
    findings: &mut Findings,
) -> Option<()> {
    if text.starts_with('[') {
        return try_items(text, default, lists, place, findings);
    }
    let head: Head<'_> = serde_json::from_str(text).ok()?;
    let kind = head.kind.as_deref().or(default.map(|(_, kind)| kind))?;
    let version = head
        .version
        .as_deref()
        .or(default.map(|(version, _)| version));
    match (kind.strip_suffix("List"), head.items) {
        (Some(of_items), Some(items)) => {
            let default = Some((version.unwrap_or_default(), of_items));
            let default = default.filter(|_| !of_items.is_empty());
            try_items(items.get(), default, lists, place, findings)
        }
        (Some(_), None) => None,
        (None, _) => try_object(text, kind, version?, findings),
    }
}

fn try_items(
    text: &str,
    default: Option<(&str, &str)>,
    lists: usize,
    place: Place<'_>,
    findings: &mut Findings,
) -> Option<()> {
    let lists = lists.checked_sub(1)?;
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    for (index, item) in items.iter().enumerate() {
        decode_as(item.get(), default, lists, place.item(index), findings);
    }
    Some(())
}

/// Reads an object that is served and whose names and types are sound.
fn try_object(text: &str, kind: &str, version: &str, findings: &mut Findings) -> Option<()> {
    // Whole objects go the way of values: they are few where they are wanted.
    if findings.wants_resources() {
        return None;
    }
    let kind = item::served(kind).filter(|&kind| item::api_version(kind) == version)?;
    let mut reader = Deserializer::from_str(text);
    let typed = Typed::read(kind, &mut reader).ok()?;
    let metadata = typed.metadata();
    let (name, namespace) = (metadata.name.as_deref(), metadata.namespace.as_deref());
    let key = item::checked_key(kind, name, namespace).ok()?;
    let name = format!("{kind} {key}");
    let mut about = About {
        object: &name,
        findings,
    };
    typed.convert(key, &mut about);
    Some(())
}
