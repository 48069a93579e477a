//! The list of steps: what a change must pass, fast ones first.

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::count::Reader;
use super::step::Step;
use crate::packages::{self, IPTABLES, MUSL_GCC, OBJDUMP, PKG_CONFIG, PROMETHEUS, Tool, VALGRIND};
use crate::{process, workspace};

/// Each set of features is held to the lints by itself: features add, they never change behaviour.
/// All of them together are held to them with the whole workspace.
const FEATURE_SETS: [&str; 10] = [
    "", "std", "k8s", "api", "dns", "nft", "netlink", "driver", "cli", "testing",
];

/// Where the Go module is.
const GO_MODULE: &str = "bindings-go";

/// The adapter to client-go, a module of its own: the first one depends on nothing.
const KUBE_MODULE: &str = "bindings-go/kube";

/// The kube-proxy made of both, a module of its own too.
const PROXY_MODULE: &str = "bindings-go/cmd/portolan-proxy";

/// The CNI plugin and its daemon.
const CNI_MODULE: &str = "bindings-go/cmd/portolan-cni";

/// The manifests, and what holds them to the API's types.
const DEPLOY_MODULE: &str = "bindings-go/deploy";

/// Where its metrics are: a module of its own, so that the other depends on nothing.
const GO_METRICS: &str = "bindings-go/prometheus";

/// Where the case files of `portolan check` are, in a directory for each kind.
const CASES: &str = "core/tests/cases";

/// The counts of instructions that a change is held to.
const INSTRUCTIONS: &str = "benches/baseline/instructions.csv";

const WASM: &str = "wasm32-unknown-unknown";
const ARM: &str = "aarch64-unknown-linux-gnu";
const MUSL: &str = "x86_64-unknown-linux-musl";

/// Every step, in order.
pub(crate) fn all() -> Vec<Step> {
    let mut steps = vec![formatting()];
    steps.extend(FEATURE_SETS.map(lints));
    steps.push(workspace_lints());
    steps.extend(tests());
    steps.push(documentation());
    steps.extend(other_targets());
    steps.push(header());
    steps.extend(go());
    steps.extend(conformance());
    steps.push(demo());
    steps.push(panics());
    steps.push(instructions());
    steps.push(hostile());
    steps.push(interleavings());
    steps
}

fn formatting() -> Step {
    let missing = component_missing("rustfmt");
    Step::cargo("format", &["fmt", "--all", "--check"], Reader::Whole).fail_because(missing)
}

fn lints(features: &str) -> Step {
    let name = format!("lints, features [{features}]");
    let arguments = [
        "clippy",
        "--package",
        "portolan",
        "--all-targets",
        "--no-default-features",
    ];
    let arguments = [
        &arguments[..],
        &["--features", features, "--", "-D", "warnings"],
    ]
    .concat();
    Step::cargo(&name, &arguments, Reader::Whole).fail_because(component_missing("clippy"))
}

fn workspace_lints() -> Step {
    let arguments = ["clippy", "--workspace", "--all-targets", "--all-features"];
    let arguments = [&arguments[..], &["--", "-D", "warnings"]].concat();
    Step::cargo("lints, workspace, all features", &arguments, Reader::Whole)
}

fn tests() -> Vec<Step> {
    // What a test that passed has printed is shown, because a test that cannot run here says so there.
    let every = [
        "--lib",
        "--bins",
        "--tests",
        "--examples",
        "--no-fail-fast",
        "--",
        "--show-output",
    ];
    let default = [&["test", "--package", "portolan"], &every[..]].concat();
    let all = [&["test", "--workspace", "--all-features"], &every[..]].concat();
    let documents = ["test", "--workspace", "--doc", "--all-features"];
    vec![
        Step::cargo("tests, default features", &default, Reader::Libtest),
        Step::cargo("tests, all features", &all, Reader::Libtest),
        Step::cargo("tests in documentation", &documents, Reader::Libtest),
    ]
}

fn documentation() -> Step {
    let arguments = ["doc", "--workspace", "--all-features", "--no-deps"];
    Step::cargo("documentation", &arguments, Reader::Whole).env("RUSTDOCFLAGS", "-D warnings")
}

/// What needs no operating system must build without one, and all of it for the other processor that clusters run on.
fn other_targets() -> Vec<Step> {
    let check = |target: &str, features: &str| {
        let name = format!("builds for {target}, features [{features}]");
        let arguments = [
            "check",
            "--package",
            "portolan",
            "--lib",
            "--target",
            target,
        ];
        let arguments = [
            &arguments[..],
            &["--no-default-features", "--features", features],
        ]
        .concat();
        Step::cargo(&name, &arguments, Reader::Whole).skip_because(target_missing(target))
    };
    vec![
        check(WASM, ""),
        check(WASM, "api"),
        check(WASM, "dns"),
        check(WASM, "nft"),
        check(ARM, "api,dns,driver,netlink"),
    ]
}

