//! What a Service's `healthCheckNodePort` answers (kube-proxy's `service_health.go`).

use super::Answer;
use super::answer::quote;
use crate::model::ObjectKey;
use alloc::string::{String, ToString};
use core::fmt::Write;

/// A Service that load balancers ask about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceHealth {
    /// The Service.
    pub service: ObjectKey,
    /// Distinct ready addresses on this node, over all ports and both families. Those that terminate do not
    /// count, although traffic still reaches them: that is how load balancers drain a node (KEP-1669).
    pub local_endpoints: u32,
}

impl ServiceHealth {
    /// The answer to any path: 200 if an endpoint here is ready *and* the proxy is healthy
    /// ([`super::ProxyHealth::is_healthy`]), else 503. Whether the node is about to go does not matter here.
    ///
    /// ```
    /// use portolan::health::ServiceHealth;
    /// use portolan::model::ObjectKey;
    ///
    /// let service = ObjectKey::new("default", "web");
    /// let answer = ServiceHealth { service, local_endpoints: 2 }.answer(true);
    /// assert_eq!(answer.status, 200);
    /// assert_eq!(
    ///     answer.body,
    ///     r#"{"service":{"namespace":"default","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}"#
    /// );
    /// ```
    #[must_use]
    pub fn answer(&self, proxy_healthy: bool) -> Answer {
        let mut body = String::from(r#"{"service":{"namespace":"#);
        quote(&mut body, &self.service.namespace);
        body.push_str(r#","name":"#);
        quote(&mut body, &self.service.name);
        let count = self.local_endpoints;
        // Writing to a String cannot fail.
        let _ = write!(
            body,
            r#"}},"localEndpoints":{count},"serviceProxyHealthy":{proxy_healthy}}}"#
        );
        let mut answer = Answer::json(count > 0 && proxy_healthy, body);
        answer
            .headers
            .push(("X-Load-Balancing-Endpoint-Weight", count.to_string()));
        answer
    }
}
