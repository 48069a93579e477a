//! `portolan check`.

use super::{directory, run, test_file};
use std::fs;
use std::path::PathBuf;

/// The project's own case files.
pub(super) fn good_files() -> Vec<PathBuf> {
    let mut files: Vec<_> = ["cases/flows", "cases/packets", "cases/lb", "cases/dns"]
        .into_iter()
        .flat_map(|kind| fs::read_dir(test_file(kind)).expect("the case files are there"))
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
}

pub(super) fn check(arguments: &str, files: &[PathBuf]) -> super::Finished {
    let names: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    run(&format!("check {arguments} {}", names.join(" ")))
}

pub(super) fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn each_wrong_expectation_fails_and_is_named() {
    let finished = check("", &[test_file("command/wrong/expectations.yaml")]);
    assert_eq!(finished.status, 1);
    assert_eq!(
        last_line(&finished.stdout),
        "1 passed, 13 failed, 0 skipped"
    );
    for (expectation, expected, actual) in [
        (
            "one endpoint too few",
            "forward to 10.244.1.20:8080",
            "forward to 10.244.2.21:8080",
        ),
        (
            "one endpoint too many",
            "forward to",
            "10.244.3.22:8080 never chosen in 448 connections",
        ),
        (
            "masqueraded after all",
            "forward, not masqueraded",
            ", masqueraded",
        ),
        ("rejected instead of dropped", "drop", "type 3 code 3"),
        (
            "dropped instead of rejected",
            "reject (ICMP port unreachable)",
            "drop (UnallocatedAddress",
        ),
        ("passed instead of dropped", "drop", "pass"),
        ("one goes: TCP is kept", "deleted", "kept"),
    ] {
        let named =
            format!("expectations.yaml: mistakes-are-found: {expectation}: expected {expected}");
        let line = finished.stdout.lines().find(|line| line.contains(&named));
        let line = line.unwrap_or_else(|| panic!("{named} is not in:\n{}", finished.stdout));
        assert!(line.starts_with("FAILED "), "{line}");
        let got = line
            .split_once("; got ")
            .map(|(_, got)| got)
            .unwrap_or_default();
        assert!(got.contains(actual), "{line}");
    }
    assert!(!finished.stdout.contains("mistakes-are-found: right"));
}

#[test]
fn each_packet_that_is_not_as_expected_is_named_with_what_differs() {
    let finished = check("", &[test_file("command/wrong/packets.yaml")]);
    assert_eq!(finished.status, 1);
    assert_eq!(last_line(&finished.stdout), "1 passed, 8 failed, 0 skipped");
    for (packet, difference) in [
        ("verdict", "forward of TCP 10.244.1.9:2 -> 10.244.2.7:8080"),
        ("reason", "reason UnallocatedAddress"),
        ("field", "dport 8080 instead of 80; flags S instead of SA"),
        (
            "binding",
            "src 10.244.1.9 instead of $endpoint = 10.244.2.7",
        ),
        (
            "state",
            "connection SYN_SENT, 120 s left, original direction",
        ),
        (
            "timeout",
            "connection SYN_SENT, 120 s left, original direction",
        ),
        (
            "no connection",
            "connection SYN_SENT, 120 s left, original direction",
        ),
        ("connections", "connections instead of 1"),
    ] {
        let named = format!("packets.yaml: mistakes-are-found: {packet}: expected ");
        let line = finished.stdout.lines().find(|line| line.contains(&named));
        let line = line.unwrap_or_else(|| panic!("{named} is not in:\n{}", finished.stdout));
        assert!(line.ends_with(difference), "{line}");
    }
}

#[test]
fn json_is_one_object_for_each_expectation_with_its_tags() {
    let finished = check("--json", &[test_file("command/wrong/expectations.yaml")]);
    assert_eq!(finished.status, 1);
    let lines: Vec<_> = finished.stdout.lines().collect();
    let (last, objects) = lines.split_last().expect("there are lines");
    assert_eq!(*last, "1 passed, 13 failed, 0 skipped");
    assert_eq!(objects.len(), 14);
    for line in objects {
        let object: serde_json::Value = serde_json::from_str(line).expect("a JSON object");
        let keys: Vec<_> = object.as_object().expect("an object").keys().collect();
        let known = [
            "actual",
            "case",
            "expectation",
            "expected",
            "file",
            "status",
            "tags",
        ];
        assert_eq!(keys, known);
        assert_eq!(object["tags"], serde_json::json!(["deliberate"]));
    }
    assert!(objects[0].contains("\"status\":\"passed\""));
    assert!(objects[1].contains("\"status\":\"failed\""));
}