fn header() -> Step {
    Step::cargo(
        "header is current",
        &["xtask", "header", "--check"],
        Reader::Whole,
    )
}

fn go() -> Vec<Step> {
    if !workspace::root().join(GO_MODULE).join("go.mod").exists() {
        return Vec::new();
    }
    let library = ["build", "--package", "portolan-ffi"];
    let library = Step::cargo("the library that Go links", &library, Reader::Whole);
    let go = |name: &str, arguments: &[&str], reader| {
        Step::new(name, "go", arguments, reader).within(GO_MODULE)
    };
    let kube = |name: &str, arguments: &[&str], reader| {
        Step::new(name, "go", arguments, reader).within(KUBE_MODULE)
    };
    let cni = |name: &str, arguments: &[&str], reader| {
        Step::new(name, "go", arguments, reader).within(CNI_MODULE)
    };
    let test = ["test", "-count=1", "-v", "./..."];
    let of_system = [
        "test",
        "-count=1",
        "-v",
        "-tags=portolan_system",
        "-skip=Readme",
        ".",
    ];
    let of_musl = [
        "test",
        "-count=1",
        "-v",
        "-tags=portolan_musl",
        "-ldflags=-linkmode external -extldflags -static",
        "-skip=Readme",
        ".",
    ];
    let fuzz = |what: &str| {
        let name = format!("go fuzzing, {what}");
        let (only, what) = ("-run=^$", format!("-fuzz=^{what}$"));
        go(
            &name,
            &["test", only, &what, "-fuzztime=3s", "."],
            Reader::Whole,
        )
    };
    vec![
        library,
        go("go vet", &["vet", "./..."], Reader::Whole),
        go("go test", &test, Reader::Go).env("GODEBUG", "cgocheck=1"),
        go(
            "go test, races",
            &["test", "-count=1", "-race", "-v", "./..."],
            Reader::Go,
        ),
        go("go test without cgo", &test, Reader::Go).env("CGO_ENABLED", "0"),
        fuzz("FuzzApply"),
        fuzz("FuzzProcess"),
        go("go test, metrics", &test, Reader::Go).within(GO_METRICS),
        installed(go("go test, library of the system", &of_system, Reader::Go)),
        wholly_static(go("go test, musl", &of_musl, Reader::Go)),
        kube("go vet, kube", &["vet", "./..."], Reader::Whole),
        kube("go test, kube", &test, Reader::Go),
        cni("go vet, cni", &["vet", "./..."], Reader::Whole),
        cni("go test, cni", &test, Reader::Go),
        go("go test, manifests", &test, Reader::Go)
            .within(DEPLOY_MODULE)
            .env("CGO_ENABLED", "0"),
    ]
    .into_iter()
    .chain(proxy())
    .collect()
}

/// The kube-proxy in Go: its parts, and the whole program on a node of its own, between an API server and curl.
fn proxy() -> [Step; 4] {
    let go = |name: &str, arguments: &[&str], reader| {
        Step::new(name, "go", arguments, reader).within(PROXY_MODULE)
    };
    let test = ["test", "-count=1", "-v"];
    let parts = [".", "./config", "./metrics", "./proxy"];
    let parts = [&test[..], &parts].concat();
    let whole = [&test[..], &["-skip=Board", "./cluster"]].concat();
    let boards = [&test[..], &["-run=Board", "./cluster"]].concat();
    let lacking = |tool| {
        let not_root = (!packages::is_root()).then(|| "network namespaces need root".to_owned());
        not_root.or_else(|| tool_missing(tool))
    };
    [
        go("go vet, portolan-proxy", &["vet", "./..."], Reader::Whole),
        go("go test, portolan-proxy", &parts, Reader::Go),
        go("go test, portolan-proxy in a cluster", &whole, Reader::Go)
            .skip_because(lacking(IPTABLES)),
        go(
            "go test, portolan-proxy on stock boards",
            &boards,
            Reader::Go,
        )
        .skip_because(lacking(PROMETHEUS)),
    ]
}

/// Asks pkg-config for the library that the tests of `cargo xtask install` have installed.
fn installed(step: Step) -> Step {
    let destdir = workspace::target().join("tmp/install-glibc");
    let library = destdir.join("opt/portolan/lib");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    step.env("PKG_CONFIG_PATH", &text(&library.join("pkgconfig")))
        .env("PKG_CONFIG_SYSROOT_DIR", &text(&destdir))
        .env("LD_LIBRARY_PATH", &text(&library))
        .skip_because(tool_missing(PKG_CONFIG))
}

/// Links what those tests have installed for musl.
fn wholly_static(step: Step) -> Step {
    let library = workspace::target().join("tmp/install-musl/opt/portolan/lib");
    step.env("CGO_LDFLAGS", &format!("-L{}", library.display()))
        .env("CC", "musl-gcc")
        .skip_because(tool_missing(MUSL_GCC).or_else(|| target_missing(MUSL)))
}

