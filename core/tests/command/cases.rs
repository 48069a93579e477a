//! The project's own case files: they pass, they are many enough, and each of their expectations can fail.

use super::check::{check, good_files, last_line};
use super::directory;
use super::kernel_kills::Namespace;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn texts(kind: &str) -> Vec<(PathBuf, String)> {
    let files = good_files().into_iter();
    files
        .filter(|file| file.parent().is_some_and(|parent| parent.ends_with(kind)))
        .map(|file| {
            let text = fs::read_to_string(&file).expect("readable");
            (file, text)
        })
        .collect()
}

/// Lines of one kind's files that state an expectation.
fn expectations(kind: &str) -> Vec<String> {
    let texts = texts(kind);
    let lines = texts.iter().flat_map(|(_, text)| text.lines());
    lines
        .filter(|line| line.contains("expect: {"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn all_of_them_pass() {
    let finished = check("", &good_files());
    assert_eq!(finished.status, 0, "{}", finished.stdout);
    let counts = last_line(&finished.stdout);
    assert!(counts.ends_with(" passed, 0 failed, 0 skipped"), "{counts}");
}

#[test]
fn the_kernels_tables_hold_to_those_of_flows() {
    if Namespace::new("flows").is_none() {
        eprintln!("SKIPPED: no network namespace (ip netns add)");
        return;
    }
    let files = good_files().into_iter();
    let flows: Vec<_> = files
        .filter(|file| file.parent().is_some_and(|kind| kind.ends_with("flows")))
        .collect();
    let finished = check("--backend nftables", &flows);
    assert_eq!(finished.status, 0, "{}", finished.stdout);
    let counts = last_line(&finished.stdout);
    let (passed, others) = counts.split_once(" passed, 0 failed, ").expect("counts");
    let skipped = others.strip_suffix(" skipped").expect("counts");
    let [passed, skipped] = [passed, skipped].map(|count| count.parse::<u32>().expect("a count"));
    // Some end at the node itself, or would have to be waited for.
    assert!(passed >= 1_000 && skipped <= 110, "{counts}");
}

#[test]
fn each_has_a_name_of_its_own_and_there_are_at_least_190_of_flows_and_70_of_packets() {
    for (kind, least_cases, least_expectations) in [("flows", 190, 840), ("packets", 70, 740)] {
        let texts = texts(kind);
        let names: Vec<_> = texts
            .iter()
            .flat_map(|(_, text)| text.lines())
            .filter_map(|line| line.strip_prefix("- name: "))
            .collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "two {kind} cases of one name");
        assert!(names.len() >= least_cases, "{} {kind} cases", names.len());
        let stated = expectations(kind).len();
        assert!(stated >= least_expectations, "{stated} {kind} expectations");
    }
}

#[test]
fn names_of_dns_are_asked_for_at_least_190_times() {
    let texts = texts("dns");
    let queries: usize = texts
        .iter()
        .map(|(_, text)| text.matches("qname: ").count())
        .sum();
    assert!(queries >= 190, "{queries} queries");
}

#[test]
fn every_verdict_is_expected_of_every_protocol_in_both_families() {
    let flows = expectations("flows");
    for protocol in ["TCP", "UDP", "SCTP"] {
        for verdict in ["forward", "reject", "drop", "pass"] {
            for source in ["src: '", "src: 1"] {
                let found = flows.iter().any(|flow| {
                    flow.contains(source)
                        && flow.contains(&format!("proto: {protocol}"))
                        && flow.contains(&format!("verdict: {verdict}"))
                });
                assert!(found, "no case: {protocol}, {verdict}, {source}");
            }
        }
    }
}

/// The same expectation with another verdict, fate or count, which cannot hold.
fn contradicted(line: &str) -> String {
    for (said, instead) in [
        ("verdict: forward", "verdict: drop"),
        ("verdict: reject", "verdict: pass"),
        ("verdict: reply", "verdict: pass"),
        ("verdict: drop", "verdict: forward"),
        ("verdict: pass", "verdict: drop"),
        ("expect: deleted", "expect: kept"),
        ("expect: kept", "expect: deleted"),
        ("localEndpoints: ", "localEndpoints: 9"),
        // No code has such a name.
        ("rcode: ", "rcode: not-"),
        ("allow: [", "allow: [not-"),
    ] {
        if line.contains(said) {
            return line.replace(said, instead);
        }
    }
    line.to_owned()
}

#[test]
fn with_everything_contradicted_every_expectation_fails() {
    let directory = directory("contradicted-case-files");
    let mut files = Vec::new();
    for kind in ["flows", "packets", "dns"] {
        for (file, text) in texts(kind) {
            let name = file.file_name().expect("a file").to_string_lossy();
            let wrong: Vec<_> = text.lines().map(contradicted).collect();
            let path = directory.join(format!("{kind}-{name}"));
            fs::write(&path, wrong.join("\n")).expect("writable");
            files.push(path);
        }
    }
    let finished = check("", &files);
    let counts = last_line(&finished.stdout);
    let all_failed = counts.starts_with("0 passed, ") && counts.ends_with(" failed, 0 skipped");
    assert!(all_failed && finished.status == 1, "{counts}");
}
