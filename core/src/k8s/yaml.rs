//! One YAML document as a value.
//!
//! YAML 1.2's core schema: `no` and `on` are strings, unlike in YAML 1.1. Duplicate keys are errors. Depth, aliases
//! and what they expand to are bounded.

use super::MAX_BYTES;
use super::source::SyntaxError;
use alloc::format;
use alloc::string::ToString;
use core::str;
use serde_json::Value;
use serde_saphyr::{Options, SnippetMode, UserMessageFormatter};

/// The deepest nesting read; no Kubernetes object comes near.
const MAX_DEPTH: usize = 64;

/// The most values and keys that one document's aliases may expand to.
const MAX_ALIAS_EXPANSION: usize = 100_000;

pub(super) fn parse(document: &[u8]) -> Result<Value, SyntaxError> {
    let text = str::from_utf8(document).map_err(|error| SyntaxError {
        line: super::source::newlines(document.get(..error.valid_up_to()).unwrap_or_default()),
        rule: "must be UTF-8".to_string(),
    })?;
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| syntax_error(&error))
}

/// The library's words without its places, which count from the document's beginning.
fn syntax_error(error: &serde_saphyr::Error) -> SyntaxError {
    let options = serde_saphyr::render_options! {
        formatter: &UserMessageFormatter,
        snippets: SnippetMode::Off,
    };
    let text = error.without_snippet().render_with_options(options);
    let text = text.split(" (defined at line ").next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or_default();
    let (line, column) = error
        .location()
        .map_or((1, 1), |at| (at.line(), at.column()));
    SyntaxError {
        line: usize::try_from(line)
            .unwrap_or(usize::MAX)
            .saturating_sub(1),
        rule: format!("cannot be read as YAML: {text} (column {column})"),
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_events: MAX_BYTES,
            max_nodes: MAX_BYTES,
            max_total_scalar_bytes: MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_ALIAS_EXPANSION,
            max_replay_stack_depth: MAX_DEPTH,
        },
    }
}
