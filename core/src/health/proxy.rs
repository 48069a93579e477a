//! Do updates take effect in time? `/healthz` and `/livez` (kube-proxy's `proxy_health.go`, KEP-3836).

use super::answer::quote;
use super::{Answer, Moment};
use crate::net::Family;
use alloc::string::{String, ToString};
use core::fmt::Write;
use core::time::Duration;

/// kube-proxy's default `syncPeriod`. An update that has waited for twice this long is late.
pub const SYNC_PERIOD: Duration = Duration::from_secs(30);

/// How Go prints a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

const FAMILIES: [(Family, &str); 2] = [(Family::Ipv4, "IPv4"), (Family::Ipv6, "IPv6")];

/// What is remembered of one family.
#[derive(Debug, Clone, Copy, Default)]
struct Updates {
    last_updated: Option<Moment>,
    /// Since when the oldest update waits that has not taken effect.
    oldest_queued: Option<Moment>,
}

/// Health of the proxy: whether what changes is served in time.
///
/// The host tells of each change that it learns of ([`ProxyHealth::queued`]) and when the dataplane has it
/// ([`ProxyHealth::updated`]). A family is unhealthy when its oldest change has waited for twice the sync
/// period; never before its first success, so a proxy that starts reads healthy.
#[derive(Debug, Clone)]
pub struct ProxyHealth {
    timeout: Duration,
    families: [Updates; 2],
}

impl Default for ProxyHealth {
    /// With kube-proxy's default period.
    fn default() -> Self {
        Self::new(SYNC_PERIOD)
    }
}

impl ProxyHealth {
    /// Health by this sync period.
    #[must_use]
    pub fn new(sync_period: Duration) -> Self {
        Self {
            timeout: sync_period.saturating_mul(2),
            families: [Updates::default(); 2],
        }
    }

    /// A change of this family's rules is to take effect.
    pub fn queued(&mut self, family: Family, now: Moment) {
        self.of_mut(family).oldest_queued.get_or_insert(now);
    }

    /// All changes of this family have taken effect.
    pub fn updated(&mut self, family: Family, now: Moment) {
        *self.of_mut(family) = Updates {
            last_updated: Some(now),
            oldest_queued: None,
        };
    }

    /// When all changes of this family last took effect.
    #[must_use]
    pub fn last_updated(&self, family: Family) -> Option<Moment> {
        self.of(family).last_updated
    }

    /// Does nothing wait for too long, whatever becomes of the node?
    #[must_use]
    pub fn is_healthy(&self, now: Moment) -> bool {
        self.families
            .iter()
            .all(|updates| updates.in_time(now, self.timeout))
    }

    /// The answer at `/healthz`: 503 also while the node is about to go or is gone, so that load balancers
    /// send it nothing new ([`crate::node::Node::is_eligible`]).
    #[must_use]
    pub fn healthz(&self, now: Moment, node_eligible: bool) -> Answer {
        self.answer(now, Some(node_eligible))
    }

    /// The answer at `/livez`: whether the proxy itself works; the node does not matter.
    #[must_use]
    pub fn livez(&self, now: Moment) -> Answer {
        self.answer(now, None)
    }

    fn answer(&self, now: Moment, node_eligible: Option<bool>) -> Answer {
        let healthy = self.is_healthy(now) && node_eligible.unwrap_or(true);
        // "lastUpdated" reads recent while all is well: it once was when the loop last ran, even if nothing
        // had changed, and probes have come to rely on it.
        let last = if healthy { Some(now) } else { self.told(now) };
        let mut body = String::from(r#"{"lastUpdated":"#);
        quote(&mut body, &printed(last));
        body.push_str(r#","currentTime":"#);
        quote(&mut body, &now.to_string());
        // Writing to a String cannot fail.
        if let Some(eligible) = node_eligible {
            let _ = write!(body, r#","nodeEligible":{eligible}"#);
        }
        let _ = write!(body, r#","healthy":{healthy},"status":{{"#);
        let mut separator = "";
        for (family, name) in FAMILIES {
            let updates = self.of(family);
            if updates.last_updated.is_none() {
                continue;
            }
            body.push_str(separator);
            quote(&mut body, name);
            body.push_str(r#":{"lastUpdated":"#);
            quote(&mut body, &printed(updates.last_updated));
            let in_time = updates.in_time(now, self.timeout);
            let _ = write!(body, r#","healthy":{in_time}}}"#);
            separator = ",";
        }
        body.push_str("}}");
        Answer::json(healthy, body)
    }

    /// When a family that is late was last up to date; if none is late, when any was.
    fn told(&self, now: Moment) -> Option<Moment> {
        let late = self
            .families
            .iter()
            .filter(|updates| !updates.in_time(now, self.timeout));
        let late = late.filter_map(|updates| updates.last_updated);
        late.min_by_key(|moment| moment.clock).or_else(|| {
            let all = self.families.iter();
            all.filter_map(|updates| updates.last_updated)
                .max_by_key(|moment| moment.clock)
        })
    }

    const fn of(&self, family: Family) -> &Updates {
        let [ipv4, ipv6] = &self.families;
        match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }

    const fn of_mut(&mut self, family: Family) -> &mut Updates {
        let [ipv4, ipv6] = &mut self.families;
        match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }
}

impl Updates {
    fn in_time(&self, now: Moment, timeout: Duration) -> bool {
        match (self.last_updated, self.oldest_queued) {
            (Some(_), Some(queued)) => now.clock < queued.clock.after(timeout),
            (None, _) | (_, None) => true,
        }
    }
}

fn printed(moment: Option<Moment>) -> String {
    moment.map_or_else(|| NEVER.into(), |moment| moment.to_string())
}
