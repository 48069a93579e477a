//! One input as a run of parsed values, each with the place where it stood.
//!
//! Documents are cut apart before anything is parsed, so that a broken one costs no other: YAML forbids the markers
//! `---` and `...` at the beginning of a line inside any document (YAML 1.2.2, rule 206), and a line of JSON cannot
//! begin with one.

use super::findings::Findings;
use super::{MAX_BYTES, item, json, yaml};
use alloc::format;
use core::fmt;

/// What looks like JSON and is none is tried as YAML up to this size, in bytes: nobody writes more in braces by hand.
const MAX_FLOW_YAML: usize = 1 << 20;

/// Where in the input a value stood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    source: &'a str,
    line: Option<usize>,
    item: Option<usize>,
}

impl<'a> Place<'a> {
    /// `line` counts from 1.
    pub(super) const fn of_line(source: &'a str, line: usize) -> Self {
        Self {
            source,
            line: Some(line),
            item: None,
        }
    }

    /// A value that did not come from bytes.
    pub(super) const fn of_value(source: &'a str) -> Self {
        Self {
            source,
            line: None,
            item: None,
        }
    }

    /// The place of one item of the list that stands here.
    pub(super) const fn item(self, index: usize) -> Self {
        Self {
            item: Some(index),
            ..self
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(item) = self.item {
            write!(f, " items[{item}]")?;
        }
        Ok(())
    }
}

/// A syntax error, and its line in the text parsed, counting from 0.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) rule: alloc::string::String,
}

/// Decodes every value in `bytes`; what cannot be parsed is rejected by its place.
pub(super) fn read(bytes: &[u8], findings: &mut Findings) {
    let source = alloc::string::String::from(findings.source());
    if bytes.len() > MAX_BYTES {
        let rule = format!(
            "{} bytes are too many: must be at most {MAX_BYTES}",
            bytes.len()
        );
        findings.reject(&source, "", rule);
        return;
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut line = 1;
    for (document, end_marker) in Documents(bytes) {
        if let Some(blank_lines) = lines_before_content(document) {
            let place = Place::of_line(&source, line + blank_lines);
            read_document(document, line, place, findings);
        }
        line += newlines(document) + newlines(end_marker);
    }
}

/// JSON if it looks like it and its first value is; else YAML, of which flow mappings look like JSON too.
fn read_document(document: &[u8], first_line: usize, place: Place<'_>, findings: &mut Findings) {
    let content = after_marker(document);
    let looks_like_json = matches!(content.trim_ascii_start().first(), Some(b'{' | b'['));
    let json_error = if looks_like_json {
        match json::read(content, first_line, place.source, findings) {
            Ok(()) => return,
            Err(error) => Some(error),
        }
    } else {
        None
    };
    if let Some(error) = json_error
        .as_ref()
        .filter(|_| document.len() > MAX_FLOW_YAML)
    {
        let place = Place::of_line(place.source, first_line + error.line);
        findings.reject(place, "", &error.rule);
        return;
    }
    match yaml::parse(document) {
        Ok(value) => item::decode(value, place, findings),
        Err(error) => {
            let error = json_error.unwrap_or(error);
            let place = Place::of_line(place.source, first_line + error.line);
            findings.reject(place, "", error.rule);
        }
    }
}

/// Number of line ends.
pub(super) fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// Is this line the marker, alone or before blanks?
fn is_marker(line: &[u8], marker: &[u8; 3]) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

fn after_marker(document: &[u8]) -> &[u8] {
    if is_marker(document, b"---") {
        document.get(3..).unwrap_or_default()
    } else {
        document
    }
}

/// How many lines of comments, blanks and directives stand before content; `None` if there is none.
fn lines_before_content(document: &[u8]) -> Option<usize> {
    document.split(|&byte| byte == b'\n').position(|line| {
        let line = after_marker(line).trim_ascii();
        !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b"%")
    })
}

/// Documents of a stream, each with the line that ended it, which is empty if there was none. A document begins at
/// its marker `---`, if it has one, and ends before the next one or before a line `...`.
struct Documents<'a>(&'a [u8]);

impl<'a> Iterator for Documents<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let mut end = 0;
        let mut end_marker = 0;
        while let Some(rest) = self.0.get(end..).filter(|rest| !rest.is_empty()) {
            if end > 0 && is_marker(rest, b"---") {
                break;
            }
            if is_marker(rest, b"...") {
                end_marker = line_len(rest);
                break;
            }
            end += line_len(rest);
        }
        let (document, rest) = self.0.split_at_checked(end)?;
        let (end_marker, rest) = rest.split_at_checked(end_marker)?;
        self.0 = rest;
        Some((document, end_marker))
    }
}

/// Length of the first line, its end included.
fn line_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(bytes.len(), |end| end + 1)
}
