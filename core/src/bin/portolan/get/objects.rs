//! Whole objects of a store: as YAML, as JSON, or as the table that kubectl prints of their kind.

use super::{GetArguments, Output, print_table, rows::age};
use crate::CommandError;
use crate::control::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portolan::k8s::ResourceKind;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

/// Endpoints of a slice that a table shows before it says how many more there are, as kubectl does.
const SHOWN_ENDPOINTS: usize = 3;

/// Prints the objects of a kind that are asked for.
pub(super) fn get(arguments: &GetArguments, kind: ResourceKind) -> Result<ExitCode, CommandError> {
    let request = Request::Objects {
        kind: kind.plural().to_owned(),
    };
    let answer = arguments.source.ask_store(&request)?;
    let Value::Array(mut objects) = answer else {
        return Err("the answer is no list of objects".into());
    };
    let text = |object: &Value, field: &str| object["metadata"][field].as_str().map(str::to_owned);
    objects.retain(|object| {
        let here = !kind.is_namespaced()
            || arguments.all_namespaces
            || text(object, "namespace").as_deref() == Some(&arguments.namespace);
        let named = arguments.name.is_none() || text(object, "name") == arguments.name;
        here && named
    });
    if objects.is_empty() {
        if let Some(name) = &arguments.name {
            return Err(format!("{} {name:?} not found", kind.plural()).into());
        }
        eprintln!("No resources found");
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    let output = arguments.output.or(arguments.json.then_some(Output::Json));
    let Some(output) = output else {
        let mut lines = vec![header(kind).iter().map(|it| (*it).to_owned()).collect()];
        lines.extend(objects.iter().map(|object| cells(kind, object)));
        if arguments.all_namespaces && kind.is_namespaced() {
            let namespaces = objects
                .iter()
                .map(|it| text(it, "namespace").unwrap_or_default());
            let column = core::iter::once("NAMESPACE".to_owned()).chain(namespaces);
            for (line, namespace) in lines.iter_mut().zip(column) {
                line.insert(0, namespace);
            }
        }
        print_table(&mut out, &lines)?;
        return Ok(ExitCode::SUCCESS);
    };
    let printed = match (&arguments.name, objects.pop()) {
        (Some(_), Some(only)) => only,
        (_, last) => {
            objects.extend(last);
            json!({ "apiVersion": "v1", "kind": "List", "items": objects })
        }
    };
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &printed)?;
            writeln!(out)?;
        }
        Output::Yaml => write!(out, "{}", serde_saphyr::to_string(&printed)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

const fn header(kind: ResourceKind) -> &'static [&'static str] {
    match kind {
        ResourceKind::Pod => &["NAME", "READY", "STATUS", "IP", "NODE", "AGE"],
        ResourceKind::EndpointSlice => &["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"],
        ResourceKind::Node => &["NAME", "ZONE", "INTERNAL-IP", "AGE"],
        ResourceKind::ServiceCidr => &["NAME", "CIDRS", "AGE"],
        ResourceKind::Namespace | ResourceKind::Service | ResourceKind::Endpoints => {
            &["NAME", "AGE"]
        }
    }
}

fn cells(kind: ResourceKind, object: &Value) -> Vec<String> {
    let name = plain(&object["metadata"]["name"]);
    let created = &object["metadata"]["creationTimestamp"];
    let created = serde_json::from_value::<Time>(created.clone()).ok();
    let age = age(created.map(|time| time.0.as_second()));
    let middle = match kind {
        ResourceKind::Pod => pod(object),
        ResourceKind::EndpointSlice => slice(object),
        ResourceKind::Node => vec![
            plain(&object["metadata"]["labels"]["topology.kubernetes.io/zone"]),
            listed(&object["status"]["addresses"], |it| {
                (it["type"] == "InternalIP").then(|| plain(&it["address"]))
            }),
        ],
        ResourceKind::ServiceCidr => vec![listed(&object["spec"]["cidrs"], |it| Some(plain(it)))],
        ResourceKind::Namespace | ResourceKind::Service | ResourceKind::Endpoints => Vec::new(),
    };
    [vec![name], middle, vec![age]].concat()
}

fn pod(object: &Value) -> Vec<String> {
    let status = &object["status"];
    let conditions = status["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|it| it["type"] == "Ready" && it["status"] == "True");
    let terminating = !object["metadata"]["deletionTimestamp"].is_null();
    vec![
        if ready { "True" } else { "False" }.to_owned(),
        if terminating {
            "Terminating".to_owned()
        } else {
            plain(&status["phase"])
        },
        plain(&status["podIP"]),
        plain(&object["spec"]["nodeName"]),
    ]
}

fn slice(object: &Value) -> Vec<String> {
    let endpoints = object["endpoints"].as_array();
    let addresses: Vec<String> = endpoints
        .into_iter()
        .flatten()
        .filter_map(|it| Some(it["addresses"].get(0)?.as_str()?.to_owned()))
        .collect();
    let more = addresses.len().saturating_sub(SHOWN_ENDPOINTS);
    let shown = addresses
        .iter()
        .take(SHOWN_ENDPOINTS)
        .cloned()
        .collect::<Vec<_>>()
        .join(",");
    let shown = match more {
        0 if shown.is_empty() => "<unset>".to_owned(),
        0 => shown,
        more => format!("{shown} + {more} more..."),
    };
    let ports = listed(&object["ports"], |it| Some(plain(&it["port"])));
    let ports = if ports == "<none>" {
        "<unset>".to_owned()
    } else {
        ports
    };
    vec![plain(&object["addressType"]), ports, shown]
}

/// A scalar, or that there is none.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn listed(values: &Value, item: impl Fn(&Value) -> Option<String>) -> String {
    let items: Vec<_> = values
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(item)
        .collect();
    if items.is_empty() {
        "<none>".to_owned()
    } else {
        items.join(",")
    }
}
