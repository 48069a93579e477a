//! The C tests and the C examples: built with the system's compiler against the static library, run as they
//! are, under AddressSanitizer and under Valgrind; and the shared library's symbols against the committed list.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];
const LIBRARIES: [&str; 3] = ["-lm", "-lpthread", "-ldl"];
const PROGRAMS: [&str; 6] = [
    "tests/c/layout.c",
    "tests/c/misuse.c",
    "tests/c/node.c",
    "tests/c/control.c",
    "tests/c/memory.c",
    "examples/one_packet.c",
];

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the libraries are, built if they were not.
fn libraries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        run(
            Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
                .args([
                    "build",
                    "--quiet",
                    "--package",
                    "portolan-ffi",
                    "--target-dir",
                ])
                .arg(target)
                .current_dir(package()),
        );
        target.join("debug")
    })
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

/// Builds one C program; the file's name tells `flavour`s apart.
fn build(source: &str, flavour: &str, flags: &[&str]) -> PathBuf {
    let name = Path::new(source).file_stem().unwrap().to_str().unwrap();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{flavour}"));
    run(Command::new("cc")
        .args(["-std=c11", "-g", "-I../include"])
        .args(WARNINGS)
        .args(flags)
        .arg(source)
        .arg(libraries().join("libportolan.a"))
        .args(LIBRARIES)
        .arg("-o")
        .arg(&program)
        .current_dir(package()));
    program
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
    for source in PROGRAMS {
        run(&mut Command::new(build(source, "plain", &[])));
    }
}

#[test]
fn c_programs_are_clean_under_address_sanitizer() {
    let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    for source in PROGRAMS {
        run(Command::new(build(source, "asan", &flags))
            .env("ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1"));
    }
}

#[test]
fn c_programs_leak_nothing_under_valgrind() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED: there is no valgrind here");
        return;
    }
    for source in PROGRAMS {
        let program = build(source, "valgrind", &[]);
        run(Command::new("valgrind")
            .args([
                "--quiet",
                "--error-exitcode=9",
                "--leak-check=full",
                "--errors-for-leak-kinds=definite,indirect,possible",
            ])
            .arg(program));
    }
}

#[test]
fn the_example_moves_its_packet_and_says_why() {
    let output = run(&mut Command::new(build(
        "examples/one_packet.c",
        "example",
        &[],
    )));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in ["forward to 10.200.2.7:8080, tag 7", "verdict      forward"] {
        assert!(text.contains(line), "no `{line}` in:\n{text}");
    }
}

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
    let agreed = fs::read_to_string(package().join("tests/symbols.txt")).unwrap();
    let agreed: Vec<_> = agreed.lines().collect();
    assert_eq!(
        exported, agreed,
        "tests/symbols.txt is the agreed list; what was removed never comes back with another meaning"
    );
}

#[test]
fn the_shared_library_has_a_soname() {
    let library = libraries().join("libportolan.so");
    let output = run(Command::new("readelf").arg("-d").arg(library));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("[libportolan.so.0.1]"), "{text}");
}
