//! What runs in a pod of the demo: an HTTP server that answers who it is and whom it sees.

use core::fmt::Write;
use core::net::SocketAddr;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, anyhow};
use tiny_http::{Request, Response, Server};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The pod's name, which is its answer's first word
    #[arg(long)]
    name: String,
    /// The node it runs on, the second word
    #[arg(long)]
    node: String,
    /// Where to listen; one server for each
    #[arg(long, required = true)]
    port: Vec<u16>,
}

/// Serves until it is killed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let servers = arguments.port.iter().map(|port| {
        // The unspecified IPv6 address takes IPv4 as well.
        Server::http(("::", *port)).map_err(|error| anyhow!("listening on port {port}: {error}"))
    });
    let servers = servers.collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| serve(arguments, server));
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn serve(arguments: &Arguments, server: &Server) {
    let port = server
        .server_addr()
        .to_ip()
        .map_or(0, |address| address.port());
    for request in server.incoming_requests() {
        // A client that has gone before its answer is no reason to stop serving the others.
        if let Err(error) = answer(arguments, port, request) {
            eprintln!("{error:#}");
        }
    }
}

fn answer(arguments: &Arguments, port: u16, request: Request) -> Result<()> {
    let mut text = format!("{} {} {port}", arguments.name, arguments.node);
    let client = request.remote_addr().map(SocketAddr::ip);
    let client = client
        .context("a client without an address")?
        .to_canonical();
    writeln!(text, " {client}")?;
    request
        .respond(Response::from_string(text))
        .context("answering")
}
