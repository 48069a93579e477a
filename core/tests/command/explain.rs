//! `portolan explain`, from files: the answer names the frontend, the policy, the endpoints and the reason.

use super::files::Files;
use super::run;
use serde_json::{Value, json};

fn explain(files: &Files, packet: &str) -> Value {
    let finished = run(&format!("explain --json {packet} {}", files.arguments()));
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).expect("JSON")
}

#[test]
fn the_silence_of_policy_local_is_explained() {
    let files = Files::new("explain-silence");
    let finished = run(&format!(
        "explain --src 10.244.1.9 --dst 10.43.0.10:80 {}",
        files.arguments()
    ));
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    for said in [
        "10.244.1.9 is a pod (inside 10.244.0.0/16)",
        "ClusterIP 10.43.0.10:80 of Service store/shop, port http",
        "internalTrafficPolicy: Local",
        "there is no usable endpoint on this node",
        "10.244.2.21:8080 (ready, on another node)",
        "drop (NoLocalEndpoint)",
        "4 elsewhere are not used",
    ] {
        assert!(
            finished.stdout.contains(said),
            "{said} is not in:\n{}",
            finished.stdout
        );
    }
}

#[test]
fn a_forwarded_packet_is_explained_field_by_field() {
    let files = Files::new("explain-forward");
    let answer = explain(
        &files,
        "--src 198.51.100.7:5555 --dst 172.18.0.2:31080 --proto tcp",
    );
    assert_eq!(answer["verdict"], "forward");
    assert_eq!(answer["source"], "outside");
    assert_eq!(answer["frontend"], "NodePort");
    assert_eq!(answer["service"], "store/shop");
    assert_eq!(answer["policy"], "externalTrafficPolicy: Cluster");
    assert_eq!(answer["endpointSet"], "Cluster");
    let endpoints = json!([
        "10.244.2.21:8080",
        "10.244.2.22:8080",
        "10.244.3.23:8080",
        "10.244.3.24:8080"
    ]);
    assert_eq!(answer["endpoints"], endpoints);
    let choice = &answer["choice"];
    assert!(
        endpoints.as_array().is_some_and(|all| all.contains(choice)),
        "{choice}"
    );
    assert_eq!(answer["masquerade"], true);
    let translated = answer["translated"].as_str().unwrap_or_default();
    assert!(translated.starts_with("TCP 172.18.0.2:"), "{translated}");
}

#[test]
fn each_refusal_has_its_own_words() {
    let files = Files::new("explain-refusals");
    for (packet, verdict, reason, why) in [
        (
            "--src 10.244.1.9 --dst 10.43.0.53:53 --proto UDP",
            "reject",
            json!(null),
            "no endpoint that is ready",
        ),
        (
            "--src 10.244.1.9 --dst 10.43.0.10:81",
            "reject",
            json!(null),
            "declares no port 81/TCP",
        ),
        (
            "--src 10.244.1.9 --dst 10.43.0.99:80",
            "drop",
            json!("UnallocatedAddress"),
            "ServiceCIDR 10.43.0.0/16",
        ),
        (
            "--src 10.244.1.9 --dst 192.0.2.1:80",
            "pass",
            json!(null),
            "no Service is served at 192.0.2.1:80",
        ),
        (
            "--src fd44::9 --dst [2001:db8::1]:80 --proto SCTP",
            "pass",
            json!(null),
            "no Service is served at",
        ),
        (
            "--src 10.244.1.9 --dst 172.18.0.2:31080 --flags A",
            "drop",
            json!("NoConnection"),
            "no connection",
        ),
    ] {
        let answer = explain(&files, packet);
        assert_eq!(answer["verdict"], verdict, "{packet}");
        assert_eq!(answer["reason"], reason, "{packet}");
        let said = answer["why"].as_str().unwrap_or_default();
        assert!(said.contains(why), "{packet}: {said}");
    }
}

#[test]
fn arguments_that_make_no_packet_are_refused() {
    let files = Files::new("explain-arguments");
    for (packet, said) in [
        ("--src 10.244.1.9 --dst 10.43.0.10", "--dst needs a port"),
        ("--src 10.244.1.9 --dst [fd43::1]:80", "different families"),
        ("--src somebody --dst 10.43.0.10:80", "is no address"),
        (
            "--src 10.244.1.9 --dst 10.43.0.10:80 --flags XY",
            "is no TCP flag",
        ),
    ] {
        let finished = run(&format!("explain {packet} {}", files.arguments()));
        assert_eq!(
            (finished.status, finished.stdout.as_str()),
            (2, ""),
            "{packet}"
        );
        assert!(
            finished.stderr.contains(said),
            "{packet}: {}",
            finished.stderr
        );
    }
}
