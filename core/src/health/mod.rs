//! What health probes are answered, and where they are listened for: kube-proxy's `healthCheckNodePort`,
//! `/healthz` and `/livez`, as answers without sockets and as a set of sockets to hold open.
//!
//! Nothing here opens a socket or reads a clock: a host listens where [`Listeners`] says, hands over the
//! [`Moment`] and sends what an [`Answer`] holds. The command's server (`bin/portolan/serve`) is one such host.
//!
//! | file | what it is |
//! |---|---|
//! | `answer` | [`Answer`]: status, headers, body |
//! | `service` | [`ServiceHealth`]: what a Service's `healthCheckNodePort` answers |
//! | `proxy` | [`ProxyHealth`]: whether updates take effect in time, `/healthz` and `/livez` |
//! | `listeners` | [`Listeners`]: which sockets the plan wants, and what to open and close |
//! | `moment` | [`Moment`]: now, on the monotonic clock and on the wall |

mod answer;
mod listeners;
mod moment;
mod proxy;
mod service;

#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use listeners::{Contested, Listener, ListenerChanges, Listeners};
pub use moment::Moment;
pub use proxy::{ProxyHealth, SYNC_PERIOD};
pub use service::ServiceHealth;
