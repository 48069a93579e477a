//! What `cargo xtask install` installs, used as a C engineer uses it: by pkg-config and by CMake, shared and static,
//! with glibc and with musl. What is released takes minutes to build, so only who asks for it gets it:
//! `PORTOLAN_INSTALL_PROFILE=release cargo test -p xtask --test install`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PREFIX: &str = "/opt/portolan";
const MUSL: &str = "x86_64-unknown-linux-musl";
const PROGRAM: &str = "ffi/examples/one_packet.c";

/// What was installed for a target, in a directory of its own.
struct Installed {
    destdir: PathBuf,
}

impl Installed {
    fn new(name: &str, arguments: &[&str]) -> Self {
        let destdir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let profile = env::var("PORTOLAN_INSTALL_PROFILE").unwrap_or_else(|_| "dev".to_owned());
        run(Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["install", "--profile", &profile, "--prefix", PREFIX])
            .arg("--destdir")
            .arg(&destdir)
            .args(arguments));
        Self { destdir }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.destdir.join(PREFIX.trim_start_matches('/')).join(path)
    }

    /// What pkg-config says, as a package's build asks it below DESTDIR.
    fn flags(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command
            .env("PKG_CONFIG_PATH", self.path("lib/pkgconfig"))
            .env("PKG_CONFIG_SYSROOT_DIR", &self.destdir)
            .args(arguments)
            .arg("portolan");
        let said = run(&mut command);
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// Compiles the example and runs it; says where it is.
    fn use_it(&self, compiler: &str, name: &str, before: &[&str], flags: &[String]) -> PathBuf {
        let program = self.destdir.join(name);
        run(Command::new(compiler)
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror"])
            .args(before)
            .arg(root().join(PROGRAM))
            .args(flags)
            .arg("-o")
            .arg(&program));
        let said = run(Command::new(&program).env("LD_LIBRARY_PATH", self.path("lib")));
        assert!(said.contains("forward to 10.200.2.7:8080, tag 7"), "{said}");
        program
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a command to its end, which must be a good one, and says what it printed.
fn run(command: &mut Command) -> String {
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
    text(&output.stdout)
}

/// Is the program here? Says aloud if not.
fn is_here(program: &str) -> bool {
    let here = Command::new(program).arg("--version").output().is_ok();
    if !here {
        println!("SKIPPED: there is no {program} here");
    }
    here
}

fn agreed() -> Vec<String> {
    let list = fs::read_to_string(root().join("ffi/package/symbols.txt")).unwrap();
    list.lines().map(str::to_owned).collect()
}

/// Names of the global symbols that a library defines, sorted.
fn symbols(library: &Path, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("nm");
    command.args(["--defined-only", "--format=posix"]);
    let said = run(command.args(arguments).arg(library));
    let mut names: Vec<_> = said
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .filter(|name| !name.ends_with(".o]:"))
        .collect();
    names.sort();
    names
}

fn is_static(program: &Path) -> bool {
    let said = run(Command::new("readelf").arg("-l").arg(program));
    !said.contains("INTERP")
}

#[test]
fn what_is_installed_is_used_by_pkg_config_and_by_cmake() {
    let installed = Installed::new("install-glibc", &[]);

    // Rust's own symbols are in neither library; the shared one's carry a version.
    let archive = installed.path("lib/libportolan.a");
    assert_eq!(symbols(&archive, &["--extern-only"]), agreed());
    let versioned = |symbol: String| format!("{symbol}@@PORTOLAN_0.1");
    let shared = symbols(&installed.path("lib/libportolan.so"), &["--dynamic"]);
    let mut wanted: Vec<_> = agreed().into_iter().map(versioned).collect();
    wanted.push("PORTOLAN_0.1".to_owned());
    wanted.sort();
    assert_eq!(shared, wanted);

    if is_here("pkg-config") {
        let flags = installed.flags(&["--cflags", "--libs"]);
        let program = installed.use_it("cc", "shared", &[], &flags);
        let needed = run(Command::new("readelf").arg("-d").arg(&program));
        assert!(needed.contains("[libportolan.so.0.1]"), "{needed}");
        let flags = installed.flags(&["--static", "--cflags", "--libs"]);
        let program = installed.use_it("cc", "static", &["-static"], &flags);
        assert!(is_static(&program));
    }
    if is_here("cmake") {
        by_cmake(&installed);
    }
}

fn by_cmake(installed: &Installed) {
    let (source, build) = (
        installed.destdir.join("cmake"),
        installed.destdir.join("cmake-build"),
    );
    fs::create_dir_all(&source).unwrap();
    // CMake keeps what it found before, and where.
    let _ = fs::remove_dir_all(&build);
    let program = root().join(PROGRAM).canonicalize().unwrap();
    let project = format!(
        "cmake_minimum_required(VERSION 3.13)\nproject(user C)\nfind_package(portolan 0.1 REQUIRED)\n\
         foreach(kind portolan static)\n  add_executable(with_${{kind}} {})\n  \
         target_link_libraries(with_${{kind}} portolan::${{kind}})\nendforeach()\n",
        program.display()
    );
    fs::write(source.join("CMakeLists.txt"), project).unwrap();
    run(Command::new("cmake")
        .arg("-S")
        .arg(&source)
        .arg("-B")
        .arg(&build)
        .arg(format!(
            "-DCMAKE_PREFIX_PATH={}",
            installed.path("").display()
        )));
    run(Command::new("cmake").arg("--build").arg(&build));
    for name in ["with_portolan", "with_static"] {
        let said = run(&mut Command::new(build.join(name)));
        assert!(
            said.contains("forward to 10.200.2.7:8080"),
            "{name}: {said}"
        );
    }
}

#[test]
fn with_musl_a_program_is_wholly_static() {
    let mut rustup = Command::new("rustup");
    let added = rustup.args(["target", "add", MUSL]).current_dir(root());
    if !added.output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: there is no target {MUSL} here");
        return;
    }
    if !is_here("musl-gcc") || !is_here("pkg-config") {
        return;
    }
    let installed = Installed::new("install-musl", &["--target", MUSL]);
    let flags = installed.flags(&["--static", "--cflags", "--libs"]);
    let program = installed.use_it("musl-gcc", "static", &["-static"], &flags);
    assert!(is_static(&program));
}
