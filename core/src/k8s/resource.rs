//! Whole objects of the API, as an API server keeps them: nothing that the dataplane does not need is left out.

use super::findings::{About, Findings};
use super::item::{self, Typed};
use super::source::Place;
use super::{parts, source};
use crate::model::{Kind, Object, ObjectKey, Rejection};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use k8s_openapi::api::{
    core::v1 as core_v1, discovery::v1 as discovery_v1, networking::v1 as net_v1,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// The kinds of objects that can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// networking.k8s.io/v1 ServiceCIDR.
    ServiceCidr,
    /// v1 Namespace.
    Namespace,
    /// v1 Node.
    Node,
    /// v1 Pod.
    Pod,
    /// v1 Service.
    Service,
    /// v1 Endpoints.
    Endpoints,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
}

impl ResourceKind {
    /// Every kind, in the order in which they build on each other.
    pub const ALL: [Self; 7] = [
        Self::ServiceCidr,
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::Service,
        Self::Endpoints,
        Self::EndpointSlice,
    ];

    /// The kind as manifests write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceCidr => "ServiceCIDR",
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::Endpoints => "Endpoints",
            Self::EndpointSlice => "EndpointSlice",
        }
    }

    /// The name that `kubectl get` uses.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::ServiceCidr => "servicecidrs",
            Self::Namespace => "namespaces",
            Self::Node => "nodes",
            Self::Pod => "pods",
            Self::Service => "services",
            Self::Endpoints => "endpoints",
            Self::EndpointSlice => "endpointslices",
        }
    }

    /// The one version that it is kept in.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::ServiceCidr => "networking.k8s.io/v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::Namespace | Self::Node | Self::Pod | Self::Service | Self::Endpoints => "v1",
        }
    }

    /// Does an object of it live in a namespace?
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::ServiceCidr | Self::Namespace | Self::Node)
    }

    /// The kind that a manifest or a command line names: `Service`, `services`, `svc`.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let short = match text {
            "svc" => Some(Self::Service),
            "ep" => Some(Self::Endpoints),
            "po" => Some(Self::Pod),
            "no" => Some(Self::Node),
            "ns" => Some(Self::Namespace),
            _ => None,
        };
        let named = |kind: &Self| {
            text.eq_ignore_ascii_case(kind.as_str()) || text.eq_ignore_ascii_case(kind.plural())
        };
        short.or_else(|| Self::ALL.into_iter().find(named))
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Names one kept object among all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceRef {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its namespace (empty for kinds without) and name.
    pub key: ObjectKey,
}

