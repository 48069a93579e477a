//! System calls that fail: the tests of elements and outcomes again, in a process of their own whose calls `strace`
//! makes fail now and then.

use std::process::Command;

use portolan::net::Family;
use portolan::nft::netlink::{Outcome, Socket};
use portolan::nft::{Bytes, Element, Operation, Set};

use crate::kernel::{add, declare, in_namespace, read, transaction};

/// Runs tests of this program while `fault` is injected; `None` if there is no `strace`.
fn under(fault: &str, tests: &str) -> Option<String> {
    let this = std::env::current_exe().unwrap();
    let output = Command::new("timeout")
        .args(["60", "strace"])
        // Not in `nft`, whose own affair it is what it does then.
        .args(["-f", "-qq", "-b", "execve", "-o", "/dev/null"])
        .args(["-e", "trace=sendto,recvfrom"])
        .args(["-e", &format!("inject={fault}")])
        .arg(this)
        .args(["--test-threads=1", tests])
        .env(FAULTY, fault)
        .output();
    let output = output.unwrap();
    // What `timeout` says of a program that is not there.
    if output.status.code() == Some(127) {
        eprintln!("SKIPPED {fault}: needs strace (Debian package strace)");
        return None;
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{fault}:\n{said}");
    Some(said)
}

/// Set for the part of a test that runs under faults.
const FAULTY: &str = "PORTOLAN_TEST_FAULTY";

#[test]
fn a_call_that_was_interrupted_is_made_again() {
    for fault in [
        "sendto:error=EINTR:when=1+2",
        "recvfrom:error=EINTR:when=1+2",
    ] {
        for tests in ["elements::", "outcomes::a_"] {
            let said = under(fault, tests);
            assert!(said.is_none_or(|said| said.contains("test result: ok.")));
        }
    }
}

#[test]
fn what_the_kernel_had_no_memory_for_is_sent_again() {
    for error in ["ENOBUFS", "ENOMEM"] {
        let fault = format!("sendto:error={error}:when=1+3");
        let said = under(&fault, "elements::");
        assert!(said.is_none_or(|said| said.contains("test result: ok.")));
    }
}

#[test]
fn an_error_that_does_not_pass_is_reported_and_nothing_is_in_force() {
    let said = under("sendto:error=ENOBUFS:when=3+", "faults::every_send_fails");
    assert!(said.is_none_or(|said| said.contains("1 passed")));
}

#[test]
fn a_commit_whose_answer_is_lost_is_not_taken_for_anything() {
    let said = under(
        "recvfrom:error=ENOBUFS:when=2",
        "faults::the_answer_is_lost",
    );
    assert!(said.is_none_or(|said| said.contains("1 passed")));
}

fn element() -> Element {
    Element::new(Set::ClusterIps, Bytes::new().address([10, 96, 0, 1]))
}

#[test]
fn every_send_fails_from_the_third_on() {
    if std::env::var_os(FAULTY).is_none() {
        return;
    }
    in_namespace("every_send_fails_from_the_third_on", || {
        declare(Family::Ipv4);
        let mut socket = Socket::open().unwrap();
        assert!(socket.generation().unwrap() > 0);
        add(&mut socket, Family::Ipv4, &[element()]);
        let deletion = transaction(Family::Ipv4, vec![Operation::Delete(element())]);
        let error = socket.commit(&deletion).unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(libc::ENOBUFS));
    });
}

#[test]
fn the_answer_is_lost_but_not_what_was_committed() {
    if std::env::var_os(FAULTY).is_none() {
        return;
    }
    in_namespace("the_answer_is_lost_but_not_what_was_committed", || {
        declare(Family::Ipv4);
        let mut socket = Socket::open().unwrap();
        let addition = transaction(Family::Ipv4, vec![Operation::Add(element())]);
        assert_eq!(socket.commit(&addition).unwrap(), Outcome::Unknown);
        assert_eq!(
            read(&mut socket, Family::Ipv4, Set::ClusterIps),
            [element()]
        );
    });
}
