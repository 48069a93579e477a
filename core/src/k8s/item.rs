//! One parsed value: a list of objects, an object that is served, or something else.

use super::findings::{About, Findings, Quoted};
use super::source::Place;
use super::{ResourceKind, endpoint_slice, endpoints, node, parts, resource, service};
use crate::model::{Kind, Object, ObjectKey};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use k8s_openapi::api::{core::v1 as core_v1, discovery::v1 as discovery_v1};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
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
pub(super) fn decode_as(
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
fn object(version: &str, kind: &str, mut value: Value, place: Place<'_>, findings: &mut Findings) {
    if findings.wants_resources()
        && let Some(kept) = ResourceKind::ALL.into_iter().find(|it| it.as_str() == kind)
    {
        resource::object(version, kept, value, place, findings);
        return;
    }
    let Some(served) = served(kind) else {
        let name = unchecked_name(kind, &value, place);
        if NOT_OURS.contains(&kind) {
            findings.ignore(&name);
        } else {
            findings.reject(name, "kind", format_args!("kind {kind} is not served"));
        }
        return;
    };
    let expected = api_version(served);
    if version != expected {
        let rule = version_rule(version, expected);
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
    // Often half of an object, and of no use here.
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    let name = format!("{served} {key}");
    let mut about = About {
        object: &name,
        findings,
    };
    if let Some(typed) = typed_object(served, &value, &mut about) {
        typed.convert(key, &mut about);
    }
}

/// What is wrong with a version.
pub(super) fn version_rule(version: &str, expected: &str) -> String {
    if version.is_empty() {
        format!("is missing: must be {expected}")
    } else {
        format!("{} is not served: must be {expected}", Quoted(version))
    }
}

/// The kind, if it is served.
pub(super) fn served(kind: &str) -> Option<Kind> {
    match kind {
        "Service" => Some(Kind::Service),
        "EndpointSlice" => Some(Kind::EndpointSlice),
        "Endpoints" => Some(Kind::Endpoints),
        "Node" => Some(Kind::Node),
        "Namespace" => Some(Kind::Namespace),
        _ => None,
    }
}

/// The one version that a kind is served in.
pub(super) const fn api_version(kind: Kind) -> &'static str {
    match kind {
        Kind::EndpointSlice => "discovery.k8s.io/v1",
        Kind::Service | Kind::Endpoints | Kind::Node | Kind::Namespace => "v1",
    }
}

/// An object of the API's own types.
pub(super) enum Typed {
    Service(Box<core_v1::Service>),
    EndpointSlice(discovery_v1::EndpointSlice),
    Endpoints(core_v1::Endpoints),
    Node(Box<core_v1::Node>),
    Namespace(core_v1::Namespace),
}

impl Typed {
    /// Reads an object. Where in it an error is, `typed` finds out: following the path costs every good object.
    pub(super) fn read<'de, D: Deserializer<'de>>(kind: Kind, from: D) -> Result<Self, D::Error> {
        Ok(match kind {
            Kind::Service => Self::Service(Box::deserialize(from)?),
            Kind::EndpointSlice => {
                Self::EndpointSlice(discovery_v1::EndpointSlice::deserialize(from)?)
            }
            Kind::Endpoints => Self::Endpoints(core_v1::Endpoints::deserialize(from)?),
            Kind::Node => Self::Node(Box::deserialize(from)?),
            Kind::Namespace => Self::Namespace(core_v1::Namespace::deserialize(from)?),
        })
    }

    pub(super) const fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Service(service) => &service.metadata,
            Self::EndpointSlice(slice) => &slice.metadata,
            Self::Endpoints(endpoints) => &endpoints.metadata,
            Self::Node(node) => &node.metadata,
            Self::Namespace(namespace) => &namespace.metadata,
        }
    }

    /// Adds the object, and what is wrong with it, to the findings.
    pub(super) fn convert(self, key: ObjectKey, about: &mut About<'_>) {
        let object = match self {
            Self::Service(it) => service::convert(key, *it, about),
            Self::EndpointSlice(it) => endpoint_slice::convert(key, it, about),
            Self::Endpoints(it) => Some(endpoints::convert(key, it, about)),
            Self::Node(it) => Some(node::convert(key.name, *it, about)),
            Self::Namespace(_) => Some(Object::Namespace(key.name)),
        };
        if let Some(object) = object {
            about.findings.object(object);
        }
    }
}

/// An object of a kind that is served.
fn typed_object(kind: Kind, value: &Value, about: &mut About<'_>) -> Option<Typed> {
    if let Ok(typed) = Typed::read(kind, value) {
        return Some(typed);
    }
    match kind {
        Kind::Service => typed(value, about).map(Typed::Service),
        Kind::EndpointSlice => typed(value, about).map(Typed::EndpointSlice),
        Kind::Endpoints => typed(value, about).map(Typed::Endpoints),
        Kind::Node => typed(value, about).map(Typed::Node),
        Kind::Namespace => typed(value, about).map(Typed::Namespace),
    }
}

/// The value as `T`. A field of a wrong type costs the object: the API server would not take it either.
pub(super) fn typed<T: DeserializeOwned>(value: &Value, about: &mut About<'_>) -> Option<T> {
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

/// What is wrong with a name: the field and the rule.
type BadName = (&'static str, String);

/// Namespace and name, checked.
fn object_key(kind: Kind, value: &Value) -> Result<ObjectKey, BadName> {
    let text = |name, field| match metadata(value, name) {
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        None | Some(Value::Null) => Ok(None),
        Some(_) => Err((field, "must be a string".to_string())),
    };
    let name = text("name", "metadata.name")?;
    checked_key(kind, name, text("namespace", "metadata.namespace")?)
}

/// Namespace and name, checked.
pub(super) fn checked_key(
    kind: Kind,
    name: Option<&str>,
    namespace: Option<&str>,
) -> Result<ObjectKey, BadName> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(("metadata.name", "is missing".to_string()));
    };
    if !parts::is_subdomain(name) {
        let rule = format!(
            "{} is not a name: must be {}",
            Quoted(name),
            parts::SUBDOMAIN
        );
        return Err(("metadata.name", rule));
    }
    if matches!(kind, Kind::Node | Kind::Namespace) {
        return Ok(ObjectKey::new("", name));
    }
    let namespace = namespace.filter(|it| !it.is_empty()).unwrap_or("default");
    if !parts::is_label(namespace) {
        let rule = format!(
            "{} is not a namespace: must be {}",
            Quoted(namespace),
            parts::LABEL
        );
        return Err(("metadata.namespace", rule));
    }
    Ok(ObjectKey::new(namespace, name))
}

pub(super) fn metadata<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get("metadata")?.get(field)
}

/// What to call an object whose name may be missing or odd: by name if it has one, else by place.
pub(super) fn unchecked_name(kind: &str, value: &Value, place: Place<'_>) -> String {
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
