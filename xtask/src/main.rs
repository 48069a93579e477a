//! The project's own commands. `cargo xtask demo` shows Services moving packets on this machine,
//! `cargo xtask test` is everything continuous integration runs; both install what they need.

mod bench;
mod clock;
mod demo;
mod dns_bench;
mod go_bench;
mod header;
mod install;
mod interrupt;
mod namespace;
mod packages;
mod process;
mod test;
mod traffic;
mod tun_bench;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a small cluster out of network namespaces and send real requests through Portolan
    Demo(demo::Arguments),
    /// Run every check and every test; the last line is "N passed, N failed"
    #[command(alias = "ci")]
    Test(test::Arguments),
    /// Run the benchmarks and print their tables
    Bench(bench::Arguments),
    /// Change the kernel's ruleset under packets and connections: none may be lost (as root)
    Race(traffic::Race),
    /// Load the kernel's ruleset beside a packet worker on the same processor (as root)
    Stall(traffic::Stall),
    /// Write include/portolan.h from the C ABI's source, or check that it is current
    Header(header::Arguments),
    /// Install the C library: header, static and shared library, pkg-config file, CMake package
    Install(install::Arguments),
    /// Answer HTTP requests as one pod of the demo would
    #[command(hide = true)]
    Pod(demo::pod::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Race(arguments) => traffic::race(&arguments),
        Command::Stall(arguments) => traffic::stall(&arguments),
        Command::Header(arguments) => header::run(&arguments),
        Command::Install(arguments) => install::run(&arguments),
        Command::Pod(arguments) => demo::pod::run(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
