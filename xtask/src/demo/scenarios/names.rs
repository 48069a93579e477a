//! Scenarios 6, 7 and 8: Services that are names. `dig`, `wget` and `curl` ask in pods; each node's own Portolan
//! answers, and asks a server outside about what is not the cluster's.

use core::time::Duration;
use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{EDIT_LIMIT, Stage};
use crate::demo::cluster::{Node, Place};
use crate::demo::portolan::UPSTREAM;
use crate::packages::{self, DIG, KNOTD, WGET};
use crate::process::{self, Running};

const MANIFEST: &str = "names.yaml";
/// Where the Services of the demo stand.
const DOMAIN: &str = "default.svc.cluster.local";
const DIG_LIMIT: Duration = Duration::from_secs(10);
/// How long a server outside may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Scenario 6: `externalName: www.example.com`.
pub(super) fn external_name(stage: &mut Stage<'_>) -> Result<()> {
    packages::require(&[DIG, WGET, KNOTD])?;
    let outside = &stage.cluster.outside;
    let _running = serve_outside(outside, stage.objects.directory())?;
    let show = &mut *stage.show;
    let (node_1, node_2) = stage.cluster.nodes();
    show.scenario(
        "6  ExternalName: myapp-external is www.example.com, which a server outside knows",
    );
    let name = "myapp-external";
    for node in [node_1, node_2] {
        let said = dig(node, name, &["+short"])?;
        let lines: Vec<_> = said.lines().collect();
        let judged = if lines == ["www.example.com.", UPSTREAM] {
            Ok("CNAME, and the address behind it".to_owned())
        } else {
            Err(format!("dig says {lines:?}"))
        };
        show.row(&node.client.name, name, "", judged);
    }
    for (program, arguments) in [
        ("wget", &["-q", "-T", "5", "-t", "1", "-O", "-"][..]),
        ("curl", &["--silent", "--max-time", "5"]),
    ] {
        let url = format!("http://{name}.{DOMAIN}/");
        let arguments = [arguments, &[&url]].concat();
        let answer = with_names(node_1, stage.objects.directory(), program, &arguments)?;
        let judged = if answer.starts_with("www outside 80 ") {
            Ok(format!("{program} follows it"))
        } else {
            Err(format!("{program} got {answer:?}"))
        };
        show.row(&node_1.client.name, name, "", judged);
    }
    Ok(())
}

/// Scenario 7: endpoints of the older kind are followed.
pub(super) fn endpoints(stage: &mut Stage<'_>) -> Result<()> {
    packages::require(&[DIG])?;
    let (node_1, _) = stage.cluster.nodes();
    stage
        .show
        .scenario("7  Endpoints: myapp-endpoints follows its v1 Endpoints, the Service untouched");
    let name = "myapp-endpoints";
    let mut addresses = vec!["10.244.1.11", "10.244.1.12"];
    expect(stage, node_1, name, &addresses)?;
    stage.show.say("scaled up: a pod on node-2");
    let last = "  - {ip: 10.244.1.12}\n";
    let more = format!("{last}  - {{ip: 10.244.2.11}}\n");
    stage.objects.edit(MANIFEST, last, &more)?;
    addresses.push("10.244.2.11");
    expect(stage, node_1, name, &addresses)?;
    stage.show.say("scaled down to that one");
    stage.objects.edit(
        MANIFEST,
        "  - {ip: 10.244.1.11}\n  - {ip: 10.244.1.12}\n",
        "",
    )?;
    expect(stage, node_1, name, &["10.244.2.11"])?;
    let listed = stage.portolan.ask(node_1, &["get", "endpoints"])?;
    let row = listed.lines().find(|line| line.contains("myapp-endpoints"));
    let judged = match row {
        Some(row) if row.contains("10.244.2.11") => {
            Ok("portolan get endpoints says the same".to_owned())
        }
        other => Err(format!("portolan get endpoints says {other:?}")),
    };
    stage
        .show
        .row(&node_1.place.name, "myapp-endpoints", "", judged);
    Ok(())
}

