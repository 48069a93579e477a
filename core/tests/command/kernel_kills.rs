//! `kill -9` in the middle of loading the kernel's tables: packets pass through the old ones, the new ones or none, and
//! the next process makes them what they should be.

use super::files::Files;
use super::portolan;
use core::fmt::Write;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// How many times, unless `PORTOLAN_KILLS` says otherwise.
const KILLS: u64 = 12;
const SERVICES: u32 = 2_000;

/// SplitMix64.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Services with three endpoints each; those of another generation have others.
fn manifests(generation: u8) -> String {
    let mut text = String::new();
    for number in 0..SERVICES {
        let (high, low) = (number >> 8, number & 255);
        let _ = write!(
            text,
            "---
{{apiVersion: v1, kind: Service, metadata: {{name: s{number}}}, spec: {{clusterIP: 10.43.{high}.{low}, clusterIPs: [10.43.{high}.{low}], ports: [{{port: 80}}]}}}}
---
{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s{number}, labels: {{kubernetes.io/service-name: s{number}}}}}, addressType: IPv4, ports: [{{port: 8080}}], endpoints: [{{addresses: [10.244.{generation}.1]}}, {{addresses: [10.244.{generation}.2]}}, {{addresses: [10.244.{generation}.3]}}]}}
"
        );
    }
    text
}

/// Runs a program in the namespace.
fn within(namespace: &str, words: &[&str]) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(words)
        .output()
        .expect("ip runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A namespace that goes with its name.
pub(super) struct Namespace(String);

impl Namespace {
    pub(super) fn new(purpose: &str) -> Option<Self> {
        let name = format!("ptl-{purpose}-{}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        made.is_ok_and(|output| output.status.success())
            .then_some(Self(name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// The elements of a map of the table, or nothing if there is no such table.
fn map(namespace: &str, name: &str) -> BTreeMap<String, String> {
    let listed = Command::new("ip")
        .args(["netns", "exec", namespace, "nft"])
        .args(["list", "map", "ip", "portolan", name])
        .output()
        .expect("nft runs");
    let text = String::from_utf8_lossy(&listed.stdout).replace("elements = {", "");
    text.split([',', '\n', '}'])
        .filter_map(|element| {
            let (key, data) = element.rsplit_once(" : ")?;
            let key = key.split(" comment ").next()?;
            Some((key.trim().to_owned(), data.trim().to_owned()))
        })
        .filter(|(key, _)| key.starts_with(|first: char| first.is_ascii_digit()))
        .collect()
}

/// Do packets pass through the table?
fn is_awake(namespace: &str) -> bool {
    let listed = Command::new("ip")
        .args(["netns", "exec", namespace, "nft", "-t"])
        .args(["list", "table", "ip", "portolan"])
        .output()
        .expect("nft runs");
    let text = String::from_utf8_lossy(&listed.stdout);
    listed.status.success() && !text.contains("flags dormant")
}

/// What each Service is served by: the generations of the endpoints in the slots that its ticket draws from.
fn served(namespace: &str) -> Vec<Vec<String>> {
    let (services, slots) = (map(namespace, "services"), map(namespace, "slots"));
    let served = services.values().map(|ticket| {
        let address: core::net::Ipv4Addr = ticket.parse().expect("a ticket");
        // The lowest five bits say how many slots there are: one more than that, for few.
        let count = (address.to_bits() & 31) + 1;
        let set = core::net::Ipv4Addr::from_bits(address.to_bits() & 0xffff_f800);
        let slot = |slot: u32| {
            let endpoint = slots.get(&format!("{set} . {slot}"));
            let endpoint = endpoint.unwrap_or_else(|| panic!("{ticket} has no slot {slot}"));
            endpoint.split('.').nth(2).expect("an address").to_owned()
        };
        (0..count).map(slot).collect()
    });
    served.collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "kills are spread over what a load takes here"
)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Starts the command on the tables.
fn start(namespace: &str, files: &Files) -> std::process::Child {
    let program = portolan();
    Command::new("ip")
        .args(["netns", "exec", namespace])
        .arg(Path::new(program.get_program()))
        .args(["run", "--backend", "nftables", "--control"])
        .arg(files.path("control.sock"))
        .args(files.arguments().split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts")
}

/// Runs it until the tables serve this generation alone; how long that took.
fn until_served(namespace: &str, files: &Files, generation: u8) -> Duration {
    let begun = now();
    let mut running = start(namespace, files);
    let wanted = vec![vec![generation.to_string(); 3]; SERVICES as usize];
    let mut done = false;
    while !done && begun.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(20));
        done = is_awake(namespace) && served(namespace) == wanted;
    }
    let took = begun.elapsed();
    running.kill().expect("killed");
    running.wait().expect("it has ended");
    assert!(done, "generation {generation} is not served");
    took
}

#[test]
fn a_killed_process_leaves_tables_that_serve_or_none_and_the_next_one_completes_them() {
    let Some(namespace) = Namespace::new("kills") else {
        eprintln!("SKIPPED: no network namespace (ip netns add)");
        return;
    };
    let namespace = namespace.0.as_str();
    let kills = std::env::var("PORTOLAN_KILLS").ok();
    let kills = kills.and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let files = Files::new("kernel-kills");
    for name in ["objects/shop.yaml", "objects/dns.yaml"] {
        std::fs::remove_file(files.path(name)).expect("removable");
    }
    files.write("objects/all.yaml", &manifests(0));
    let whole = until_served(namespace, &files, 0);
    let mut state = 11;
    let mut seen = [0_u32; 3];
    let mut generation = 0;
    for round in 0..kills {
        // Every third begins with nothing, the others change all endpoints of what is there; one of each begins and
        // ends where it surely should.
        let fresh = round % 3 == 0;
        if fresh {
            within(namespace, &["nft", "flush", "ruleset"]);
        } else if round == 1 {
            until_served(namespace, &files, generation);
        }
        generation = (generation + 1) % 200;
        let share = if round == 0 {
            0
        } else {
            draw(&mut state) % 1_000
        };
        // Whoever was killed early has left older ones.
        let served_before = is_awake(namespace);
        let before: BTreeSet<String> = served(namespace).into_iter().flatten().collect();
        files.write("objects/all.yaml", &manifests(generation));
        let mut running = start(namespace, &files);
        thread::sleep(whole.mul_f64(share as f64 / 1_000.0));
        running.kill().expect("killed, or gone already");
        running.wait().expect("it has ended");
        if is_awake(namespace) {
            let served = served(namespace);
            assert_eq!(served.len(), SERVICES as usize, "round {round}");
            let mut of = served.iter().flatten();
            let new = generation.to_string();
            assert!(
                of.all(|one| *one == new || before.contains(one)),
                "round {round}"
            );
            let all = served.iter().flatten().all(|one| *one == new);
            seen[if all { 2 } else { 1 }] += 1;
        } else {
            assert!(
                !served_before,
                "round {round}: what served does not any more"
            );
            seen[0] += 1;
        }
    }
    // Whatever was left behind becomes whole.
    until_served(namespace, &files, generation);
    eprintln!("{kills} kills: {seen:?} with nothing, something and everything of the new in force");
    assert!(seen[0] > 0 && seen[1] + seen[2] > 0, "{seen:?}");
}
