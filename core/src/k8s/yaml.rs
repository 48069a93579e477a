//! One YAML document as a value.
//!
//! YAML 1.2's core schema: `no` and `on` are strings, unlike in YAML 1.1. Duplicate keys are errors. Depth, aliases
//! and what they expand to are bounded.

use super::MAX_BYTES;
use super::source::SyntaxError;
use alloc::string::ToString;
use core::str;
use serde_json::Value;
use serde_saphyr::{Options, SnippetMode};

/// The deepest nesting read; no Kubernetes object comes near.
const MAX_DEPTH: usize = 64;

/// The most values and keys that one document's aliases may expand to.
const MAX_ALIAS_EXPANSION: usize = 100_000;

pub(super) fn parse(document: &[u8]) -> Result<Value, SyntaxError> {
    let text = str::from_utf8(document).map_err(|error| SyntaxError {
        line: super::source::newlines(document.get(..error.valid_up_to()).unwrap_or_default()),
        rule: "must be UTF-8".to_string(),
    })?;
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| SyntaxError {
        line: error
            .location()
            .and_then(|at| usize::try_from(at.line()).ok())
            .map_or(0, |line| line.saturating_sub(1)),
        rule: error
            .without_snippet()
            .render_with_options(serde_saphyr::render_options! { snippets: SnippetMode::Off }),
    })
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