impl ResourceRef {
    /// A reference of these parts; the namespace is left out for kinds without.
    #[must_use]
    pub fn new(kind: ResourceKind, namespace: &str, name: &str) -> Self {
        let namespace = match namespace {
            _ if !kind.is_namespaced() => "",
            "" => "default",
            namespace => namespace,
        };
        Self {
            kind,
            key: ObjectKey::new(namespace, name),
        }
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// One whole object.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Resource {
    /// networking.k8s.io/v1 ServiceCIDR.
    ServiceCidr(Box<net_v1::ServiceCIDR>),
    /// v1 Namespace.
    Namespace(Box<core_v1::Namespace>),
    /// v1 Node.
    Node(Box<core_v1::Node>),
    /// v1 Pod.
    Pod(Box<core_v1::Pod>),
    /// v1 Service.
    Service(Box<core_v1::Service>),
    /// v1 Endpoints.
    Endpoints(Box<core_v1::Endpoints>),
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice(Box<discovery_v1::EndpointSlice>),
}

impl Resource {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::ServiceCidr(_) => ResourceKind::ServiceCidr,
            Self::Namespace(_) => ResourceKind::Namespace,
            Self::Node(_) => ResourceKind::Node,
            Self::Pod(_) => ResourceKind::Pod,
            Self::Service(_) => ResourceKind::Service,
            Self::Endpoints(_) => ResourceKind::Endpoints,
            Self::EndpointSlice(_) => ResourceKind::EndpointSlice,
        }
    }

    /// Its metadata.
    #[must_use]
    pub const fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::ServiceCidr(it) => &it.metadata,
            Self::Namespace(it) => &it.metadata,
            Self::Node(it) => &it.metadata,
            Self::Pod(it) => &it.metadata,
            Self::Service(it) => &it.metadata,
            Self::Endpoints(it) => &it.metadata,
            Self::EndpointSlice(it) => &it.metadata,
        }
    }

    /// Its metadata, to be written.
    #[must_use]
    pub const fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::ServiceCidr(it) => &mut it.metadata,
            Self::Namespace(it) => &mut it.metadata,
            Self::Node(it) => &mut it.metadata,
            Self::Pod(it) => &mut it.metadata,
            Self::Service(it) => &mut it.metadata,
            Self::Endpoints(it) => &mut it.metadata,
            Self::EndpointSlice(it) => &mut it.metadata,
        }
    }

    /// What names it among all.
    #[must_use]
    pub fn reference(&self) -> ResourceRef {
        let metadata = self.metadata();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let name = metadata.name.as_deref().unwrap_or_default();
        ResourceRef::new(self.kind(), namespace, name)
    }

    /// The object with `apiVersion` and `kind`, as it is printed and stored.
    ///
    /// # Errors
    ///
    /// None in practice: every object of the API has a form in JSON.
    pub fn to_value(&self) -> Result<Value, serde_json::Error> {
        let mut value = match self {
            Self::ServiceCidr(it) => serde_json::to_value(it),
            Self::Namespace(it) => serde_json::to_value(it),
            Self::Node(it) => serde_json::to_value(it),
            Self::Pod(it) => serde_json::to_value(it),
            Self::Service(it) => serde_json::to_value(it),
            Self::Endpoints(it) => serde_json::to_value(it),
            Self::EndpointSlice(it) => serde_json::to_value(it),
        }?;
        if let Value::Object(fields) = &mut value {
            let kind = self.kind();
            fields.insert("apiVersion".to_string(), kind.api_version().into());
            fields.insert("kind".to_string(), kind.as_str().into());
        }
        Ok(value)
    }

    /// What the dataplane needs of it, if anything, and what it cannot serve of it.
    #[must_use]
    pub fn to_model(&self) -> (Option<Object>, Vec<Rejection>) {
        let typed = match self.clone() {
            Self::ServiceCidr(_) | Self::Pod(_) => return (None, Vec::new()),
            Self::Namespace(it) => Typed::Namespace(*it),
            Self::Node(it) => Typed::Node(it),
            Self::Service(it) => Typed::Service(it),
            Self::Endpoints(it) => Typed::Endpoints(*it),
            Self::EndpointSlice(it) => Typed::EndpointSlice(*it),
        };
        let reference = self.reference();
        let name = reference.to_string();
        let mut findings = Findings::new(&name);
        let mut about = About {
            object: &name,
            findings: &mut findings,
        };
        typed.convert(reference.key, &mut about);
        let mut decoded = findings.finish();
        (decoded.objects.pop(), decoded.rejections)
    }

    fn read(kind: ResourceKind, value: &Value, about: &mut About<'_>) -> Option<Self> {
        Some(match kind {
            ResourceKind::ServiceCidr => Self::ServiceCidr(Box::new(item::typed(value, about)?)),
            ResourceKind::Namespace => Self::Namespace(Box::new(item::typed(value, about)?)),
            ResourceKind::Node => Self::Node(Box::new(item::typed(value, about)?)),
            ResourceKind::Pod => Self::Pod(Box::new(item::typed(value, about)?)),
            ResourceKind::Service => Self::Service(Box::new(item::typed(value, about)?)),
            ResourceKind::Endpoints => Self::Endpoints(Box::new(item::typed(value, about)?)),
            ResourceKind::EndpointSlice => {
                Self::EndpointSlice(Box::new(item::typed(value, about)?))
            }
        })
    }
}

/// The kind of a dataplane's object, as it is kept.
impl From<Kind> for ResourceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Service => Self::Service,
            Kind::EndpointSlice => Self::EndpointSlice,
            Kind::Endpoints => Self::Endpoints,
            Kind::Node => Self::Node,
            Kind::Namespace => Self::Namespace,
        }
    }
}

