//! Where a command's answers come from: a running `portolan`, or the same files that one would read.

use crate::CommandError;
use crate::apply::ask_directory;
use crate::control::{self, Request};
use crate::serving::Serving;
use crate::store::Store;
use crate::watch::{Difference, Manifests};
use clap::Args;
use k8s_openapi::api::core::v1 as core_v1;
use portolan::api::{ApiDescription, Settings};
use portolan::dataplane::Config;
use portolan::k8s;
use portolan::plan::NodeConfig;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tracing::{error, warn};

/// Where the answers come from.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Answers from this description of a node instead of asking a running portolan (YAML)
    #[arg(long, value_name = "FILE")]
    node_config: Option<PathBuf>,
    /// Answers from these manifests: files, or directories of .yaml, .yml and .json files
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "node_config")]
    objects: Vec<PathBuf>,
    /// Answers from this store, which no running portolan may have open
    #[arg(
        long,
        value_name = "DIR",
        requires = "node_config",
        conflicts_with = "objects"
    )]
    store: Option<PathBuf>,
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

    /// What a store says to a request about whole objects.
    pub(crate) fn ask_store(&self, request: &Request) -> Result<Value, CommandError> {
        match (&self.store, &self.node_config) {
            (Some(root), Some(node_config)) => ask_directory(root, node_config, request),
            (None, Some(_)) => Err("whole objects are a store's: name it with --store".into()),
            _ => control::ask(self.control(), request),
        }
    }

    /// A node made from the files; `None` if a running process is to be asked.
    pub(crate) fn load(&self) -> Result<Option<Serving>, CommandError> {
        let Some(node_config) = &self.node_config else {
            return Ok(None);
        };
        let node = read_node(node_config)?;
        let difference = if let Some(root) = &self.store {
            let settings = read_api_settings(Some(node_config), &node)?;
            Store::open(root, settings, own_node(&node))?.load()?
        } else if self.objects.is_empty() {
            return Err("--node-config needs --objects or --store beside it".into());
        } else {
            Manifests::new(&self.objects)?.refresh(true)
        };
        let mut serving = Serving::new(node, &Config::default())?;
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

/// Reads how the API server's part allocates: the section `api` of a node's description. Without one, and without
/// a description, ClusterIPs come from where the node says that Services' addresses are.
pub(crate) fn read_api_settings(
    path: Option<&Path>,
    node: &NodeConfig,
) -> Result<Settings, CommandError> {
    /// The one section that matters here; the others have been read.
    #[derive(Default, Deserialize)]
    struct Sections {
        #[serde(default)]
        api: ApiDescription,
    }
    let name = path
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let sections = match path {
        None => Sections::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
            serde_saphyr::from_str(&text).map_err(|error| format!("{name}: {error}"))?
        }
    };
    let seed = u64::from(std::process::id());
    let settings = sections.api.into_settings(&name, &node.service_cidrs, seed);
    settings.map_err(|rejections| {
        let lines: Vec<_> = rejections.iter().map(ToString::to_string).collect();
        lines.join("\n").into()
    })
}

/// This node as an object, for Pods that stand on it.
pub(crate) fn own_node(node: &NodeConfig) -> core_v1::Node {
    let zone = node.zone.iter();
    let zone = zone.map(|zone| ("topology.kubernetes.io/zone".to_owned(), zone.clone()));
    let addresses = node.addresses.iter().map(|address| core_v1::NodeAddress {
        address: address.to_string(),
        type_: "InternalIP".to_owned(),
    });
    let mut object = core_v1::Node::default();
    object.metadata.name = Some(node.name.clone());
    object.metadata.labels = Some(zone.collect());
    object.status.get_or_insert_default().addresses = Some(addresses.collect());
    object
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
