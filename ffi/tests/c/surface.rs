//! The shared library's surface: what it exports, and what it is called.

use std::fs;
use std::process::Command;

use super::build::{libraries, package, run};

#[test]
fn the_shared_library_exports_what_was_agreed_and_nothing_else() {
    let library = libraries().join("libportolan.so");
    let output = run(Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(library));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut exported: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    exported.sort_unstable();
    let agreed = fs::read_to_string(package().join("package/symbols.txt")).unwrap();
    let agreed: Vec<_> = agreed.lines().collect();
    assert_eq!(
        exported, agreed,
        "package/symbols.txt is the agreed list; what was removed never comes back with another meaning"
    );
}

#[test]
fn the_shared_library_has_a_soname() {
    let library = libraries().join("libportolan.so");
    let output = run(Command::new("readelf").arg("-d").arg(library));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("[libportolan.so.0.1]"), "{text}");
}

#[test]
fn every_function_of_the_header_says_what_it_is_and_since_when() {
    let header = fs::read_to_string(package().join("../include/portolan.h")).unwrap();
    let agreed = fs::read_to_string(package().join("package/symbols.txt")).unwrap();
    for symbol in agreed.lines() {
        let declares = |line: &str| {
            line.contains(&format!("{symbol}("))
                && line.starts_with(|first: char| first.is_ascii_lowercase())
        };
        let lines: Vec<&str> = header.lines().collect();
        let at = lines.iter().position(|line| declares(line));
        let before = &lines[..at.unwrap_or_else(|| panic!("{symbol} is not declared"))];
        let start = before.iter().rposition(|line| line.starts_with("/*"));
        let comment = before[start.unwrap_or_default()..]
            .join(" ")
            .replace(" * ", "");
        let ends = comment.trim_end().ends_with("*/");
        assert!(ends && comment.contains("Since 0."), "{symbol}: {comment}");
    }
}