/// What some bytes held, whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// Objects, in the order of the input.
    pub resources: Vec<Resource>,
    /// What is no object, in the order of the input.
    pub rejections: Vec<Rejection>,
    /// Objects of kinds that are not kept, in the order of the input.
    pub ignored: Vec<String>,
    /// Fields that the API does not have, misspelt ones for instance; what holds them is among the objects without
    /// them. An API server refuses them from `kubectl apply`.
    pub unknown: Vec<Rejection>,
}

/// Reads every object in `bytes` as [`super::decode`] does, but whole, and Pods and ServiceCIDRs too.
///
/// Names are not judged here, and values neither, beyond their types: whoever keeps the objects does that.
///
/// ```
/// let read = portolan::k8s::decode_resources(
///     b"{apiVersion: v1, kind: Pod, metadata: {name: web-1}}",
///     "pods.yaml",
/// );
/// assert_eq!(read.resources[0].reference().to_string(), "Pod default/web-1");
/// ```
#[must_use]
pub fn decode_resources(bytes: &[u8], source: &str) -> Resources {
    let mut findings = Findings::of_resources(source);
    source::read(bytes, &mut findings);
    findings.finish_resources()
}

/// As [`decode_resources`], of one value that has been parsed already.
#[must_use]
pub fn decode_resource_value(value: Value, source: &str) -> Resources {
    let mut findings = Findings::of_resources(source);
    item::decode(value, Place::of_value(source), &mut findings);
    findings.finish_resources()
}

/// Adds one object that is no list.
pub(super) fn object(
    version: &str,
    kind: ResourceKind,
    mut value: Value,
    place: Place<'_>,
    findings: &mut Findings,
) {
    let expected = kind.api_version();
    let named = item::unchecked_name(kind.as_str(), &value, place);
    if version != expected {
        findings.reject(&named, "apiVersion", item::version_rule(version, expected));
        return;
    }
    let metadata = |field| item::metadata(&value, field);
    let nameless = metadata("name")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty);
    if nameless {
        findings.reject(&named, "metadata.name", "is missing");
        return;
    }
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    let name = name_of(kind, &value);
    let mut about = About {
        object: &name,
        findings,
    };
    if let Some(mut resource) = Resource::read(kind, &value, &mut about) {
        if let Ok(known) = resource.to_value() {
            unknown_fields(&value, &known, &mut String::new(), &mut |field| {
                about.findings.unknown_field(&name, field);
            });
        }
        let metadata = resource.metadata_mut();
        if kind.is_namespaced() {
            let namespace = metadata.namespace.take().filter(|it| !it.is_empty());
            metadata.namespace = Some(namespace.unwrap_or_else(|| "default".to_string()));
        } else {
            metadata.namespace = None;
        }
        findings.resource(resource);
    }
}

/// Tells of every field of `value` that is not in `known`, which was read from it. `path` is where both stand.
fn unknown_fields(value: &Value, known: &Value, path: &mut String, tell: &mut impl FnMut(&str)) {
    let length = path.len();
    match (value, known) {
        (Value::Object(fields), Value::Object(read)) => {
            // What says nothing is not kept, whether there is such a field or not.
            let said = fields.iter().filter(|(_, value)| !value.is_null());
            for (name, value) in said {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                match read.get(name) {
                    Some(known) => unknown_fields(value, known, path, tell),
                    None => tell(path),
                }
                path.truncate(length);
            }
        }
        (Value::Array(items), Value::Array(read)) => {
            for (index, (item, known)) in items.iter().zip(read).enumerate() {
                path.push_str(&alloc::format!("[{index}]"));
                unknown_fields(item, known, path, tell);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// `Service default/web`, as everything that is said of the object begins.
fn name_of(kind: ResourceKind, value: &Value) -> String {
    let text = |field| {
        let text = item::metadata(value, field).and_then(Value::as_str);
        text.unwrap_or_default()
    };
    ResourceRef::new(kind, text("namespace"), text("name")).to_string()
}

/// Is this the name of an object, as file names and paths can hold it?
#[must_use]
pub fn is_object_name(text: &str) -> bool {
    parts::is_subdomain(text)
}
