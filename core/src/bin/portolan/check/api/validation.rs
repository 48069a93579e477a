//! Cases of kind `validation`: what is filled in of a Service, and what is refused.

use super::Bench;
use super::case::{ErrorExpect, Operation, ValidationCase, ValidationConfig, ValidationFile};
use crate::check::Sink;
use k8s_openapi::api::core::v1::Service;
use portolan::api::{FieldError, NodePortRange, Registry, ServiceRange, Settings};
use portolan::k8s::{Resource, decode_resource_value};
use portolan::model::ObjectKey;
use serde_json::Value;

/// Runs the cases that are wanted.
pub(crate) fn run(
    name: &str,
    file: &ValidationFile,
    wanted: impl Fn(&str) -> bool,
    sink: Sink<'_>,
) -> std::io::Result<()> {
    for case in file.cases.iter().filter(|case| wanted(&case.name)) {
        let config = case.config.as_ref().or(file.config.as_ref());
        let mut bench = Bench {
            file: name,
            case: &case.name,
            tags: &case.tags,
            sink: &mut *sink,
        };
        run_case(case, config, &mut bench)?;
    }
    Ok(())
}

/// An error, as a case file names it.
struct Reported {
    field: String,
    kind: &'static str,
    text: String,
}

impl From<FieldError> for Reported {
    fn from(error: FieldError) -> Self {
        Self {
            text: error.to_string(),
            kind: error.kind.as_str(),
            field: error.field,
        }
    }
}

fn settings(config: Option<&ValidationConfig>) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let Some(config) = config else {
        return Ok(settings);
    };
    for text in &config.service_cidrs {
        let prefix = text
            .parse()
            .map_err(|error| format!("serviceCIDRs: {text}: {error}"))?;
        settings.service_ranges.extend(ServiceRange::new(prefix));
    }
    if let Some(text) = &config.node_port_range {
        let range = text.parse::<NodePortRange>();
        settings.node_ports = range.map_err(|error| format!("nodePortRange: {text}: {error}"))?;
    }
    Ok(settings)
}

fn run_case(
    case: &ValidationCase,
    config: Option<&ValidationConfig>,
    bench: &mut Bench<'_>,
) -> std::io::Result<()> {
    let outcome = match admit(case, config) {
        Ok(outcome) => outcome,
        Err(error) => return bench.judge("the case".to_owned(), String::new(), Err(error)),
    };
    let errors = match &outcome {
        Ok(_) => &[][..],
        Err(errors) => errors.as_slice(),
    };
    let all: Vec<_> = errors.iter().map(|error| error.text.as_str()).collect();
    let all = if all.is_empty() {
        "valid".to_owned()
    } else {
        all.join("; ")
    };
    let expected = if case.expect.valid {
        "valid"
    } else {
        "invalid"
    };
    let right = case.expect.valid == errors.is_empty();
    let actual = if right {
        Ok(all.clone())
    } else {
        Err(all.clone())
    };
    bench.judge("valid".to_owned(), expected.to_owned(), actual)?;
    for wanted in &case.expect.errors {
        let kind = wanted.kind.clone().unwrap_or_default();
        let found = errors.iter().any(|error| {
            let kinds = kind.split('|').map(str::trim);
            is_within(&error.field, &wanted.field)
                && kinds
                    .into_iter()
                    .any(|it| it.is_empty() || it.eq_ignore_ascii_case(error.kind))
        });
        let actual = if found {
            Ok(all.clone())
        } else {
            Err(all.clone())
        };
        bench.judge(
            format!("error {}", wanted.field),
            format!("{kind} {}", wanted.field),
            actual,
        )?;
    }
    if !case.expect.errors.is_empty() {
        unrelated(errors, &case.expect.errors, bench)?;
    }
    let stored = match &outcome {
        Ok(service) => serde_json::to_value(service)?,
        Err(_) => Value::Null,
    };
    for (path, expected) in &case.expect.defaults {
        let found = at(&stored, path);
        let text = found.to_string();
        let actual = if same(expected, found) {
            Ok(text)
        } else {
            Err(text)
        };
        bench.judge(format!("default {path}"), expected.to_string(), actual)?;
    }
    Ok(())
}

/// Errors about fields that have nothing to do with those expected.
fn unrelated(
    errors: &[Reported],
    expected: &[ErrorExpect],
    bench: &mut Bench<'_>,
) -> std::io::Result<()> {
    let related = |field: &str| {
        expected
            .iter()
            .any(|it| is_within(field, &it.field) || is_within(&it.field, field))
    };
    let others: Vec<_> = errors
        .iter()
        .filter(|error| !related(&error.field))
        .collect();
    let texts: Vec<_> = others.iter().map(|error| error.text.as_str()).collect();
    let actual = if texts.is_empty() {
        Ok("none".to_owned())
    } else {
        Err(texts.join("; "))
    };
    bench.judge("no unrelated errors".to_owned(), "none".to_owned(), actual)
}

/// The Service as it would be stored, or what is wrong with it.
type Admitted = Result<Service, Vec<Reported>>;

fn admit(case: &ValidationCase, config: Option<&ValidationConfig>) -> Result<Admitted, String> {
    let mut registry = Registry::new(settings(config)?);
    let mut existing = Vec::new();
    for value in &case.existing {
        existing.extend(decode_resource_value(value.clone(), "existing").resources);
    }
    let mut key = None;
    if case.op == Operation::Update {
        let old = case.old.as_ref().ok_or("an update without `old`")?;
        let old: Service = serde_json::from_value(old.clone())
            .map_err(|error| format!("`old` cannot be read: {error}"))?;
        let old = Resource::Service(Box::new(old));
        key = Some(old.reference().key);
        existing.push(old);
    }
    registry.restore(existing);
    let new = match case.op {
        Operation::Create => case
            .service
            .as_ref()
            .ok_or("a creation without `service`")?,
        Operation::Update => case.new.as_ref().ok_or("an update without `new`")?,
    };
    let new: Service = match serde_path_to_error::deserialize(new) {
        Ok(new) => new,
        // The API server cannot read it either.
        Err(error) => {
            return Ok(Err(vec![Reported {
                field: error.path().to_string(),
                kind: "Invalid",
                text: error.to_string(),
            }]));
        }
    };
    let own = Resource::Service(Box::new(new.clone())).reference().key;
    let key: ObjectKey = key.unwrap_or(own);
    Ok(registry
        .admit(&key, new)
        .map_err(|errors| errors.into_iter().map(Reported::from).collect()))
}

/// Is the field this one, or a part of it? Letter case is not compared.
fn is_within(field: &str, whole: &str) -> bool {
    let (field, whole) = (field.to_lowercase(), whole.to_lowercase());
    let rest = field.strip_prefix(&whole);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The value at `spec.ports[0].nodePort`, or null.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    let mut here = value;
    for part in path.split('.') {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        here = &here[name];
        let indices = indices.split('[').filter_map(|it| it.strip_suffix(']'));
        for index in indices {
            here = match index.parse::<usize>() {
                Ok(index) => &here[index],
                Err(_) => &here[index],
            };
        }
    }
    here
}

/// Equal, but for the way in which scalars are written.
fn same(expected: &Value, actual: &Value) -> bool {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    expected == actual || plain(expected) == plain(actual)
}
