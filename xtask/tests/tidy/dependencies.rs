//! What the default build of `portolan` stands on: smoltcp, crossbeam, and what those bring.

use std::process::Command;
use std::{env, fs};

use super::sources;

/// The list as it was agreed on; a new line in it is a decision (docs/design.md).
const AGREED: &str = "xtask/tests/tidy/dependencies.txt";

#[test]
fn the_default_build_depends_on_nothing_new() {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = [
        "tree",
        "--package",
        "portolan",
        "--edges",
        "normal",
        "--prefix",
        "depth",
    ];
    let output = Command::new(cargo)
        .args(arguments)
        .args(["--format", "{lib}", "--locked", "--offline"])
        .current_dir(sources::root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).unwrap();
    let agreed = fs::read_to_string(sources::root().join(AGREED)).unwrap();
    assert_eq!(
        tree, agreed,
        "\n{AGREED} says:\n{agreed}\nthe build needs:\n{tree}"
    );
}
