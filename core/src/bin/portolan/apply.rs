//! `portolan apply` and `portolan delete`: objects of a store, by manifest or by name.

use crate::CommandError;
use crate::control::{self, Request};
use crate::offline::{own_node, read_api_settings, read_node};
use crate::store::{Line, Store, kind_named};
use clap::Args;
use portolan::k8s::decode_resources;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which store is meant: that of a running process, or a directory that none works on.
#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// Works on this store itself, which no running portolan may have open
    #[arg(long, value_name = "DIR", requires = "node_config")]
    store: Option<PathBuf>,
    /// The description of the node that the store is for (YAML)
    #[arg(long, value_name = "FILE", requires = "store")]
    node_config: Option<PathBuf>,
    /// The control socket of the running portolan [default: /run/portolan.sock, else
    /// $XDG_RUNTIME_DIR/portolan.sock]
    #[arg(long, value_name = "SOCKET", conflicts_with = "store")]
    control: Option<PathBuf>,
}

impl StoreArguments {
    /// The answer of the store.
    pub(crate) fn ask(&self, request: &Request) -> Result<Value, CommandError> {
        match (&self.store, &self.node_config) {
            (Some(root), Some(node_config)) => ask_directory(root, node_config, request),
            _ => control::ask(self.control.as_deref(), request),
        }
    }
}

/// The answer of a store that no running process works on.
pub(crate) fn ask_directory(
    root: &Path,
    node_config: &Path,
    request: &Request,
) -> Result<Value, CommandError> {
    let node = read_node(node_config)?;
    let settings = read_api_settings(Some(node_config), &node)?;
    let mut store = Store::open(root, settings, own_node(&node))?;
    for (path, rejection) in store.load()?.rejections {
        eprintln!("portolan: {}: {rejection}", path.display());
    }
    Ok(store.answer(request)?.0)
}

/// What `portolan apply` is told.
#[derive(Debug, Args)]
pub(crate) struct ApplyArguments {
    /// Manifests: files, directories of .yaml, .yml and .json files, or - for standard input
    #[arg(short, long, required = true, value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArguments,
}

/// What `portolan delete` is told.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// The objects of these manifests
    #[arg(short, long, value_name = "PATH", num_args = 1.., required_unless_present = "kind")]
    filename: Vec<PathBuf>,
    /// The kind of the objects to delete, such as service
    #[arg(requires = "names", conflicts_with = "filename")]
    kind: Option<String>,
    /// Their names
    names: Vec<String>,
    /// Their namespace
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    #[command(flatten)]
    store: StoreArguments,
}

/// Creates or replaces.
pub(crate) fn apply(arguments: &ApplyArguments) -> Result<ExitCode, CommandError> {
    let mut lines = Vec::new();
    for text in texts(&arguments.filename)? {
        let answer = arguments.store.ask(&Request::Apply { manifest: text })?;
        lines.extend(serde_json::from_value::<Vec<Line>>(answer)?);
    }
    print(&lines)
}

/// Deletes.
pub(crate) fn delete(arguments: &DeleteArguments) -> Result<ExitCode, CommandError> {
    let mut objects = Vec::new();
    if let Some(kind) = &arguments.kind {
        kind_named(kind)?;
        let named = arguments.names.iter();
        objects.extend(named.map(|name| (kind.clone(), arguments.namespace.clone(), name.clone())));
    }
    for text in texts(&arguments.filename)? {
        let read = decode_resources(text.as_bytes(), "the manifest");
        if let Some(rejection) = read.rejections.first() {
            return Err(rejection.to_string().into());
        }
        for reference in read.resources.iter().map(|it| it.reference()) {
            let kind = reference.kind.as_str().to_owned();
            objects.push((kind, reference.key.namespace, reference.key.name));
        }
    }
    let answer = arguments.store.ask(&Request::Delete { objects })?;
    print(&serde_json::from_value::<Vec<Line>>(answer)?)
}

/// The manifests' texts.
fn texts(paths: &[PathBuf]) -> Result<Vec<String>, CommandError> {
    let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut texts = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            texts.push(text);
            continue;
        }
        let files = if path.is_dir() {
            let listed = crate::watch::list(path).map_err(|error| told(path, error))?;
            let mut files: Vec<_> = listed.into_iter().map(|(path, _)| path).collect();
            files.sort();
            files
        } else {
            vec![path.clone()]
        };
        for file in files {
            texts.push(std::fs::read_to_string(&file).map_err(|error| told(&file, error))?);
        }
    }
    Ok(texts)
}

/// Says what came of each object, as kubectl does; 1 if something was refused.
pub(crate) fn print(lines: &[Line]) -> Result<ExitCode, CommandError> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        match &line.outcome {
            Some(outcome) => writeln!(out, "{} {outcome}", line.object)?,
            None => eprintln!("{}", line.error.as_deref().unwrap_or_default()),
        }
    }
    let refused = lines.iter().any(|line| line.error.is_some());
    Ok(ExitCode::from(u8::from(refused)))
}
