//! The C tests and the small example: run as they are, under the sanitizers and under Valgrind.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::build::{Flavour, WARNINGS, package, run};
use super::namespace::in_namespace;

const PROGRAMS: [&str; 9] = [
    "tests/c/layout.c",
    "tests/c/misuse.c",
    "tests/c/node.c",
    "tests/c/control.c",
    "tests/c/memory.c",
    "tests/c/options.c",
    "tests/c/timeouts.c",
    "tests/c/dns.c",
    "examples/one_packet.c",
];

fn run_all(flavour: Flavour) {
    for source in PROGRAMS {
        if let Some(mut program) = flavour.program(source) {
            run(&mut program);
        }
    }
}

#[test]
fn the_header_is_clean_c11_and_cplusplus17() {
    for (compiler, arguments) in [
        ("cc", ["-xc", "-std=c11"]),
        ("c++", ["-xc++", "-std=c++17"]),
    ] {
        run(Command::new(compiler)
            .args(arguments)
            .args(WARNINGS)
            .args([
                "-fsyntax-only",
                "../include/portolan.h",
                "-Wno-pragma-once-outside-header",
            ])
            .current_dir(package()));
    }
}

#[test]
fn c_programs_run() {
    run_all(Flavour::Plain);
}

#[test]
fn c_programs_are_clean_under_the_sanitizers() {
    run_all(Flavour::Sanitized);
}

#[test]
fn c_programs_leak_nothing_under_valgrind() {
    run_all(Flavour::Valgrind);
}

/// nftables of a network namespace: as they are, and under both kinds of checkers.
#[test]
fn a_host_keeps_nftables_at_its_decisions() {
    for flavour in [Flavour::Plain, Flavour::Sanitized, Flavour::Valgrind] {
        let Some(mut program) = flavour.program("tests/c/nft.c") else {
            continue;
        };
        in_namespace(move || {
            let said = run(&mut program);
            print!("{}", String::from_utf8_lossy(&said.stdout));
        });
    }
}

/// A newcomer's program: what README.md shows.
#[test]
fn the_program_of_the_readme_runs_as_it_stands() {
    let readme = fs::read_to_string(package().join("../README.md")).expect("it is there");
    let (_, program) = readme.split_once("```c\n").expect("a program in C");
    let (program, _) = program.split_once("\n```\n").expect("it ends");
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme.c");
    fs::write(&source, format!("{program}\n")).expect("written");
    let source = source.to_str().expect("a path of text");
    for flavour in [Flavour::Plain, Flavour::Sanitized] {
        let said = run(&mut flavour.program(source).expect("it is built"));
        assert_eq!(String::from_utf8_lossy(&said.stdout), "services: 1\n");
    }
}

#[test]
fn the_example_moves_its_packet_and_says_why() {
    let program = Flavour::Plain.program("examples/one_packet.c");
    let output = run(&mut program.expect("it is built"));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in ["forward to 10.200.2.7:8080, tag 7", "verdict      forward"] {
        assert!(text.contains(line), "no `{line}` in:\n{text}");
    }
}
