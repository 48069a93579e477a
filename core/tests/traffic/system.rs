//! What the tests ask of the system: a namespace, a processor, programs.
#![expect(
    unsafe_code,
    reason = "unshare and sched_setaffinity, which std does not offer"
)]

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Each test wants the processors for itself.
static ALONE: Mutex<()> = Mutex::new(());

/// Now.
#[expect(clippy::disallowed_methods, reason = "what is measured is time itself")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Runs a test in a new network namespace, one at a time, or says that it was skipped and why. Threads that it starts are in the
/// same namespace.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce() + Send) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        let within = scope.spawn(|| {
            // SAFETY: takes a number; changes only the namespace of this thread, which ends with the test.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                let error = io::Error::last_os_error();
                eprintln!("SKIPPED {name}: no network namespace: unshare(CLONE_NEWNET): {error}");
                return;
            }
            if let Err(error) = std::fs::metadata("/dev/net/tun") {
                eprintln!("SKIPPED {name}: /dev/net/tun: {error}");
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

/// Keeps the calling thread on one processor, counted from 0 and again from the first if there are fewer.
pub(crate) fn pin(processor: usize) {
    let count = thread::available_parallelism().map_or(1, usize::from);
    // SAFETY: all of its members are numbers, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: `set` is ours, and has room for more processors than there are.
    unsafe { libc::CPU_SET(processor % count, &mut set) };
    // SAFETY: the kernel reads `set`, whose size is given.
    let done = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Runs `ip` on lines of commands.
pub(crate) fn ip(batch: &str) {
    run("ip", &["-batch", "-"], batch);
}

/// Sets kernel parameters of this namespace: each line a name below `/proc/sys/net` and a value.
pub(crate) fn parameters(lines: &str) {
    for line in lines.lines() {
        let (name, value) = line.trim().split_once(' ').unwrap();
        std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap_or_else(|error| {
            panic!("{name}: {error}");
        });
    }
}

/// Runs a program to its end and returns what it said.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    // A program that ends before it has read everything says why itself.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A number that a longer run gives, or what the test suite has time for.
pub(crate) fn asked(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text}: no number")),
        Err(_) => otherwise,
    }
}
