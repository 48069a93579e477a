//! The walks through the code lead to files that are there, and the design's decisions can be told apart.

use super::sources::root;
use std::fs;
use std::path::Path;

#[test]
fn every_file_that_the_walks_name_is_there() {
    let walks = fs::read_to_string(root().join("docs/walks.md")).expect("docs/walks.md");
    let mut files = Vec::new();
    for directory in ["core", "ffi", "bindings-go"] {
        list(&root().join(directory), &mut files);
    }
    // Every other piece between backticks is one; a file is named by the end of its path.
    let named = walks.split('`').skip(1).step_by(2);
    let named = named.filter(|name| name.ends_with(".rs") || name.ends_with(".go"));
    let mut count = 0;
    for name in named {
        count += 1;
        let end = format!("/{name}");
        assert!(
            files.iter().any(|file| file.ends_with(&end)),
            "docs/walks.md: there is no {name}"
        );
    }
    assert!(count > 100, "docs/walks.md names {count} files");
}

#[test]
fn decisions_are_numbered_in_their_order() {
    let design = fs::read_to_string(root().join("docs/design.md")).expect("docs/design.md");
    let numbers = design.lines().filter_map(|line| {
        let (number, _) = line.strip_prefix("## D")?.split_once(". ")?;
        number.parse::<usize>().ok()
    });
    let numbers: Vec<_> = numbers.collect();
    assert!(numbers.len() > 20, "{numbers:?}");
    assert!(
        numbers.iter().copied().eq(1..=numbers.len()),
        "docs/design.md: {numbers:?}"
    );
}

fn list(directory: &Path, files: &mut Vec<String>) {
    let entries = fs::read_dir(directory).into_iter().flatten();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path.to_string_lossy().into_owned());
        }
    }
}
