//! `portolan`: Kubernetes Services from the command line. Data goes to stdout, everything else to stderr.

mod apply;
mod backend;
mod check;
mod control;
mod device;
mod dns;
mod edit;
mod explain;
mod get;
mod offline;
mod render;
mod run;
mod serve;
mod serving;
mod settings;
mod store;
mod watch;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

/// Kubernetes Services as a dataplane: run it, ask it why, hold it to a case file.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, max_term_width = 100)]
struct Arguments {
    /// What is logged to stderr: error, warn, info, debug, trace or off [default: info for `run`, else warn]
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<LevelFilter>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the Services of a set of manifests, on a device or in the kernel, and follows changes of the files
    Run(Box<run::RunArguments>),
    /// Says where a packet would go and why, by the code that moves the packets
    Explain(explain::ExplainArguments),
    /// Prints Services, endpoints, connections or counters
    Get(get::GetArguments),
    /// Creates or replaces objects of a store, as `kubectl apply` does
    Apply(apply::ApplyArguments),
    /// Deletes objects of a store
    Delete(apply::DeleteArguments),
    /// Edits an object of a store in $EDITOR
    Edit(edit::EditArguments),
    /// Prints the nftables ruleset that manifests make, or what changes between two sets of them
    Render(render::RenderArguments),
    /// Deletes the tables that `run --backend nftables` left in force
    Cleanup(render::CleanupArguments),
    /// Holds the dataplane to case files: objects, packets, and what must come of them
    Check(check::CheckArguments),
}

/// Why a command could not do what it was asked: exit status 2.
type CommandError = Box<dyn core::error::Error>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let default = match arguments.command {
        Command::Run(_) => LevelFilter::INFO,
        Command::Explain(_)
        | Command::Get(_)
        | Command::Apply(_)
        | Command::Delete(_)
        | Command::Edit(_)
        | Command::Render(_)
        | Command::Cleanup(_)
        | Command::Check(_) => LevelFilter::WARN,
    };
    tracing_subscriber::fmt()
        .with_max_level(arguments.log.unwrap_or(default))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    let outcome = match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Explain(arguments) => explain::explain(arguments),
        Command::Get(arguments) => get::get(arguments),
        Command::Apply(arguments) => apply::apply(arguments),
        Command::Delete(arguments) => apply::delete(arguments),
        Command::Edit(arguments) => edit::edit(arguments),
        Command::Render(arguments) => render::render(arguments),
        Command::Cleanup(arguments) => render::cleanup(arguments),
        Command::Check(arguments) => check::check(arguments),
    };
    outcome.unwrap_or_else(|error| {
        // A reader that closed the pipe early, such as `head`, has seen what it wanted.
        let closed = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if closed {
            return ExitCode::SUCCESS;
        }
        eprintln!("portolan: {error}");
        ExitCode::from(2)
    })
}
