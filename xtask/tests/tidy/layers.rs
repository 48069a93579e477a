//! Who may know whom inside `portolan`.
//!
//! The hot path knows nothing of the control plane: an appliance that fills service tables by
//! itself links neither model nor plan.

use std::collections::BTreeSet;

use super::sources;

/// A module, and the modules it may use beside itself.
const MAY_USE: [(&str, &[&str]); 18] = [
    ("net", &[]),
    ("sync", &["net"]),
    ("table", &["net", "sync"]),
    ("packet", &["net"]),
    ("service", &["net", "sync", "table"]),
    // `packet` for the segments and chunks that a connection's state follows.
    ("conntrack", &["net", "sync", "table", "packet"]),
    ("dataplane", HOT),
    (
        "driver",
        &[
            "net",
            "sync",
            "table",
            "packet",
            "service",
            "conntrack",
            "dataplane",
        ],
    ),
    ("phy", &["net", "dataplane"]),
    ("model", &["net"]),
    // `service` for the form that a plan is compiled into.
    ("plan", &["net", "model", "service"]),
    // `dataplane` because a node's changes are published there.
    ("node", &["net", "model", "plan", "service", "dataplane"]),
    // These two look on: nobody but the command and the C interface uses them.
    ("health", &["net", "model", "plan", "node"]),
    (
        "metrics",
        &["net", "model", "plan", "node", "service", "dataplane"],
    ),
    // `plan` for the node's own description, which is decoded like an object.
    ("k8s", &["net", "model", "plan", "service"]),
    // `k8s` for whole objects, which are what is validated and kept.
    ("api", &["net", "model", "k8s"]),
    // `sync` for answering threads, `node` because its objects are followed.
    ("dns", &["net", "sync", "model", "node"]),
    // `service` for what a plan is compiled into, `node` to follow it.
    ("nft", &["net", "model", "plan", "service", "node"]),
];

/// All that a packet meets.
const HOT: &[&str] = &["net", "sync", "table", "packet", "service", "conntrack"];

#[test]
fn no_layer_knows_one_above_it() {
    let mut broken = Vec::new();
    for source in sources::all() {
        let Some(path) = source.path.strip_prefix("core/src/") else {
            continue;
        };
        let Some((layer, _)) = path.split_once('/') else {
            continue;
        };
        // The command stands on everything; tests build their packets by other layers' means.
        if layer == "bin" || path.ends_with("/tests.rs") || path.contains("/tests/") {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(name, _)| *name == layer);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{layer} has no place in MAY_USE"));
        for (line, code) in code_outside_tests(&source.text) {
            for used in modules_named(code) {
                if used != layer && !allowed.contains(&used.as_str()) {
                    broken.push(format!("core/src/{path}:{line}: {layer} uses {used}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Statements with the number of their first line, up to the file's `#[cfg(test)]`. A `use` that
/// spans lines is one statement.
fn code_outside_tests(text: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        let code = line.split_once("//").map_or(line, |(code, _)| code);
        match statements.last_mut() {
            Some((_, statement)) if open => statement.push_str(code),
            _ => statements.push((number, code.to_owned())),
        }
        let begins = code
            .trim_start()
            .trim_start_matches("pub ")
            .starts_with("use crate::{");
        open = (open || begins) && !code.contains(';');
    }
    statements
}

/// The modules of this crate that a statement names: `crate::net::Tuple`, `crate::{net, table::X}`.
fn modules_named(code: impl AsRef<str>) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for after in code.as_ref().split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(group) => modules.extend(group_heads(group)),
            None => modules.extend(head(after)),
        }
    }
    modules
}

/// The first path segment of each part of a `use` group, nested groups left aside.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut parts = vec![String::new()];
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                if depth == 0
                    && let Some(part) = parts.last_mut()
                {
                    part.push(letter);
                }
            }
        }
    }
    parts.iter().filter_map(|part| head(part.trim())).collect()
}

/// The module a path begins with; types and functions of the root do not count.
fn head(path: &str) -> Option<String> {
    let word = path
        .split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .next()?;
    let is_module = MAY_USE.iter().any(|(module, _)| *module == word);
    is_module.then(|| word.to_owned())
}

#[test]
fn a_use_of_several_modules_names_them_all() {
    let code = "use crate::{net::{Tuple, plan}, table, service::spec::ServiceSpec};";
    let named: Vec<_> = modules_named(code).into_iter().collect();
    assert_eq!(named, ["net", "service", "table"]);
}

#[test]
fn a_use_that_spans_lines_is_read_whole() {
    let text = "use crate::{\n    net,\n    model::Node,\n};\nfn f() {}\n";
    let (line, first) = code_outside_tests(text).remove(0);
    assert_eq!((line, modules_named(first).len()), (1, 2));
}
