//! `portolan render`: the ruleset that manifests make, as text for `nft`; or what changes between two sets of them.
//! `portolan cleanup`: the tables deleted.

use crate::CommandError;
use crate::backend::TableArguments;
use crate::offline::read_node;
use crate::watch::Manifests;
use clap::Args;
use portolan::model::{Kind, Object};
use portolan::net::Generation;
use portolan::nft::{self, NftCommand, Renderer};
use portolan::node::Node;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::{info, warn};

/// What `portolan render` is told.
#[derive(Debug, Args)]
pub(crate) struct RenderArguments {
    /// The description of the node (YAML)
    #[arg(long, value_name = "FILE")]
    node_config: PathBuf,
    /// Manifests: files, or directories of .yaml, .yml and .json files
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    objects: Vec<PathBuf>,
    /// Prints not the ruleset, but the transactions that lead from these manifests to those of --objects
    #[arg(long, value_name = "PATH", num_args = 1..)]
    since: Vec<PathBuf>,
    #[command(flatten)]
    table: TableArguments,
}

/// Prints.
pub(crate) fn render(arguments: &RenderArguments) -> Result<ExitCode, CommandError> {
    let mut node = Node::new(read_node(&arguments.node_config)?);
    let mut renderer = Renderer::new(arguments.table.options());
    let mut out = std::io::stdout().lock();
    if arguments.since.is_empty() {
        replace(&mut node, &arguments.objects)?;
        renderer.update(&node.changes(Generation(0)));
        write!(out, "{}", renderer.text())?;
    } else {
        replace(&mut node, &arguments.since)?;
        renderer.update(&node.changes(Generation(0)));
        let condemned = renderer.condemned();
        renderer.retire(condemned);
        let since = node.generation();
        replace(&mut node, &arguments.objects)?;
        let update = renderer.update(&node.changes(since));
        write!(out, "{}", update.chains)?;
        let table = &renderer.options().table;
        for step in &update.now {
            writeln!(out, "# one transaction")?;
            write!(out, "{}", step.transaction.text(table))?;
        }
        let condemned = renderer.condemned();
        let table = renderer.options().table.clone();
        for step in renderer.retire(condemned) {
            writeln!(out, "# a second later")?;
            write!(out, "{}", step.transaction.text(&table))?;
        }
    }
    for rejection in renderer.rejections().chain(renderer.concessions()) {
        warn!("{rejection}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the node's objects those of the manifests.
fn replace(node: &mut Node, manifests: &[PathBuf]) -> Result<(), CommandError> {
    let difference = Manifests::new(manifests)?.refresh(true);
    if let Some((path, reason)) = difference.unreadable.first() {
        return Err(format!("{}: {reason}", path.display()).into());
    }
    for (path, rejection) in &difference.rejections {
        warn!("{}: {rejection}", path.display());
    }
    let kinds = [
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Endpoints,
        Kind::Node,
    ];
    let objects = difference.apply;
    for kind in kinds {
        let of_kind = |object: &&Object| object.reference().kind == kind;
        let own: Vec<Object> = objects.iter().filter(of_kind).cloned().collect();
        for rejection in node.replace(kind, own) {
            warn!("{rejection}");
        }
    }
    Ok(())
}

/// What `portolan cleanup` is told.
#[derive(Debug, Args)]
pub(crate) struct CleanupArguments {
    #[command(flatten)]
    table: TableArguments,
}

/// Deletes the tables of the name, and nothing else.
pub(crate) fn cleanup(arguments: &CleanupArguments) -> Result<ExitCode, CommandError> {
    let options = arguments.table.options();
    nft::cleanup(&NftCommand::default(), &options.table)?;
    info!("no tables {} any more", options.table);
    Ok(ExitCode::SUCCESS)
}
