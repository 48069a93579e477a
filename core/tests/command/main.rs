//! The command as its users meet it: what it prints where, and with which status it ends.

mod cases;
mod check;
mod explain;
mod files;
mod get;
mod kernel_kills;
mod kills;
mod run;
mod store;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a finished command left behind.
struct Finished {
    status: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the command prints UTF-8");
        Self {
            status: output.status.code().expect("the command was not killed"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// The command, before it runs.
fn portolan() -> Command {
    Command::new(env!("CARGO_BIN_EXE_portolan"))
}

/// Runs the command with arguments that are separated by blanks.
fn run(arguments: &str) -> Finished {
    let mut command = portolan();
    command.args(arguments.split_whitespace());
    Finished::from(command.output().expect("the command starts"))
}

/// A file among the tests.
fn test_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(path)
}

/// A directory of one test's own, empty at first, below cargo's directory for that.
fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a directory can be made");
    path
}
