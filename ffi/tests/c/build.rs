//! Building C programs against the library, and running them.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What a C program is compiled with.
pub(crate) const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];
const LIBRARIES: [&str; 3] = ["-lm", "-lpthread", "-ldl"];

/// How a program is built and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Plain,
    /// Under AddressSanitizer and UndefinedBehaviorSanitizer, leaks included.
    Sanitized,
    /// Under Valgrind, leaks included.
    Valgrind,
}

impl Flavour {
    /// The command that runs a C program of this package, built first; `None`, said aloud, if the tool is absent.
    pub(crate) fn program(self, source: &str) -> Option<Command> {
        match self {
            Self::Plain => Some(Command::new(build(source, "plain", &[]))),
            Self::Sanitized => {
                let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
                let mut command = Command::new(build(source, "sanitized", &flags));
                let options = "detect_leaks=1:allocator_may_return_null=1";
                command.env("ASAN_OPTIONS", options);
                Some(command)
            }
            Self::Valgrind => {
                if Command::new("valgrind").arg("--version").output().is_err() {
                    println!("SKIPPED: there is no valgrind here");
                    return None;
                }
                let mut command = Command::new("valgrind");
                command
                    .args(["--quiet", "--error-exitcode=9", "--leak-check=full"])
                    .arg("--errors-for-leak-kinds=definite,indirect,possible")
                    .arg(build(source, "plain", &[]));
                Some(command)
            }
        }
    }
}

/// The directory of this package.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the libraries are, built if they were not.
pub(crate) fn libraries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        run(
            Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
                .args(["build", "--quiet", "--package", "portolan-ffi"])
                .arg("--target-dir")
                .arg(target)
                .current_dir(package()),
        );
        target.join("debug")
    })
}

/// Runs a command to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> Output {
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

/// Builds one C program of this package; the file's name tells flavours apart.
fn build(source: &str, flavour: &str, flags: &[&str]) -> PathBuf {
    let name = Path::new(source).file_stem().unwrap().to_str().unwrap();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = directory.join(format!("{name}-{flavour}"));
    // Built under a name of its own: other tests may be running the one before.
    static BUILDS: AtomicUsize = AtomicUsize::new(0);
    let number = BUILDS.fetch_add(1, Ordering::Relaxed);
    let fresh = directory.join(format!("{name}-{flavour}-{number}"));
    run(Command::new("cc")
        .args(["-std=c11", "-g", "-I../include"])
        .args(WARNINGS)
        .args(flags)
        .arg(source)
        .arg(libraries().join("libportolan.a"))
        .args(LIBRARIES)
        .arg("-o")
        .arg(&fresh)
        .current_dir(package()));
    std::fs::rename(&fresh, &program).unwrap();
    program
}