/// Scenario 8: pods that are not ready have no names, unless the Service publishes them.
pub(super) fn readiness(stage: &mut Stage<'_>) -> Result<()> {
    packages::require(&[DIG])?;
    let (node_1, node_2) = stage.cluster.nodes();
    stage.show.scenario(
        "8  publishNotReadyAddresses: myapp-headless waits for readiness, myapp-peers does not",
    );
    let name = "myapp-headless";
    expect(stage, node_1, name, &[])?;
    expect(stage, node_1, "pod-0.myapp-headless", &[])?;
    let peers = "myapp-peers";
    expect(stage, node_2, peers, &["10.244.1.11", "10.244.2.11"])?;
    expect(stage, node_2, "pod-0.myapp-peers", &["10.244.1.11"])?;
    stage.show.say("the pods become ready");
    stage.objects.edit(
        MANIFEST,
        "ready: false, serving: false",
        "ready: true, serving: true",
    )?;
    let all = ["10.244.1.11", "10.244.1.12", "10.244.2.11"];
    expect(stage, node_1, name, &all)?;
    expect(stage, node_2, "pod-0.myapp-headless", &["10.244.1.11"])
}

/// Shows that a name has these addresses, in any order; none means that it does not exist. An edit may take its time.
fn expect(stage: &mut Stage<'_>, node: &Node, name: &str, addresses: &[&str]) -> Result<()> {
    let mut said = String::new();
    let settled = process::until(&format!("{name} is as expected"), EDIT_LIMIT, || {
        said = dig(node, name, &["+noall", "+comments", "+answer"])?;
        let missing = said.contains("status: NXDOMAIN");
        let records = said.lines().filter(|line| !line.starts_with(';'));
        let mut found: Vec<_> = records
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        found.sort_unstable();
        Ok(found == addresses && missing == addresses.is_empty())
    });
    let judged = match settled {
        Ok(()) if addresses.is_empty() => Ok("no such name".to_owned()),
        Ok(()) => Ok(addresses.join(" ")),
        Err(_) => Err(format!("dig says {said:?}")),
    };
    stage.show.row(&node.client.name, name, "", judged);
    Ok(())
}

/// `dig` in a node's client pod, at the node's own server.
fn dig(node: &Node, name: &str, options: &[&str]) -> Result<String> {
    let mut command = node.client.namespace.command("dig");
    command.arg(format!("@{}", node.addresses.ipv4));
    command.args([&format!("{name}.{DOMAIN}"), "A", "+tries=1", "+time=5"]);
    command.args(options);
    Ok(process::output(&mut command, "", DIG_LIMIT)?.stdout)
}

/// A program in a node's client pod, for which the node's server is the system's.
fn with_names(node: &Node, work: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let resolv = work.with_file_name("resolv.conf");
    fs::write(&resolv, format!("nameserver {}\n", node.addresses.ipv4))?;
    let mut command = node.client.namespace.command("unshare");
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]);
    command.arg(&resolv).arg(program).args(arguments);
    Ok(process::output(&mut command, "", DIG_LIMIT)?.stdout)
}

/// A DNS server that knows www.example.com, and a web server there.
fn serve_outside(outside: &Place, directory: &Path) -> Result<[Running; 2]> {
    let work = directory.parent().context("the work directory")?;
    let here = work.to_string_lossy();
    fs::write(
        work.join("example.com.zone"),
        format!(
            "@ 300 SOA ns admin 1 2 3 4 5\n@ 300 NS ns\nns 300 A {UPSTREAM}\nwww 300 A {UPSTREAM}\n"
        ),
    )?;
    let config = work.join("knot.conf");
    fs::write(
        &config,
        format!(
            "server:\n  listen: {UPSTREAM}@53\n  rundir: {here}\ndatabase:\n  storage: {here}\n\
             zone:\n  - domain: example.com\n    file: {here}/example.com.zone\n"
        ),
    )?;
    let mut knot = outside.namespace.command("knotd");
    knot.arg("--config").arg(&config);
    let names = Running::start("knotd", &mut knot, &work.join("knotd.log"))?;
    let own = env::current_exe().context("finding this program")?;
    let mut web = outside.namespace.command(&own.to_string_lossy());
    web.args(["pod", "--name", "www", "--node", "outside", "--port", "80"]);
    let web = Running::start("www", &mut web, &work.join("www.log"))?;
    process::until("the servers outside answer", START_LIMIT, || {
        let mut dig = outside.namespace.command("dig");
        dig.args([
            &format!("@{UPSTREAM}"),
            "www.example.com",
            "+short",
            "+tries=1",
            "+time=1",
        ]);
        let named = process::output(&mut dig, "", DIG_LIMIT)?.stdout;
        let mut curl = outside.namespace.command("curl");
        curl.args([
            "--silent",
            "--max-time",
            "1",
            &format!("http://{UPSTREAM}/"),
        ]);
        let answer = process::output(&mut curl, "", DIG_LIMIT)?.stdout;
        Ok(named.trim() == UPSTREAM && answer.starts_with("www"))
    })?;
    Ok([names, web])
}
