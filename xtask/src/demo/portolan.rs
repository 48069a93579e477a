//! The command `portolan`: one that runs on each node, and questions put to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use core::time::Duration;

use super::cluster::Node;
use super::objects::Objects;
use super::routing::TUN;
use crate::process::Output;
use crate::{process, workspace};

/// How long a question may take.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Where names that are not the cluster's are asked for: a client outside, once it serves them.
pub(crate) const UPSTREAM: &str = "203.0.113.10";

/// The built command, and the directory that it works in.
#[derive(Debug)]
pub(crate) struct Portolan {
    binary: PathBuf,
    work: PathBuf,
}

impl Portolan {
    /// Takes the build that is given, or builds it. What it keeps of its own (control
    /// sockets) goes to `work`.
    pub(crate) fn new(given: Option<&Path>, work: &Path) -> Result<Self> {
        let binary = match given {
            Some(binary) => binary.canonicalize().context("looking for portolan")?,
            None => build()?,
        };
        Ok(Self {
            binary,
            work: work.to_path_buf(),
        })
    }

    /// What moves the packets of `node`, by `objects`.
    pub(crate) fn run(&self, node: &Node, objects: &Objects) -> Result<Command> {
        let mut command = self.command(node);
        command
            .arg("run")
            .args(["--control", &control(node), "--tun", TUN]);
        command.arg("--node-config").arg(objects.describe(node)?);
        command.arg("--objects").arg(objects.directory());
        command.args(["--dns", &format!("{}:53", node.addresses.ipv4)]);
        command.args(["--dns-upstream", UPSTREAM]);
        Ok(command)
    }

    /// What moves the packets of `node` and does the API server's part, with its store in `store`.
    pub(crate) fn run_store(
        &self,
        node: &Node,
        objects: &Objects,
        store: &Path,
    ) -> Result<Command> {
        let mut command = self.command(node);
        command
            .arg("run")
            .args(["--control", &control(node), "--tun", TUN]);
        command.arg("--node-config").arg(objects.describe(node)?);
        command.arg("--store").arg(store);
        Ok(command)
    }

    /// What moves the packets of `node` by a description of one's own and the manifests in `directory`.
    pub(crate) fn run_by(&self, node: &Node, description: &Path, directory: &Path) -> Command {
        let mut command = self.command(node);
        command
            .arg("run")
            .args(["--control", &control(node), "--tun", TUN]);
        command.arg("--node-config").arg(description);
        command.arg("--objects").arg(directory);
        command
    }

    /// Tells the one that runs on `node` something on its standard input, and says what it answers.
    pub(crate) fn tell(&self, node: &Node, order: &[&str], text: &str) -> Result<Output> {
        let mut command = self.command(node);
        command.args(order).args(["--control", &control(node)]);
        process::output(&mut command, text, ASK_LIMIT)
    }

    /// Asks the one that runs on `node`.
    pub(crate) fn ask(&self, node: &Node, question: &[&str]) -> Result<String> {
        let mut command = self.command(node);
        command.args(question).args(["--control", &control(node)]);
        process::run(&mut command, "", ASK_LIMIT)
    }

    fn command(&self, node: &Node) -> Command {
        let mut command = node.place.namespace.command(&self.binary.to_string_lossy());
        command.current_dir(&self.work);
        command
    }
}

fn build() -> Result<PathBuf> {
    println!("building portolan");
    let status = Command::new(workspace::cargo())
        .current_dir(workspace::root())
        .args([
            "build",
            "--quiet",
            "--package",
            "portolan",
            "--features",
            "cli",
        ])
        .args(["--bin", "portolan"])
        .status()
        .context("running cargo build")?;
    ensure!(status.success(), "portolan does not build");
    Ok(workspace::target().join("debug/portolan"))
}

/// Named from the working directory: a socket's whole path may be too long to be one.
fn control(node: &Node) -> String {
    format!("{}.sock", node.place.name)
}
