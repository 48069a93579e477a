//! `kill -9` in the middle of applies: what was acknowledged is there, and nobody has what another has.

use super::store::Store;
use core::time::Duration;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;

/// How many times, unless `PORTOLAN_KILLS` says otherwise.
const KILLS: u64 = 25;

/// Services in each manifest.
const EACH: u64 = 4;

/// Services that there are at most, about.
const MOST: usize = 40;

/// SplitMix64.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Runs a command on the store and kills it after a while; the lines that it got to print.
fn killed(store: &Store, arguments: &str, manifest: &str, after: Duration) -> Vec<String> {
    let mut command = store.command(arguments);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let manifest = manifest.to_owned();
    // Whoever has been killed reads no more.
    let writer = thread::spawn(move || drop(stdin.write_all(manifest.as_bytes())));
    thread::sleep(after);
    child.kill().expect("killed, or gone already");
    let mut printed = String::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut printed)
        .expect("text");
    child.wait().expect("it has ended");
    writer.join().expect("the writer ends");
    printed.lines().map(str::to_owned).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "kills are spread over what an apply takes here"
)]
fn duration_of(work: impl FnOnce()) -> Duration {
    let begun = std::time::Instant::now();
    work();
    begun.elapsed()
}

fn manifest(round: u64) -> String {
    let service = |number: u64| {
        let kind = if number.is_multiple_of(2) {
            "NodePort"
        } else {
            "LoadBalancer"
        };
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: s{round}-{number}}}, spec: {{type: {kind}, ports: [{{port: 80}}]}}}}\n"
        )
    };
    (0..EACH).map(service).collect()
}

/// Everything that each Service has; nobody has what another has.
fn holdings(services: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut holdings = BTreeMap::new();
    for service in services {
        let name = service["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let spec = &service["spec"];
        let has = vec![
            spec["clusterIP"].to_string(),
            spec["ports"][0]["nodePort"].to_string(),
        ];
        for what in has.iter().cloned().chain([service["status"].to_string()]) {
            let nothing = what == "null" || what == "{}" || what.contains("{\"loadBalancer\":{}}");
            assert!(nothing || seen.insert(what.clone()), "{what} twice");
        }
        holdings.insert(name, has);
    }
    holdings
}

#[test]
fn what_was_acknowledged_survives_and_nothing_is_given_twice() {
    let kills = std::env::var("PORTOLAN_KILLS")
        .ok()
        .and_then(|text| text.parse().ok());
    let kills = kills.unwrap_or(KILLS);
    let store = Store::new("store-killed");
    let whole = duration_of(|| drop(store.apply(&manifest(u64::MAX))));
    let mut state = 3;
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut unfinished = 0_u64;
    for round in 0..kills {
        // Every fifth comes late, so that something is acknowledged however slow the machine has become.
        let late = if round % 5 == 0 { 5.0 } else { 1.5 };
        let after = whole.mul_f64((draw(&mut state) % 1_000) as f64 / 1_000.0 * late);
        let printed = killed(&store, "apply -f -", &manifest(round), after);
        let mut acknowledged: BTreeSet<String> = printed
            .iter()
            .filter_map(|line| line.strip_suffix(" created"))
            .map(|it| it.replace("service/", ""))
            .collect();
        unfinished += u64::from(acknowledged.len() as u64 != EACH);
        // As many go as come, so that there are always some.
        let excess = known.len().saturating_sub(MOST);
        let doomed: BTreeSet<String> = known.keys().take(excess).cloned().collect();
        let mut gone = BTreeSet::new();
        if !doomed.is_empty() {
            let names: Vec<_> = doomed.iter().map(String::as_str).collect();
            let delete = format!("delete service {}", names.join(" "));
            let printed = killed(&store, &delete, "", after);
            let deleted = printed
                .iter()
                .filter_map(|line| line.strip_suffix(" deleted"));
            gone.extend(deleted.map(|it| it.replace("service/", "")));
        }
        acknowledged.extend(known.keys().cloned());
        acknowledged.retain(|name| !doomed.contains(name));
        let now = holdings(&store.objects("services"));
        for name in acknowledged {
            let has = now
                .get(&name)
                .unwrap_or_else(|| panic!("{name} is lost in round {round}"));
            if let Some(had) = known.get(&name) {
                assert_eq!(had, has, "{name} has something else in round {round}");
            }
        }
        for name in gone {
            assert!(
                !now.contains_key(&name),
                "{name} is there again in round {round}"
            );
        }
        known = now;
    }
    println!("{kills} kills, {unfinished} of them before the end");
    assert!(unfinished > 0, "no kill came early enough to matter");
    assert!(unfinished < kills, "no kill came late enough to matter");
}
