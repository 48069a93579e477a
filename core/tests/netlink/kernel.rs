//! A kernel for one test: a thread in a network namespace of its own, and `nft` beside it.
#![expect(unsafe_code, reason = "unshare, which std does not offer")]

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

use portolan::net::Family;
use portolan::nft::netlink::{Batch, Outcome, Socket};
use portolan::nft::{Element, Operation, Set, Transaction};

/// Runs a test in a new network namespace, or says that it was skipped and why.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let within = scope.spawn(|| {
            // SAFETY: takes a number; changes only the namespace of this thread, which ends with the test.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                let error = io::Error::last_os_error();
                eprintln!("SKIPPED {name}: no network namespace: unshare(CLONE_NEWNET): {error}");
                return;
            }
            if Command::new("nft").arg("--version").output().is_err() {
                eprintln!("SKIPPED {name}: needs nft (Debian package nftables)");
                return;
            }
            test();
        });
        if let Err(panic) = within.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs `nft` with a ruleset on its standard input.
pub(crate) fn nft(ruleset: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(ruleset.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{ruleset}");
}

/// What `nft list` says, with single blanks for any white space.
pub(crate) fn listed(what: &str) -> String {
    let mut command = Command::new("nft");
    let output = command.arg("list").args(what.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The table that tests have.
pub(crate) const TABLE: &str = "t";

/// Declares sets of Services in [`TABLE`], with keys and data as they mean them.
pub(crate) fn declare(family: Family) {
    let (name, address, field) = match family {
        Family::Ipv4 => ("ip", "ipv4_addr", "ip"),
        Family::Ipv6 => ("ip6", "ipv6_addr", "ip6"),
    };
    let text = SETS.replace("FAMILY", name).replace("ADDRESS", address);
    nft(&text.replace("FIELD", field));
}

const SETS: &str = "
table FAMILY t {
  map services { type ADDRESS . inet_proto . inet_service : ADDRESS; }
  map slots { typeof FIELD daddr . numgen random mod 2 : FIELD daddr . th dport; }
  map tickets { type ADDRESS : ADDRESS; }
  map sticky-endpoints { type ADDRESS : ADDRESS . inet_service; flags timeout; }
  set cluster-ips { type ADDRESS; }
  set masqueraded { type ADDRESS . inet_proto . inet_service; }
  set allowed { type ADDRESS . inet_proto . inet_service . ADDRESS; flags interval; }
  set pods { type ADDRESS; flags interval; }
  set pod-interfaces { type ifname; flags interval; }
}
";

pub(crate) fn transaction(family: Family, operations: Vec<Operation>) -> Batch {
    Batch::new(&Transaction { family, operations }, TABLE, None).unwrap()
}

/// Adds elements in one transaction, and expects that they are committed.
pub(crate) fn add(socket: &mut Socket, family: Family, elements: &[Element]) {
    let operations = elements.iter().cloned().map(Operation::Add).collect();
    let outcome = socket.commit(&transaction(family, operations)).unwrap();
    assert_eq!(outcome, Outcome::Committed);
}

pub(crate) fn read(socket: &mut Socket, family: Family, set: Set) -> Vec<Element> {
    socket.elements(family, TABLE, set).unwrap()
}
