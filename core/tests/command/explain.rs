//! `portolan explain`, from files: the answer names the frontend, the policy, the endpoints and the reason.

use super::files::{Files, NODE, SHOP};
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
    assert_eq!(answer["rule"], "externalTrafficPolicy: Cluster");
    assert_eq!(answer["scheduler"], "random");
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

#[test]
fn the_rule_that_decided_is_named() {
    let files = Files::new("explain-rules");
    let theirs = SHOP
        .replace("name: shop", "name: mesh")
        .replace("10.43.0.10", "10.43.0.20")
        .replace("nodePort: 31080", "nodePort: 31081")
        .replace(
            "name: mesh}",
            "name: mesh, labels: {service.kubernetes.io/service-proxy-name: mesh}}",
        );
    files.write("objects/mesh.yaml", &theirs);
    for (packet, rule) in [
        (
            "--src 10.244.1.9 --dst 10.43.0.10:80",
            "internalTrafficPolicy: Local",
        ),
        (
            "--src 198.51.100.7 --dst 172.18.0.2:31080",
            "externalTrafficPolicy: Cluster",
        ),
        (
            "--src 10.244.1.9 --dst 10.43.0.53:53 --proto UDP",
            "no ready endpoints",
        ),
        (
            "--src 10.244.1.9 --dst 10.43.0.10:81",
            "undeclared port of a clusterIP",
        ),
        (
            "--src 10.244.1.9 --dst 10.43.0.99:80",
            "unallocated address of a ServiceCIDR",
        ),
        (
            "--src 10.244.1.9 --dst 10.43.0.20:80",
            "service.kubernetes.io/service-proxy-name",
        ),
        ("--src 10.244.1.9 --dst 192.0.2.1:80", "no Service"),
        (
            "--src 10.244.1.9 --dst 172.18.0.2:31080 --flags A",
            "NoConnection",
        ),
    ] {
        assert_eq!(explain(&files, packet)["rule"], rule, "{packet}");
    }
    let said = explain(&files, "--src 10.244.1.9 --dst 10.43.0.20:80")["why"].to_string();
    assert!(
        said.contains("of Service store/mesh, which the proxy mesh serves"),
        "{said}"
    );
}

#[test]
fn the_scheduler_is_named_with_whoever_asked_for_it() {
    let files = Files::new("explain-scheduler");
    let asks = "--src 198.51.100.7 --dst 172.18.0.2:31080";
    for (node, service, words) in [
        ("", "", "random: any, with equal chances"),
        (
            "scheduler: rr\n",
            "",
            "rr: one after another, as the node's configuration says",
        ),
        (
            "scheduler: rr\n",
            ", annotations: {portolan/scheduler: mh}",
            "mh: by consistent hashing (Maglev): the same on every node of one seed, as the Service's annotation says",
        ),
    ] {
        files.write("node.yaml", &format!("{NODE}{node}"));
        let shop = SHOP.replace("name: shop}\nspec", &format!("name: shop{service}}}\nspec"));
        files.write("objects/shop.yaml", &shop);
        let answer = explain(&files, asks);
        let text = answer["text"].as_str().unwrap_or_default();
        assert!(text.contains(words), "{text}");
        let name = words.split(':').next();
        assert_eq!(answer["scheduler"].as_str(), name);
        let by = match name {
            Some("random") => "one of 4 at random".to_owned(),
            other => format!("one of 4 by {}", other.unwrap_or_default()),
        };
        assert!(text.contains(&by), "{text}");
    }
}

#[test]
fn an_interface_may_say_that_a_pod_sends() {
    let files = Files::new("explain-interface");
    let detector = "detectLocal: InterfaceNamePrefix\ninterfaceNamePrefix: veth\n";
    files.write("node.yaml", &format!("{NODE}{detector}"));
    let asks = "--src 192.168.7.7 --dst 10.43.0.10:80";
    for (interface, class, words) in [
        (
            " --interface veth12",
            "pod",
            "192.168.7.7 is a pod (its packets enter by veth*)",
        ),
        (
            " --interface eth0",
            "outside",
            "its packet does not enter by veth*",
        ),
        ("", "outside", "its packet does not enter by veth*"),
    ] {
        let answer = explain(&files, &format!("{asks}{interface}"));
        assert_eq!(answer["source"], class, "{interface}");
        let text = answer["text"].as_str().unwrap_or_default();
        assert!(text.contains(words), "{text}");
    }
}
