//! `cargo xtask demo`: a small cluster made of network namespaces, and requests through Portolan.

mod client;
mod cluster;
pub(crate) mod pod;
mod routing;

use std::fs;
use std::process::{self, ExitCode};

use anyhow::{Context, Result};

use crate::{interrupt, packages, workspace};
use client::Answers;
use cluster::Cluster;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Start this on each node instead of `portolan run`; it must hold the TUN ptl0
    #[arg(long, hide = true)]
    forwarder: Option<String>,
}

/// Builds the cluster, shows the scenarios, and takes everything down again.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    packages::require(&[packages::IP, packages::NFT, packages::CURL])?;
    let directory = workspace::target().join(format!("xtask-demo-{}", process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let mut cluster = Cluster::new(&directory)?;
    if let Some(forwarder) = &arguments.forwarder {
        cluster.divert(|_| forwarder.split(' ').map(str::to_owned).collect())?;
    }
    let mut places = vec![&cluster.outside];
    places.extend(
        cluster
            .nodes
            .iter()
            .flat_map(|node| [&node.place, &node.client]),
    );
    for place in places {
        for url in [
            "10.244.1.11",
            "10.244.1.12",
            "10.244.2.11",
            "[fd00:244:1::11]",
            "[fd00:244:2::11]",
        ] {
            let answers = client::ask(place, &format!("http://{url}"), 3)?;
            let Answers { given, silent } = &answers;
            let seen = given
                .first()
                .map(|answer| (&answer.client, &answer.node, answer.port));
            println!(
                "{:<10} {url:<20} {:?} {silent} {seen:?}",
                place.name,
                answers.by_pod()
            );
        }
    }
    cluster.check()?;
    Ok(ExitCode::SUCCESS)
}
