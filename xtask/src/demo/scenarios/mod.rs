//! What people do with Services first, shown on real packets.

mod affinity;
mod appliance;
mod balancers;
mod cluster_ip;
mod internal_traffic_policy;
mod load_balancer;
mod modes;
mod names;
mod node_port;

use core::time::Duration;

use anyhow::Result;

use super::client;
use super::cluster::{Cluster, Place};
use super::objects::Objects;
use super::portolan::Portolan;
use super::show::Show;
use crate::process;

/// Every pod that serves.
const ALL: [&str; 3] = ["web-1", "web-2", "web-3"];

/// How soon an edited manifest must show.
const EDIT_LIMIT: Duration = Duration::from_secs(10);

/// What a scenario works with.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// Places to ask from.
    pub(crate) cluster: &'a Cluster,
    /// Manifests to edit.
    pub(crate) objects: &'a Objects,
    /// What to ask why.
    pub(crate) portolan: &'a Portolan,
    /// Where the rows go.
    pub(crate) show: &'a mut Show,
}

/// Shows the scenarios of these numbers, or all of them, one after another.
pub(crate) fn all(stage: &mut Stage<'_>, numbers: &[usize]) -> Result<()> {
    let scenarios = [
        cluster_ip::show,
        internal_traffic_policy::show,
        affinity::show,
        node_port::show,
        |stage: &mut Stage<'_>| {
            load_balancer::show(stage)?;
            balancers::show(stage)
        },
        names::external_name,
        names::endpoints,
        names::readiness,
        modes::show,
        appliance::show,
    ];
    for (number, scenario) in (1..).zip(scenarios) {
        if numbers.is_empty() || numbers.contains(&number) {
            scenario(stage)?;
        }
    }
    Ok(())
}

/// Waits until an edit has reached the node whose answers `settled` judges.
fn until_settled(
    edit: &str,
    from: &Place,
    to: &str,
    settled: impl Fn(&client::Answers) -> bool,
) -> Result<()> {
    process::until(&format!("{edit} takes effect"), EDIT_LIMIT, || {
        Ok(settled(&client::ask(from, &format!("http://{to}"), 8)?))
    })
}
