//! JSON values one after another.
//!
//! A broken value costs no other: reading goes on at the next line that begins with `{`, as each value of JSON Lines
//! does, and as the values that tools print one after another do.

use super::findings::Findings;
use super::source::{Place, SyntaxError, newlines};
use super::text;
use alloc::format;
use alloc::string::{String, ToString};
use serde_json::Deserializer;
use serde_json::value::RawValue;

/// Broken values may cost reading the document so many times over; then its rest is given up.
const MAX_REREADS: usize = 8;

/// Decodes each value. An error in the first one is returned, and nothing has been found then: the text may be no
/// JSON at all.
pub(super) fn read(
    bytes: &[u8],
    first_line: usize,
    source: &str,
    findings: &mut Findings,
) -> Result<(), SyntaxError> {
    let mut rest = bytes;
    let mut line = first_line;
    let mut first = true;
    let mut reread = 0_usize;
    loop {
        let blanks = rest.len() - rest.trim_ascii_start().len();
        let (skipped, value) = rest.split_at_checked(blanks).unwrap_or((&[], rest));
        line += newlines(skipped);
        let mut values = Deserializer::from_slice(value).into_iter::<&RawValue>();
        let consumed = match values.next() {
            None => return Ok(()),
            Some(Ok(parsed)) => {
                text::decode(parsed, Place::of_line(source, line), findings);
                values.byte_offset()
            }
            Some(Err(error)) => {
                let next = next_object(value);
                if first && next.is_none() {
                    return Err(syntax_error(&error, line - first_line));
                }
                reread = reread.saturating_add(offset_of(value, &error));
                let error = syntax_error(&error, line);
                findings.reject(Place::of_line(source, error.line), "", error.rule);
                match next {
                    None => return Ok(()),
                    Some(offset) if reread / MAX_REREADS <= bytes.len() => offset,
                    Some(_) => {
                        let rule = "too many broken values: the rest of the document is not read";
                        findings.reject(Place::of_line(source, line), "", rule);
                        return Ok(());
                    }
                }
            }
        };
        first = false;
        line += newlines(value.get(..consumed).unwrap_or_default());
        rest = value.get(consumed..).unwrap_or_default();
    }
}

/// Offset of the next line that begins with `{`.
fn next_object(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(2)
        .position(|pair| pair == b"\n{")
        .map(|at| at + 1)
}

/// How much of `bytes` was read when the error was met.
fn offset_of(bytes: &[u8], error: &serde_json::Error) -> usize {
    let line_start: usize = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    line_start + error.column()
}

fn syntax_error(error: &serde_json::Error, first_line: usize) -> SyntaxError {
    SyntaxError {
        line: first_line + error.line().saturating_sub(1),
        rule: rule(error),
    }
}

/// The library's words without its line, which counts from the value's beginning.
pub(super) fn rule(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    format!("cannot be read as JSON: {text} (column {})", error.column())
}
