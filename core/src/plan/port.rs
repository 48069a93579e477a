//! The plan of one ServicePort, with reasons for people.

use crate::net::Scheduler;
use crate::service::ServiceSpec;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

/// What an EndpointSlice says of an endpoint's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EndpointState {
    /// Ready: chosen for new connections.
    Ready,
    /// Serving and terminating: chosen only while no endpoint is ready (KEP-1669).
    Terminating,
    /// Terminating and no longer serving: never chosen.
    TerminatingNotServing,
    /// Neither ready nor terminating: never chosen.
    NotReady,
}

/// One endpoint of a ServicePort as its slices describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointPlan {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its condition.
    pub state: EndpointState,
    /// Is it on this node?
    pub local: bool,
    /// Is it in the set of policy Cluster?
    pub in_cluster_set: bool,
    /// Is it in the set of policy Local?
    pub in_local_set: bool,
    /// Its weight, 1 if no annotation says otherwise; of 0 it is not chosen for new connections.
    pub weight: u16,
}

/// Why the endpoints of policy Cluster are these (`CategorizeEndpoints`; KEP-2433, KEP-3015, KEP-1669).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ClusterReason {
    /// All ready endpoints.
    AllReady,
    /// The ready endpoints whose hints name this node.
    NodeHints,
    /// The ready endpoints whose hints name this node's zone.
    ZoneHints,
    /// None is ready: all that serve while they terminate.
    Terminating,
    /// There is none.
    Empty,
}

/// Why the endpoints of policy Local are these (KEP-1669).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LocalReason {
    /// All ready endpoints on this node.
    AllReady,
    /// None here is ready: all here that serve while they terminate.
    Terminating,
    /// There is none here.
    Empty,
}

/// `healthCheckNodePort` of a Service (type LoadBalancer, `externalTrafficPolicy: Local`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthCheck {
    /// Where load balancers ask.
    pub port: u16,
    /// Distinct ready addresses on this node, over all ports and both families. 0 is answered 503.
    pub local_endpoints: u32,
}

/// What one node does with one ServicePort in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    /// What packets are judged by.
    pub spec: Arc<ServiceSpec>,
    /// Every endpoint that a slice names, sorted, those never chosen included.
    pub endpoints: Vec<EndpointPlan>,
    /// Why the endpoints of policy Cluster are these.
    pub cluster_reason: ClusterReason,
    /// Why the endpoints of policy Local are these.
    pub local_reason: LocalReason,
    /// The Service's health check; the same on each of its ports.
    pub health_check: Option<HealthCheck>,
}

impl fmt::Display for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Terminating => "terminating",
            Self::TerminatingNotServing => "terminating, not serving",
            Self::NotReady => "not ready",
        })
    }
}

impl fmt::Display for ClusterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AllReady => "all ready endpoints",
            Self::NodeHints => "ready endpoints whose hints name this node",
            Self::ZoneHints => "ready endpoints whose hints name this zone",
            Self::Terminating => "none is ready: endpoints that still serve while they terminate",
            Self::Empty => "there is no usable endpoint",
        })
    }
}

impl fmt::Display for LocalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AllReady => "ready endpoints on this node",
            Self::Terminating => {
                "none here is ready: endpoints here that still serve while they terminate"
            }
            Self::Empty => "there is no usable endpoint on this node",
        })
    }
}

impl fmt::Display for EndpointPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.state)?;
        for (word, on) in [
            ("here", self.local),
            ("cluster-set", self.in_cluster_set),
            ("local-set", self.in_local_set),
        ] {
            if on {
                write!(f, ", {word}")?;
            }
        }
        if self.weight != 1 {
            write!(f, ", weight {}", self.weight)?;
        }
        Ok(())
    }
}

/// One line for each frontend, endpoint and reason, indented.
impl fmt::Display for PortPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for frontend in &self.spec.frontends {
            writeln!(f, "  {frontend}")?;
        }
        if let Some(seconds) = self.spec.affinity_seconds {
            writeln!(f, "  a client keeps its endpoint for {seconds} s")?;
        }
        if self.spec.schedule.scheduler != Scheduler::Random {
            writeln!(f, "  scheduler {}", self.spec.schedule.scheduler)?;
        }
        if let Some(HealthCheck {
            port,
            local_endpoints,
        }) = self.health_check
        {
            writeln!(
                f,
                "  health check on port {port}: {local_endpoints} endpoints here"
            )?;
        }
        writeln!(f, "  policy Cluster: {}", self.cluster_reason)?;
        writeln!(f, "  policy Local: {}", self.local_reason)?;
        for endpoint in &self.endpoints {
            writeln!(f, "  -> {endpoint}")?;
        }
        Ok(())
    }
}
