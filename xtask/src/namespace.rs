//! Network namespaces that go away by themselves: made with `ip netns`, removed by exact name when
//! their guard is dropped.

use core::time::Duration;
use std::path::PathBuf;
use std::process::{self, Command};

use anyhow::{Context, Result};

use crate::process as child;

/// How long any one call of `ip` may take.
const IP_LIMIT: Duration = Duration::from_secs(20);

/// Why namespaces with a TUN in them cannot be had here; `None` if they can.
pub(crate) fn refusal() -> Option<String> {
    let attempt = || Namespace::new("probe")?.ip("tuntap add dev probe mode tun");
    attempt().err().map(|error| format!("{error:#}"))
}

/// A named network namespace, ours alone.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace `ptl-PID-label`, with its loopback up.
    pub(crate) fn new(label: &str) -> Result<Self> {
        let name = format!("ptl-{}-{label}", process::id());
        let mut command = Command::new("ip");
        command.args(["netns", "add", &name]);
        child::run(&mut command, "", IP_LIMIT).context("making a network namespace")?;
        let namespace = Self { name };
        // Addresses are chosen, not negotiated: no second's wait for duplicates of them.
        namespace.sysctl(&[
            "net.ipv6.conf.all.accept_dad=0",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv6.conf.default.dad_transmits=0",
        ])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Does a link of that name exist in here?
    pub(crate) fn has_link(&self, link: &str) -> Result<bool> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "link", "show", "dev", link]);
        Ok(child::output(&mut command, "", IP_LIMIT)?.status.success())
    }

    /// Runs `ip` in here with a batch: one command a line, without the word `ip`. The first that
    /// fails ends it.
    pub(crate) fn ip(&self, batch: &str) -> Result<()> {
        self.batch(&[], batch)
    }

    /// The same as [`Namespace::ip`] for IPv6 (`ip -6`), which rules and default routes need.
    pub(crate) fn ip6(&self, batch: &str) -> Result<()> {
        self.batch(&["-6"], batch)
    }

    fn batch(&self, family: &[&str], batch: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(family).args(["-n", &self.name, "-batch", "-"]);
        child::run(&mut command, batch, IP_LIMIT)
            .with_context(|| format!("configuring {}:\n{}", self.name, batch.trim_end()))?;
        Ok(())
    }

    /// Sets kernel parameters, given as `name=value`, in here.
    pub(crate) fn sysctl(&self, settings: &[&str]) -> Result<()> {
        let mut script = String::new();
        for setting in settings {
            let (name, value) = setting.split_once('=').context("a setting is name=value")?;
            let path = PathBuf::from("/proc/sys").join(name.replace('.', "/"));
            script.push_str(&format!("echo {value} > {}\n", path.display()));
        }
        let mut shell = self.command("sh");
        shell.args(["-e", "-s"]);
        child::run(&mut shell, &script, IP_LIMIT).map(drop)
    }

    /// A command that will run in here.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Joins this namespace and `other` by a veth pair with an end of the given name in each.
    pub(crate) fn join(&self, link: &str, other: &Self, other_link: &str) -> Result<()> {
        self.ip(&format!(
            "link add {link} type veth peer name {other_link} netns {}",
            other.name
        ))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // `process::run` would refuse after Ctrl-C, and this must happen all the same.
        let done = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!(
                "could not remove the namespace {}: ip netns del {}",
                self.name, self.name
            );
        }
    }
}