#[test]
fn a_filter_picks_cases_by_name() {
    let finished = check("--filter masquerade-all-masquerades", &good_files());
    assert_eq!(finished.status, 0, "{}", finished.stdout);
    assert_eq!(last_line(&finished.stdout), "3 passed, 0 failed, 0 skipped");
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_line_and_field() {
    let directory = directory("unreadable-case-files");
    let node = "node: {nodeName: alpha}";
    let flow = "src: 10.0.0.1, dst: 10.0.0.2, dport: 80, proto: TCP";
    for (name, text, said) in [
        (
            "unknown-key.yaml",
            format!("cases:\n- name: a\n  {node}\n  flowz: []\n"),
            ":4: cases[0].flowz: unknown field `flowz`",
        ),
        (
            "bad-address.yaml",
            "cases:\n- name: a\n  node:\n    nodeName: n\n    ips: [10.0.0.1, 10.0.0.256]\n"
                .to_owned(),
            ":5: cases[0].node.ips[1]: `10.0.0.256` is no IP address",
        ),
        (
            "bad-verdict.yaml",
            format!(
                "cases:\n- name: a\n  {node}\n  flows:\n  - {{{flow}, expect: {{verdict: maybe}}}}\n"
            ),
            ":5: cases[0].flows[0].expect.verdict: unknown variant `maybe`",
        ),
        (
            "bad-port.yaml",
            format!(
                "cases:\n- name: a\n  {node}\n  flows:\n  - {{src: 10.0.0.1, dst: 10.0.0.2, dport: 70000}}\n"
            ),
            ":5: cases[0].flows[0].dport: ",
        ),
        (
            "kind.yaml",
            "kind: poems\ncases: []\n".to_owned(),
            ":1: kind: `poems` is no kind of case file",
        ),
        (
            "version.yaml",
            "version: 2\ncases: []\n".to_owned(),
            ":1: version: version 2 of the format",
        ),
        ("syntax.yaml", "cases: [\n".to_owned(), "syntax.yaml:"),
        (
            "packets.yaml",
            format!(
                "kind: packets\ncases:\n- name: a\n  {node}\n  packets:\n  - packet: {{flagz: S}}\n    expect: {{}}\n"
            ),
            ":6: cases[0].packets[0].packet.flagz: unknown field `flagz`",
        ),
    ] {
        let path = directory.join(name);
        fs::write(&path, text).expect("writable");
        let finished = check("", core::slice::from_ref(&path));
        assert_eq!(finished.status, 2, "{name}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{name}: data only");
        assert!(
            finished.stderr.contains(said),
            "{name}: {} lacks {said}",
            finished.stderr
        );
    }
    let missing = check("", &[directory.join("missing.yaml")]);
    assert_eq!(missing.status, 2);
    assert!(
        missing.stderr.contains("missing.yaml"),
        "{}",
        missing.stderr
    );
}

#[test]
fn each_wrong_answer_of_dns_is_found_and_named() {
    let finished = check("", &[test_file("command/wrong/dns.yaml")]);
    assert_eq!(finished.status, 1);
    assert_eq!(
        last_line(&finished.stdout),
        "1 passed, 10 failed, 0 skipped"
    );
    for (expectation, actual) in [
        (
            "another address",
            "no answer web.shop.svc.cluster.local. A \"10.96.0.81\"",
        ),
        (
            "an answer too few",
            "answer web.shop.svc.cluster.local. 5 A \"10.96.0.80\"",
        ),
        ("another time to live", "no answer"),
        ("another code", "NOERROR"),
        ("not ours after all", "NOERROR"),
        ("ours after all", "not-handled"),
        ("other letters", "answer WEB.shop.svc.cluster.local."),
        ("EDNS unasked", "EDNS absent"),
        ("none of two", "NOERROR / tc false"),
        ("a reply to a reply", "no-reply"),
    ] {
        let named = format!(": {expectation}: expected ");
        let line = finished.stdout.lines().find(|line| line.contains(&named));
        let line = line.unwrap_or_else(|| panic!("{named} is not in:\n{}", finished.stdout));
        let got = line.split_once("; got ").map(|(_, got)| got);
        assert!(got.unwrap_or_default().contains(actual), "{line}");
    }
}

#[test]
fn each_wrong_frontend_of_a_load_balancer_is_found_and_named() {
    let finished = check("", &[test_file("command/wrong/lb.yaml")]);
    assert_eq!(finished.status, 1);
    assert_eq!(
        last_line(&finished.stdout),
        "0 passed, 20 failed, 0 skipped"
    );
    for actual in [
        "no such frontend",
        "it is Service shop/cart's",
        "its port's name is \"\"",
        "outside: {10.200.1.7:8080}",
        "outside: draining {}",
        "session affinity None",
        "only from []",
        "outside: reply of ICMP 10.96.0.81",
        "(shop/cart:more TCP IPv4)",
        "got ready",
        "no such endpoint",
        "shop/door: 503, 0 endpoints here",
        "no Service has this health check",
        "got forward of TCP",
    ] {
        assert!(
            finished.stdout.contains(actual),
            "{actual}: {}",
            finished.stdout
        );
    }
}
