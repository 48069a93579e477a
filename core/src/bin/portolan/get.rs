//! `portolan get`: Services, endpoints, connections and counters as tables, or as JSON.

mod objects;
pub(crate) mod rows;

use crate::CommandError;
use crate::control::{self, Request};
use crate::offline::Source;
use clap::{Args, ValueEnum};
use portolan::k8s::ResourceKind;
use rows::{ConnectionRow, EndpointsRow, ServiceRow, StatRow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Resource {
    /// Services, as `kubectl get services` prints them
    #[value(alias = "service", alias = "svc")]
    Services,
    /// Endpoints, as `kubectl get endpoints` prints them
    #[value(alias = "ep")]
    Endpoints,
    /// Live connections of a running portolan
    #[value(alias = "connection", alias = "conn")]
    Connections,
    /// Counters and capacities of a running portolan
    Stats,
    /// EndpointSlices of a store, given and made
    #[value(alias = "endpointslice")]
    Endpointslices,
    /// Pods of a store
    #[value(alias = "pod", alias = "po")]
    Pods,
    /// Nodes of a store
    #[value(alias = "node", alias = "no")]
    Nodes,
    /// Namespaces of a store
    #[value(alias = "namespace", alias = "ns")]
    Namespaces,
    /// ServiceCIDRs of a store
    #[value(alias = "servicecidr")]
    Servicecidrs,
}

impl Resource {
    /// The kind of whole objects that it is.
    const fn kind(self) -> Option<ResourceKind> {
        match self {
            Self::Services => Some(ResourceKind::Service),
            Self::Endpoints => Some(ResourceKind::Endpoints),
            Self::Endpointslices => Some(ResourceKind::EndpointSlice),
            Self::Pods => Some(ResourceKind::Pod),
            Self::Nodes => Some(ResourceKind::Node),
            Self::Namespaces => Some(ResourceKind::Namespace),
            Self::Servicecidrs => Some(ResourceKind::ServiceCidr),
            Self::Connections | Self::Stats => None,
        }
    }

    /// Is there a table of it that needs no store?
    const fn has_rows(self) -> bool {
        matches!(
            self,
            Self::Services | Self::Endpoints | Self::Connections | Self::Stats
        )
    }
}

/// How whole objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// As YAML
    Yaml,
    /// As JSON
    Json,
}

/// What `portolan get` is told.
#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    /// What to list
    #[arg(value_enum)]
    resource: Resource,
    /// Only the one of this name
    name: Option<String>,
    /// The namespace of Services and endpoints
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// Services and endpoints of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Prints a JSON array instead of a table
    #[arg(long)]
    json: bool,
    /// Prints whole objects of a running portolan's store
    #[arg(short, long, value_enum)]
    output: Option<Output>,
    #[command(flatten)]
    source: Source,
}

/// One row of a table.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// The columns' names.
    const HEADER: &'static [&'static str];
    /// The columns.
    fn cells(&self) -> Vec<String>;
    /// Namespace and name, if it is an object's row.
    fn key(&self) -> Option<(&str, &str)>;
}

/// Lists what is asked for.
pub(crate) fn get(arguments: &GetArguments) -> Result<ExitCode, CommandError> {
    if arguments.output.is_some() || !arguments.resource.has_rows() {
        let kind = arguments.resource.kind();
        let kind = kind.ok_or("connections and counters are no objects: leave out --output")?;
        return objects::get(arguments, kind);
    }
    let rows = match arguments.source.load()? {
        Some(serving) => rows::offline(&serving, arguments.resource)?,
        None => control::ask(
            arguments.source.control(),
            &Request::Get {
                resource: arguments.resource,
            },
        )?,
    };
    match arguments.resource {
        Resource::Services => show::<ServiceRow>(arguments, rows),
        Resource::Endpoints => show::<EndpointsRow>(arguments, rows),
        Resource::Connections => show::<ConnectionRow>(arguments, rows),
        Resource::Stats => show::<StatRow>(arguments, rows),
        Resource::Endpointslices
        | Resource::Pods
        | Resource::Nodes
        | Resource::Namespaces
        | Resource::Servicecidrs => Err("these are objects, and have no rows".into()),
    }
}

fn show<R: Row>(arguments: &GetArguments, rows: Value) -> Result<ExitCode, CommandError> {
    let mut rows: Vec<R> = serde_json::from_value(rows)?;
    rows.retain(|row| {
        row.key().is_none_or(|(namespace, name)| {
            (arguments.all_namespaces || namespace == arguments.namespace)
                && arguments
                    .name
                    .as_deref()
                    .is_none_or(|wanted| wanted == name)
        })
    });
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let missing = rows.is_empty() && rows_are_objects(arguments.resource);
    if missing {
        return match (&arguments.name, arguments.all_namespaces) {
            (Some(name), _) => Err(format!("{name} not found").into()),
            (None, true) => {
                eprintln!("No resources found");
                Ok(ExitCode::SUCCESS)
            }
            (None, false) => {
                eprintln!("No resources found in {} namespace.", arguments.namespace);
                Ok(ExitCode::SUCCESS)
            }
        };
    }
    let mut lines = vec![R::HEADER.iter().map(|name| (*name).to_owned()).collect()];
    lines.extend(rows.iter().map(Row::cells));
    if arguments.all_namespaces && rows_are_objects(arguments.resource) {
        let namespaces = rows.iter().filter_map(|row| Some(row.key()?.0.to_owned()));
        for (line, namespace) in lines
            .iter_mut()
            .zip(core::iter::once("NAMESPACE".to_owned()).chain(namespaces))
        {
            line.insert(0, namespace);
        }
    }
    print_table(&mut out, &lines)?;
    Ok(ExitCode::SUCCESS)
}

const fn rows_are_objects(resource: Resource) -> bool {
    matches!(resource, Resource::Services | Resource::Endpoints)
}

/// Prints columns three blanks apart, as kubectl does.
fn print_table(out: &mut impl Write, lines: &[Vec<String>]) -> std::io::Result<()> {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for line in lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text += &format!("{cell:<width$}   ");
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