/// Every case file there is, through the command that users hold their manifests to.
fn conformance() -> Option<Step> {
    let entries = |directory| fs::read_dir(directory).into_iter().flatten();
    let kinds = entries(workspace::root().join(CASES)).filter_map(Result::ok);
    let mut files: Vec<_> = kinds
        .flat_map(|kind| entries(kind.path()))
        .filter_map(Result::ok)
        .map(|file| file.path().to_string_lossy().into_owned())
        .collect();
    if files.is_empty() {
        return None;
    }
    files.sort();
    let mut arguments = vec!["run", "--quiet", "--package", "portolan"];
    arguments.extend(["--features", "cli"]);
    arguments.extend(["--bin", "portolan", "--", "check"]);
    arguments.extend(files.iter().map(String::as_str));
    Some(Step::cargo("conformance", &arguments, Reader::Totals))
}

/// The demo's rows, with the command as the step before has built it.
fn demo() -> Step {
    let binary = workspace::target().join("debug/portolan");
    let binary = binary.to_string_lossy();
    Step::cargo(
        "demo",
        &["xtask", "demo", "--portolan", &binary],
        Reader::Totals,
    )
}

/// The optimised burst, followed call by call.
fn panics() -> Step {
    let name = "no panic, allocation or lock in a burst, no call in its loop";
    Step::cargo(name, &measured("panics"), Reader::Whole).skip_because(tool_missing(OBJDUMP))
}

/// Instructions a packet, of the optimised burst.
fn instructions() -> Step {
    let arguments = [&measured("instructions")[..], &["--", "--check"]].concat();
    Step::cargo("instructions a packet", &arguments, Reader::Totals)
        .skip_because(compiler_differs().or_else(|| tool_missing(VALGRIND)))
}

/// The command that makes the baseline too: a build with other features has other counts.
const fn measured(program: &str) -> [&str; 7] {
    [
        "run",
        "--quiet",
        "--release",
        "--package",
        "portolan-benches",
        "--bin",
        program,
    ]
}

/// Ten million damaged packets, and as many DNS queries. The tests of all features have sent some through a build that checks itself; so many
/// need speed, but not the minutes that optimising the whole program takes.
fn hostile() -> Step {
    let arguments = [
        "test",
        "--release",
        "--package",
        "portolan",
        "--features",
        "testing,dns",
        "--test",
        "hostile",
        "--test",
        "dns",
    ];
    Step::cargo(
        "ten million damaged packets and queries",
        &arguments,
        Reader::Libtest,
    )
    .env("CARGO_PROFILE_RELEASE_LTO", "off")
    .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
}

/// The lock-free primitives under every interleaving, in a build of its own.
fn interleavings() -> Step {
    let target = workspace::target().join("loom");
    let target = target.to_string_lossy();
    let arguments = [
        "test",
        "--profile",
        "loom",
        "--package",
        "portolan",
        "--test",
        "loom",
    ];
    let arguments = [&arguments[..], &["--target-dir", &target]].concat();
    Step::cargo("interleavings (loom)", &arguments, Reader::Libtest).env("RUSTFLAGS", "--cfg loom")
}

/// Counts of another compiler, or for another machine, say nothing about a change.
fn compiler_differs() -> Option<String> {
    let noted = fs::read_to_string(workspace::root().join(INSTRUCTIONS)).unwrap_or_default();
    let noted = noted.lines().next().unwrap_or_default();
    let said = Command::new("rustc").arg("-vV").output().ok()?.stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "))?;
    let here = format!("# {}, {host}", said.lines().next()?);
    (noted != here).then(|| {
        let names = [noted, &here].map(|name| name.trim_start_matches("# "));
        format!("the baseline is of {}, this is {}", names[0], names[1])
    })
}

/// Says what brings a program that only one step needs, if it is not here.
fn tool_missing(tool: Tool) -> Option<String> {
    let missing = !packages::is_here(tool);
    missing.then(|| format!("needs {tool}"))
}

/// Gets the target if it is not here; says why there is none if it cannot be had.
fn target_missing(target: &str) -> Option<String> {
    rustup(&["target", "add", target])
        .err()
        .map(|error| format!("no target {target}: {error}"))
}

/// Gets a component of the toolchain if it is not here; says why there is none if it cannot be had.
fn component_missing(component: &str) -> Option<String> {
    let tool = match component {
        "clippy" => "clippy-driver",
        other => other,
    };
    let present = Command::new(tool)
        .arg("--version")
        .output()
        .is_ok_and(|said| said.status.success());
    if present {
        return None;
    }
    let added = rustup(&["component", "add", component]);
    added.err().map(|error| format!("no {component}: {error}"))
}

fn rustup(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("rustup");
    command.args(arguments).current_dir(workspace::root());
    process::run(&mut command, "", Duration::from_secs(180)).map(drop)
}
