//! An HTTP answer as values: whoever has a socket writes it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

/// What a probe is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status: 200 or 503 (RFC 9110, 15).
    pub status: u16,
    /// Names and values of header fields, except those about the message itself (`Content-Length`).
    pub headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub body: String,
}

impl Answer {
    /// 200 if all is well, 503 if not, with a body of JSON.
    pub(super) fn json(well: bool, body: String) -> Self {
        let headers = [
            ("Content-Type", "application/json"),
            ("X-Content-Type-Options", "nosniff"),
        ];
        Self {
            status: if well { 200 } else { 503 },
            headers: headers
                .into_iter()
                .map(|(name, value)| (name, value.to_string()))
                .collect(),
            body,
        }
    }
}

/// Appends a JSON string (RFC 8259, 7).
pub(super) fn quote(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            control if u32::from(control) < 0x20 => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
