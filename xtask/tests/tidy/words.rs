//! What must not stand in a file, and files that nothing mentions.

use std::fs;

use super::sources;

/// Where `unsafe` may stand; each block there says who guarantees what it takes for granted.
const UNSAFE: [(&str, &str); 8] = [
    (
        "core/src/sync/",
        "tables read while the next version is written",
    ),
    ("core/src/driver/", "system calls"),
    ("core/src/nft/netlink/sys.rs", "system calls"),
    ("core/src/table/prefetch.rs", "the prefetch instruction"),
    ("core/src/table/tags.rs", "vector instructions"),
    ("core/tests/", "counting allocators"),
    ("benches/", "counting allocators, processor counters"),
    ("ffi/", "pointers from C"),
];

#[test]
fn unsafe_stands_only_where_it_is_listed() {
    let mut broken = Vec::new();
    for source in sources::all() {
        if UNSAFE
            .iter()
            .any(|(place, _)| source.path.starts_with(place))
        {
            continue;
        }
        for (line, code) in source.code() {
            if words(&code).any(|word| word == "unsafe") {
                broken.push(format!("{}:{line}: {}", source.path, code.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn nothing_is_left_to_be_done_later() {
    let banned = ["TO DO", "FIX ME", "XX X", "to do!(", "unimple mented!("];
    let banned = banned.map(|word| word.replace(' ', ""));
    let mut broken = Vec::new();
    for source in sources::all() {
        for (line, text) in (1..).zip(source.text.lines()) {
            if banned.iter().any(|word| text.contains(word)) {
                broken.push(format!("{}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_file_is_part_of_a_module_tree() {
    let sources = sources::all();
    let mut broken = Vec::new();
    for source in &sources {
        let Some((directory, file)) = source.path.rsplit_once('/') else {
            continue;
        };
        if is_root_of_a_tree(directory, file) {
            continue;
        }
        let (parent, name) = if file == "mod.rs" {
            directory.rsplit_once('/').unwrap()
        } else {
            (directory, file.trim_end_matches(".rs"))
        };
        let declaration = format!("mod {name};");
        let homes = ["mod.rs", "lib.rs", "main.rs"].map(|home| format!("{parent}/{home}"));
        let declared = sources.iter().any(|other| {
            let is_home = homes.contains(&other.path) || other.path == format!("{parent}.rs");
            let by_path = other.text.contains(&format!("{name}.rs\"]"));
            // A test or an example of one file has its modules beside it.
            let beside = other
                .path
                .rsplit_once('/')
                .is_some_and(|(place, _)| place == parent);
            (is_home || by_path || beside)
                && other
                    .code()
                    .any(|(_, code)| code.trim().ends_with(&declaration))
        });
        if !declared {
            broken.push(format!("{}: no `{declaration}`", source.path));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Files that cargo finds by itself.
fn is_root_of_a_tree(directory: &str, file: &str) -> bool {
    let inside = directory.split_once('/').map_or("", |(_, inside)| inside);
    let targets = ["tests", "examples", "benches", "src/bin", ""];
    targets.contains(&inside) || ["main.rs", "lib.rs", "build.rs"].contains(&file)
}

#[test]
fn the_readme_names_the_version_that_cargo_does() {
    let manifest = fs::read_to_string(sources::root().join("Cargo.toml")).unwrap();
    let version = manifest
        .split("version = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let readme = fs::read_to_string(sources::root().join("README.md")).unwrap_or_default();
    for line in readme.lines().filter(|line| line.contains("portolan")) {
        for word in line.split(|letter: char| !(letter.is_ascii_digit() || letter == '.')) {
            let numbers: Vec<_> = word.split('.').collect();
            if numbers.len() == 3 && numbers.iter().all(|number| !number.is_empty()) {
                assert_eq!(word, version, "README.md: {line}");
            }
        }
    }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
}
