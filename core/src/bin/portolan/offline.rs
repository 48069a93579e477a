//! Where a command's answers come from: a running `portolan`, or the same files that one would read.

use crate::CommandError;
use crate::serving::Serving;
use crate::watch::{Difference, Manifests};
use clap::Args;
use portolan::dataplane::Config;
use portolan::k8s;
use portolan::plan::NodeConfig;
use std::path::{Path, PathBuf};
use tracing::{error, warn};

/// Where the answers come from.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Answers from this description of a node instead of asking a running portolan (YAML)
    #[arg(long, value_name = "FILE", requires = "objects")]
    node_config: Option<PathBuf>,
    /// Answers from these manifests: files, or directories of .yaml, .yml and .json files
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "node_config")]
    objects: Vec<PathBuf>,
    /// The control socket of the running portolan [default: /run/portolan.sock, else
    /// $XDG_RUNTIME_DIR/portolan.sock]
    #[arg(long, value_name = "SOCKET", conflicts_with = "node_config")]
    control: Option<PathBuf>,
}

impl Source {
    /// The control socket to ask, if one was named.
    pub(crate) fn control(&self) -> Option<&Path> {
        self.control.as_deref()
    }

    /// A node made from the files; `None` if a running process is to be asked.
    pub(crate) fn load(&self) -> Result<Option<Serving>, CommandError> {
        let Some(node_config) = &self.node_config else {
            return Ok(None);
        };
        let mut serving = Serving::new(read_node(node_config)?, &Config::default())?;
        let difference = Manifests::new(&self.objects)?.refresh(true);
        apply(&mut serving, difference)?;
        Ok(Some(serving))
    }
}

/// Reads the description of a node.
pub(crate) fn read_node(path: &Path) -> Result<NodeConfig, CommandError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| format!("{name}: {error}"))?;
    k8s::decode_node_config(&bytes, &name).map_err(|rejections| {
        let lines: Vec<_> = rejections.iter().map(ToString::to_string).collect();
        lines.join("\n").into()
    })
}

/// Applies what changed in the files; logs what cannot be served. Everything else is served.
pub(crate) fn apply(serving: &mut Serving, difference: Difference) -> Result<(), CommandError> {
    for (path, reason) in &difference.unreadable {
        error!("{}: {reason}; what it held stays in force", path.display());
    }
    for (path, rejection) in &difference.rejections {
        let name = path.display().to_string();
        if rejection.object.contains(&name) {
            warn!("{rejection}");
        } else {
            warn!("{name}: {rejection}");
        }
    }
    for rejection in serving.change(&difference.delete, difference.apply)? {
        warn!("{rejection}");
    }
    Ok(())
}
