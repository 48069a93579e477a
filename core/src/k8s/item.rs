//! One parsed value: a list of objects, an object that is served, or something else.

use super::findings::{About, Findings, Quoted};
use super::source::Place;
use super::{endpoint_slice, endpoints, node, parts, service};
use crate::model::{Kind, ObjectKey};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use k8s_openapi::api::{core::v1 as core_v1, discovery::v1 as discovery_v1};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Kinds of Kubernetes' own groups, which a manifest may well hold and which no Service dataplane reads.
const NOT_OURS: &[&str] = &[
    "APIService",
    "Binding",
    "CSIDriver",
    "CSINode",
    "CSIStorageCapacity",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "ControllerRevision",
    "CronJob",
    "CustomResourceDefinition",
    "DaemonSet",
    "Deployment",
    "Event",
    "FlowSchema",
    "HorizontalPodAutoscaler",
    "IPAddress",
    "Ingress",
    "IngressClass",
    "Job",
    "Lease",
    "LimitRange",
    "MutatingWebhookConfiguration",
    "Namespace",
    "NetworkPolicy",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "PodTemplate",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "ReplicaSet",
    "ReplicationController",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "RuntimeClass",
    "Secret",
    "ServiceAccount",
    "ServiceCIDR",
    "StatefulSet",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

/// Adds what one value holds to the findings.
pub(super) fn decode(value: Value, place: Place<'_>, findings: &mut Findings) {
    decode_as(value, None, place, findings);
}

/// As [`decode`]; `default` is the `(apiVersion, kind)` of what does not say its own, as items of typed lists do not.
fn decode_as(
    value: Value,
    default: Option<(&str, &str)>,
    place: Place<'_>,
    findings: &mut Findings,
) {
    let mut fields = match value {
        Value::Object(fields) => fields,
        Value::Array(items) => {
            for (index, item) in items.into_iter().enumerate() {
                decode_as(item, default, place.item(index), findings);
            }
            return;
        }
        Value::Null => return,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            findings.reject(place, "", "must be an object with apiVersion and kind");
            return;
        }
    };
    let text = |key: &str| {
        fields
            .get(key)
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let kind = text("kind").or_else(|| default.map(|(_, kind)| kind.to_owned()));
    let version = text("apiVersion").or_else(|| default.map(|(version, _)| version.to_owned()));
    let Some(kind) = kind else {
        findings.reject(
            place,
            "kind",
            "is missing: must say what the object is, such as Service",
        );
        return;
    };
    let version = version.unwrap_or_default();
    let of_items = kind.strip_suffix("List").unwrap_or_default();
    if kind == "List" || (kind.ends_with("List") && fields.contains_key("items")) {
        let default = Some((version.as_str(), of_items)).filter(|_| !of_items.is_empty());
        match fields.remove("items") {
            Some(Value::Array(items)) => {
                for (index, item) in items.into_iter().enumerate() {
                    decode_as(item, default, place.item(index), findings);
                }
            }
            // Go writes an empty list so.
            None | Some(Value::Null) => {}
            Some(_) => findings.reject(place, "items", "must be a list of objects"),
        }
        return;
    }
    object(&version, &kind, Value::Object(fields), place, findings);
}

/// One object that is no list.
fn object(version: &str, kind: &str, value: Value, place: Place<'_>, findings: &mut Findings) {
    let served = match kind {
        "Service" => Kind::Service,
        "EndpointSlice" => Kind::EndpointSlice,
        "Endpoints" => Kind::Endpoints,
        "Node" => Kind::Node,
        _ => {
            let name = unchecked_name(kind, &value, place);
            if NOT_OURS.contains(&kind) {
                findings.ignore(&name);
            } else {
                findings.reject(name, "kind", format_args!("kind {kind} is not served"));
            }
            return;
        }
    };
    let expected = match served {
        Kind::EndpointSlice => "discovery.k8s.io/v1",
        Kind::Service | Kind::Endpoints | Kind::Node => "v1",
    };
    if version != expected {
        let rule = if version.is_empty() {
            format!("is missing: must be {expected}")
        } else {
            format!("{} is not served: must be {expected}", Quoted(version))
        };
        findings.reject(unchecked_name(kind, &value, place), "apiVersion", rule);
        return;
    }
    let key = match object_key(served, &value) {
        Ok(key) => key,
        Err((field, rule)) => {
            findings.reject(unchecked_name(kind, &value, place), field, rule);
            return;
        }
    };
    let name = format!("{served} {key}");
    let mut about = About {
        object: &name,
        findings,
    };
    typed_object(served, key, value, &mut about);
}

/// An object of a kind that is served, under a name that is sound.
fn typed_object(kind: Kind, key: ObjectKey, value: Value, about: &mut About<'_>) {
    let object =
        match kind {
            Kind::Service => typed::<core_v1::Service>(value, about)
                .and_then(|it| service::convert(key, it, about)),
            Kind::EndpointSlice => typed::<discovery_v1::EndpointSlice>(value, about)
                .and_then(|it| endpoint_slice::convert(key, it, about)),
            Kind::Endpoints => typed::<core_v1::Endpoints>(value, about)
                .map(|it| endpoints::convert(key, it, about)),
            Kind::Node => {
                typed::<core_v1::Node>(value, about).map(|it| node::convert(key.name, it, about))
            }
        };
    if let Some(object) = object {
        about.findings.object(object);
    }
}

/// The value as the API's own type. A field of a wrong type costs the object: the API server would not take it either.
pub(super) fn typed<T: DeserializeOwned>(value: Value, about: &mut About<'_>) -> Option<T> {
    match serde_path_to_error::deserialize(value) {
        Ok(typed) => Some(typed),
        Err(error) => {
            let field = match error.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            let rule = error.inner().to_string();
            let rule = rule
                .replace("expected i32", "expected a number")
                .replace("expected i64", "expected a number");
            about.reject(field, rule);
            None
        }
    }
}

/// Namespace and name, checked; or the field that is wrong and why.
fn object_key(kind: Kind, value: &Value) -> Result<ObjectKey, (&'static str, String)> {
    let name = match metadata(value, "name") {
        Some(Value::String(name)) if !name.is_empty() => name,
        None | Some(Value::Null | Value::String(_)) => {
            return Err(("metadata.name", "is missing".to_string()));
        }
        Some(_) => return Err(("metadata.name", "must be a string".to_string())),
    };
    if !parts::is_subdomain(name) {
        let rule = format!(
            "{} is not a name: must be {}",
            Quoted(name),
            parts::SUBDOMAIN
        );
        return Err(("metadata.name", rule));
    }
    if kind == Kind::Node {
        return Ok(ObjectKey::new("", name.as_str()));
    }
    let namespace = match metadata(value, "namespace") {
        Some(Value::String(namespace)) if !namespace.is_empty() => namespace,
        None | Some(Value::Null | Value::String(_)) => "default",
        Some(_) => return Err(("metadata.namespace", "must be a string".to_string())),
    };
    if !parts::is_label(namespace) {
        let rule = format!(
            "{} is not a namespace: must be {}",
            Quoted(namespace),
            parts::LABEL
        );
        return Err(("metadata.namespace", rule));
    }
    Ok(ObjectKey::new(namespace, name.as_str()))
}

fn metadata<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get("metadata")?.get(field)
}

/// What to call an object whose name may be missing or odd: by name if it has one, else by place.
fn unchecked_name(kind: &str, value: &Value, place: Place<'_>) -> String {
    let text = |field| {
        metadata(value, field)
            .and_then(Value::as_str)
            .filter(|it| !it.is_empty())
    };
    match (text("namespace"), text("name")) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        (_, None) => format!("{kind} at {place}"),
    }
}
