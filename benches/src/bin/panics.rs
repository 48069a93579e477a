//! No panic, allocation or lock is reachable from a burst, and what the common packet needs is inlined in its loop: the
//! optimised program's calls are followed to see.
//!
//! `cargo run --release -p portolan-benches --bin panics` disassembles itself with objdump, starts at the
//! function that holds [`portolan::dataplane::Worker::process_burst`], and follows every call and every jump
//! out of a function. Calls through pointers cannot be followed, so there must be none. The loop itself, and the step
//! that moves a common packet, call each other and what is seldom needed, and nothing else.

use portolan_benches::burst_under_test;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, ExitCode};

const START: &str = "portolan_benches::burst_under_test";
/// What must not be reached, and memory functions that may be.
const FORBIDDEN: [&str; 9] = [
    "core::panicking",
    "slice_index_fail",
    "_fail",
    "unwrap_failed",
    "expect_failed",
    "__rust_",
    "alloc::",
    "std::",
    "_Unwind",
];
/// What the loop over a burst's packets may call: what is seldom needed. Everything else is to be inlined.
const SELDOM: [&str; 9] = [
    // An entry outside its home bucket.
    "Burst>::ask_beyond",
    "Index::prefetch_beyond",
    // A first packet, or one that is not plain.
    "Burst>::decide_ahead",
    "Table>::search",
    "worker::finish",
    // A SYN to where an endpoint is or was.
    "Burst>::ask_beside",
    // A deadline that moves, and a window that grows.
    "Quick<A>::refreshed",
    "Quick<A>::widened",
    // A packet with parts of its work left to hardware.
    "PlainHeaders<A>::is_partial",
];
const ALLOWED: [&str; 4] = ["memcpy", "memset", "memmove", "memcmp"];

fn main() -> ExitCode {
    // Keeps the function in the program.
    core::hint::black_box(burst_under_test as fn(&mut _, _, &mut _, &mut _));
    match check() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A function's targets by name; `*` for a call through a pointer.
type Calls = BTreeMap<String, BTreeSet<String>>;

fn check() -> Result<ExitCode, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("objdump")
        .args(["--disassemble", "--demangle", "--no-show-raw-insn"])
        .arg(&program)
        .output()
        .map_err(|error| format!("objdump: {error}"))?;
    let calls = calls(&String::from_utf8_lossy(&output.stdout));
    let mut found = false;
    let mut reached: BTreeMap<String, String> = BTreeMap::new();
    let mut open: Vec<String> = calls
        .keys()
        .filter(|name| name.starts_with(START))
        .cloned()
        .collect();
    if open.is_empty() {
        return Err(format!("{START} is not in the program"));
    }
    while let Some(function) = open.pop() {
        for target in calls.get(&function).into_iter().flatten() {
            if reached.contains_key(target) {
                continue;
            }
            reached.insert(target.clone(), function.clone());
            if ALLOWED.iter().any(|allowed| target.starts_with(allowed)) {
                continue;
            }
            if target.starts_with('*')
                || FORBIDDEN.iter().any(|forbidden| target.contains(forbidden))
            {
                println!("reachable: {}", way(&reached, target));
                found = true;
                continue;
            }
            open.push(target.clone());
        }
    }
    println!("{} functions reachable from a burst", reached.len());
    let called = called_in_loop(&calls);
    for call in &called {
        println!("called in the loop, not inlined: {call}");
    }
    Ok(if found || !called.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What the loop calls that it should not.
fn called_in_loop(calls: &Calls) -> Vec<String> {
    let is_seldom = |name: &String| SELDOM.iter().any(|seldom| name.ends_with(seldom));
    let of_loop = calls.iter().filter(|(caller, _)| caller.contains(START));
    of_loop
        .flat_map(|(caller, targets)| {
            let wrong = targets.iter().filter(|target| !is_seldom(target));
            wrong.map(move |target| format!("{caller} -> {target}"))
        })
        .collect()
}

/// From the start to `target`.
fn way(reached: &BTreeMap<String, String>, target: &str) -> String {
    let mut names = vec![target];
    while let Some(caller) = names.last().and_then(|name| reached.get(*name)) {
        if names.contains(&caller.as_str()) {
            break;
        }
        names.push(caller);
    }
    names.reverse();
    names.join(" -> ")
}

/// Reads objdump's text: `0000000000001234 <name>:` begins a function, `call 1234 <name+0x10>` leaves it.
fn calls(text: &str) -> Calls {
    let mut calls = Calls::new();
    let mut function = String::new();
    for line in text.lines() {
        if let Some(name) = line
            .strip_suffix(">:")
            .and_then(|line| line.split_once(" <"))
            .map(|(_, name)| name)
        {
            function = name.to_owned();
            calls.entry(function.clone()).or_default();
            continue;
        }
        let Some((_, instruction)) = line.split_once('\t') else {
            continue;
        };
        let mnemonic = instruction.split_whitespace().next().unwrap_or_default();
        // A jump through a register is a table of this function's own; through memory it is a tail call.
        let through_pointer = (mnemonic.starts_with("call") && instruction.contains('*'))
            || (mnemonic == "jmp" && instruction.contains("*0x"));
        let target = instruction
            .split_once('<')
            .map(|(_, target)| target.trim_end_matches('>'))
            .map(|target| target.rsplit_once("+0x").map_or(target, |(name, _)| name));
        let leaves = mnemonic.starts_with("call") || mnemonic.starts_with('j');
        let target = match target {
            Some(target) if leaves && target != function => target.to_owned(),
            None | Some(_) if through_pointer => format!("* in {function}: {}", instruction.trim()),
            None | Some(_) => continue,
        };
        calls.entry(function.clone()).or_default().insert(target);
    }
    calls
}
