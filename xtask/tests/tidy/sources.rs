//! The workspace's Rust files, as text.

use std::fs;
use std::path::{Path, PathBuf};

/// Packages and what is looked at in them.
const ROOTS: [&str; 4] = ["core", "ffi", "benches", "xtask"];

/// One file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path below the workspace's root, with `/`.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

impl Source {
    /// Its lines, numbered from 1, without comments and what stands between quotes.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, String)> {
        let bare = |line| {
            without_comment(line)
                .split('"')
                .step_by(2)
                .collect::<Vec<_>>()
                .concat()
        };
        (1..).zip(self.text.lines().map(bare))
    }
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file of the workspace, in order.
pub(crate) fn all() -> Vec<Source> {
    let mut found = Vec::new();
    for package in ROOTS {
        collect(&root().join(package), package, &mut found);
    }
    assert!(
        found.len() > 20,
        "only {} files found: is the root right?",
        found.len()
    );
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn collect(directory: &Path, path: &str, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{path}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if name != "target" {
                collect(&entry.path(), &path, found);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            found.push(Source { path, text });
        }
    }
}

/// A line without its comment. (`//` inside a string counts as one: nothing here minds.)
fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

#[test]
fn comments_are_not_code() {
    assert_eq!(without_comment("let a = 1; // unsafe"), "let a = 1; ");
    assert_eq!(without_comment("/// crate::plan"), "");
}
