//! What has been found so far: objects, what was wrong, and what is not ours.

use super::{Decoded, MAX_REJECTIONS, Resource, Resources};
use crate::model::{Object, Rejection};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display, Write};

/// The longest text of one part of a rejection, in characters; longer ones end in an ellipsis.
const MAX_TEXT: usize = 240;

/// The longest value repeated in a rule, in characters.
const MAX_QUOTED: usize = 64;

/// Collects what a call of [`super::decode`] returns, within bounds.
#[derive(Debug)]
pub(super) struct Findings {
    source: String,
    decoded: Decoded,
    /// Whole objects, if these are wanted instead.
    resources: Option<Vec<Resource>>,
    unknown: Vec<Rejection>,
    unreported: usize,
}

impl Findings {
    pub(super) fn new(source: &str) -> Self {
        Self {
            source: clean(source),
            decoded: Decoded::default(),
            resources: None,
            unknown: Vec::new(),
            unreported: 0,
        }
    }

    /// Collects what a call of [`super::decode_resources`] returns.
    pub(super) fn of_resources(source: &str) -> Self {
        Self {
            resources: Some(Vec::new()),
            ..Self::new(source)
        }
    }

    /// Are whole objects wanted?
    pub(super) const fn wants_resources(&self) -> bool {
        self.resources.is_some()
    }

    pub(super) fn resource(&mut self, resource: Resource) {
        self.resources.get_or_insert_default().push(resource);
    }

    /// The name of the input.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn object(&mut self, object: Object) {
        self.decoded.objects.push(object);
    }

    pub(super) fn ignore(&mut self, object: &str) {
        self.decoded.ignored.push(clean(object));
    }

    pub(super) fn reject(&mut self, object: impl Display, field: impl Display, rule: impl Display) {
        if self.decoded.rejections.len() < MAX_REJECTIONS {
            self.decoded.rejections.push(Rejection {
                object: clean(object),
                field: clean(field),
                rule: clean(rule),
            });
        } else {
            self.unreported = self.unreported.saturating_add(1);
        }
    }

    /// A field that the API does not have.
    pub(super) fn unknown_field(&mut self, object: &str, field: &str) {
        if self.unknown.len() < MAX_REJECTIONS {
            self.unknown.push(Rejection {
                object: clean(object),
                field: clean(field),
                rule: "unknown field".to_string(),
            });
        }
    }

    pub(super) fn finish_resources(mut self) -> Resources {
        let resources = self.resources.take().unwrap_or_default();
        let unknown = core::mem::take(&mut self.unknown);
        let decoded = self.finish();
        Resources {
            resources,
            rejections: decoded.rejections,
            ignored: decoded.ignored,
            unknown,
        }
    }

    pub(super) fn finish(self) -> Decoded {
        let mut decoded = self.decoded;
        if self.unreported > 0 {
            decoded.rejections.push(Rejection {
                object: self.source,
                field: String::new(),
                rule: alloc::format!(
                    "{} more rejections: only the first {MAX_REJECTIONS} are reported",
                    self.unreported
                ),
            });
        }
        decoded
    }
}

/// What is being said of one object: the findings, and the object's name.
#[derive(Debug)]
pub(super) struct About<'a> {
    pub(super) object: &'a str,
    pub(super) findings: &'a mut Findings,
}

impl About<'_> {
    pub(super) fn reject(&mut self, field: impl Display, rule: impl Display) {
        self.findings.reject(self.object, field, rule);
    }
}

/// A value as a rule repeats it: quoted, escaped, and cut if long.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for (index, character) in self.0.chars().enumerate() {
            if index == MAX_QUOTED {
                f.write_char('…')?;
                break;
            }
            write!(f, "{}", character.escape_debug())?;
        }
        f.write_char('"')
    }
}

/// Text fit for a terminal: control characters as spaces, and cut if long. Names in hostile input are hostile too.
fn clean(text: impl Display) -> String {
    let mut text = text.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    if text.contains(char::is_control) {
        text = text.replace(char::is_control, " ");
    }
    text
}
