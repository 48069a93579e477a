//! Inputs of every shape, broken and hostile ones included: what must be found in them, and what must be said.

use portolan::k8s::{Decoded, decode, decode_value};

const WEB: &str = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}"#;
const DB: &str = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"db"},"spec":{"clusterIP":"fd96::2","ports":[{"port":80}]}}"#;

fn read(text: &str) -> Decoded {
    decode(text.as_bytes(), "in")
}

/// Names of objects, rejections, and names ignored, in this order.
fn all(decoded: &Decoded) -> Vec<String> {
    let objects = decoded.objects.iter().map(|it| it.reference().to_string());
    let rejections = decoded.rejections.iter().map(|it| format!("rejected {it}"));
    let ignored = decoded.ignored.iter().map(|it| format!("ignored {it}"));
    objects.chain(rejections).chain(ignored).collect()
}

#[test]
fn objects_are_found_in_every_shape_of_input() {
    let pretty = WEB.replace(',', ",\n  ");
    let yaml = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n";
    let empty_list = r#"{"kind":"List","apiVersion":"v1","items":null}"#;
    let bare = |name: &str| format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{}}}}"#);
    let cases: &[(&str, String, &[&str])] = &[
        ("nothing", String::new(), &[]),
        ("blanks and comments", "\n# none\n---\n  \n--- # still none\n...\n".into(), &[]),
        ("one JSON object", WEB.into(), &["Service default/web"]),
        ("JSON over several lines", format!("\n{pretty}\n"), &["Service default/web"]),
        ("JSON one after another", format!("{WEB}{DB} {WEB}"), &["Service default/web", "Service default/db", "Service default/web"]),
        ("JSON Lines", format!("{WEB}\n{DB}\n"), &["Service default/web", "Service default/db"]),
        ("pretty JSON one after another", format!("{pretty}\n{DB}\n"), &["Service default/web", "Service default/db"]),
        ("a JSON array", format!("[{WEB},\n{DB}]"), &["Service default/web", "Service default/db"]),
        ("a v1 List", format!(r#"{{"kind":"List","apiVersion":"v1","items":[{WEB},{DB}]}}"#), &["Service default/web", "Service default/db"]),
        ("a List in a List", format!(r#"{{"kind":"List","items":[{{"kind":"List","items":[{WEB}]}},{DB}]}}"#), &["Service default/web", "Service default/db"]),
        ("an empty List", empty_list.into(), &[]),
        ("a typed list", format!(r#"{{"kind":"ServiceList","apiVersion":"v1","items":[{},{}]}}"#, bare("a"), bare("b")), &["Service default/a", "Service default/b"]),
        ("a list of nodes", format!(r#"{{"kind":"NodeList","apiVersion":"v1","items":[{}]}}"#, bare("n1")), &["Node n1"]),
        ("a list of Endpoints", format!(r#"{{"kind":"EndpointsList","apiVersion":"v1","items":[{}]}}"#, bare("web")), &["Endpoints default/web"]),
        (
            "a list of slices",
            r#"{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","items":[{"metadata":{"name":"s","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv6","endpoints":[]}]}"#.into(),
            &["EndpointSlice default/s"],
        ),
        ("YAML", yaml.to_string() + "spec: {}\n", &["Service default/web"]),
        ("YAML with Windows' line ends", (yaml.to_string() + "spec: {}\n---\n" + yaml + "spec: {}\n").replace('\n', "\r\n"), &["Service default/web", "Service default/web"]),
        ("YAML documents", format!("%YAML 1.2\n---\n{yaml}spec: {{}}\n---\n# none\n---\n{DB}\n...\n---\n{yaml}spec: {{}}\n"), &["Service default/web", "Service default/db", "Service default/web"]),
        ("YAML after the marker", format!("--- {DB}\n--- {WEB}"), &["Service default/db", "Service default/web"]),
        ("flow YAML", "{apiVersion: v1, kind: Node, metadata: {name: n1}}".into(), &["Node n1"]),
        ("a byte order mark", format!("\u{feff}{WEB}"), &["Service default/web"]),
        ("a byte order mark before YAML", format!("\u{feff}{yaml}spec: {{}}\n"), &["Service default/web"]),
        ("anchors and merge keys", format!("kind: List\nitems:\n- &web\n  {}\n- <<: *web\n  metadata: {{name: copy}}\n", WEB), &["Service default/web", "Service default/copy"]),
    ];
    for (what, text, expected) in cases {
        assert_eq!(all(&read(text)), *expected, "{what}: {text}");
    }
}

#[test]
fn a_broken_document_costs_no_other_and_is_named_by_its_line() {
    let cases: &[(&str, String, &[&str])] = &[
        (
            "a truncated line of JSON Lines",
            format!("{WEB}\n{{\"apiVersion\":\"v1\",\n{DB}\n"),
            &[
                "Service default/web",
                "Service default/db",
                "rejected in:3: cannot be read as JSON: key must be a string (column 1)",
            ],
        ),
        (
            "a first line that is broken",
            format!("{{\"items\":[\n{WEB}\n{DB}\n"),
            &[
                "Service default/web",
                "Service default/db",
                "rejected in:3: cannot be read as JSON: expected `,` or `]` (column 1)",
            ],
        ),
        (
            "a truncated last line",
            format!("{WEB}\n{}", &DB[..50]),
            &[
                "Service default/web",
                "rejected in:2: cannot be read as JSON: EOF while parsing a string (column 50)",
            ],
        ),
        (
            "broken YAML among good",
            format!("{WEB}\n---\nkind: [\n---\n{DB}\n"),
            &[
                "Service default/web",
                "Service default/db",
                "rejected in:3: cannot be read as YAML: unclosed bracket '[' (column 7)",
            ],
        ),
        (
            "a tab",
            format!("---\n{DB}\n---\nkind: Service\n\tmetadata: {{}}\n"),
            &[
                "Service default/db",
                "rejected in:4: cannot be read as YAML: while scanning a plain scalar, found a tab (column 7)",
            ],
        ),
        (
            "a key given twice",
            format!("kind: Service\nkind: Node\n---\n{DB}\n"),
            &[
                "Service default/db",
                "rejected in:2: cannot be read as YAML: duplicate mapping key `kind` is not allowed here (column 1)",
            ],
        ),
    ];
    for (what, text, expected) in cases {
        assert_eq!(all(&read(text)), *expected, "{what}");
    }
}

#[test]
fn bytes_that_are_not_utf8_cost_their_document_only() {
    let mut bytes = WEB.as_bytes().to_vec();
    bytes.extend_from_slice(b"\n---\nkind: Service\nmetadata: {name: \xff\xfe}\n---\n");
    bytes.extend_from_slice(DB.as_bytes());
    assert_eq!(
        all(&decode(&bytes, "in")),
        [
            "Service default/web",
            "Service default/db",
            "rejected in:4: must be UTF-8"
        ]
    );
}

/// Inputs without a good object, and what is said of them.
const NOTHING_SERVED: &[(&str, &[&str])] = &[
    (
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: b}}",
        &["ignored Deployment b/a"],
    ),
    (
        "{apiVersion: v1, kind: Pod, metadata: {generateName: a-}}",
        &["ignored Pod at in:1"],
    ),
    (
        "{apiVersion: v1, kind: PodList, items: [{metadata: {name: a}}]}",
        &["ignored Pod a"],
    ),
    (
        "{apiVersion: example.com/v1, kind: Foo, metadata: {name: a}}",
        &["rejected Foo a: kind: kind Foo is not served"],
    ),
    (
        "{apiVersion: example.com/v1, kind: AllowList, metadata: {name: a}}",
        &["rejected AllowList a: kind: kind AllowList is not served"],
    ),
    (
        "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: a}}",
        &["rejected Service a: apiVersion: \"serving.knative.dev/v1\" is not served: must be v1"],
    ),
    (
        "{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice, metadata: {name: a, namespace: b}}",
        &[
            "rejected EndpointSlice b/a: apiVersion: \"discovery.k8s.io/v1beta1\" is not served: must be discovery.k8s.io/v1",
        ],
    ),
    (
        "{kind: Service, metadata: {name: a}}",
        &["rejected Service a: apiVersion: is missing: must be v1"],
    ),
    (
        "{metadata: {name: a}}",
        &["rejected in:1: kind: is missing: must say what the object is, such as Service"],
    ),
    (
        "\n\nhello",
        &["rejected in:3: must be an object with apiVersion and kind"],
    ),
    (
        "[1, null, true]",
        &[
            "rejected in:1 items[0]: must be an object with apiVersion and kind",
            "rejected in:1 items[2]: must be an object with apiVersion and kind",
        ],
    ),
    (
        "{kind: List, items: {}}",
        &["rejected in:1: items: must be a list of objects"],
    ),
    (
        "{apiVersion: v1, kind: ServiceList, items: [{metadata: {}}]}",
        &["rejected Service at in:1 items[0]: metadata.name: is missing"],
    ),
    (
        "{apiVersion: v1, kind: Service, metadata: {name: 5}}",
        &["rejected Service at in:1: metadata.name: must be a string"],
    ),
    (
        "{apiVersion: v1, kind: Service, metadata: {name: A_b}}",
        &[
            "rejected Service A_b: metadata.name: \"A_b\" is not a name: must be 1 to 253 of a-z, 0-9, - and ., with a letter or digit at either end (RFC 1123)",
        ],
    ),
    (
        "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: b.c}}",
        &[
            "rejected Service b.c/a: metadata.namespace: \"b.c\" is not a namespace: must be 1 to 63 of a-z, 0-9 and -, with a letter or digit at either end (RFC 1123)",
        ],
    ),
    (
        "{apiVersion: v1, kind: Node, metadata: {name: \"a\\e[31m\\nb\"}}",
        &[
            "rejected Node a [31m b: metadata.name: \"a\\u{1b}[31m\\nb\" is not a name: must be 1 to 253 of a-z, 0-9, - and ., with a letter or digit at either end (RFC 1123)",
        ],
    ),
];

#[test]
fn what_is_not_served_is_rejected_and_what_is_not_ours_is_ignored() {
    for (text, expected) in NOTHING_SERVED {
        assert_eq!(all(&read(text)), *expected, "{text}");
    }
    let value = serde_json::json!({"kind": "Service"});
    let said =
        "rejected case: apiVersion: is missing: must be v1".replace("case", "Service at case");
    assert_eq!(all(&decode_value(value, "case")), [said]);
}

#[test]
fn a_million_rejections_are_counted_but_not_all_kept() {
    let ips = vec!["\"\""; 200_000].join(",");
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"a"}},"spec":{{"externalIPs":[{ips}]}}}}"#
    );
    let decoded = read(&text);
    assert_eq!(decoded.objects.len(), 1);
    assert_eq!(decoded.rejections.len(), 100_001);
    let last = decoded.rejections.last().map(ToString::to_string);
    assert_eq!(
        last.as_deref(),
        Some("in: 100000 more rejections: only the first 100000 are reported")
    );
}

/// Inputs made to cost more than they weigh. Each must end soon and leave the good object after it alone.
#[test]
#[expect(clippy::disallowed_methods, reason = "what is measured is time itself")]
fn bombs_cost_their_own_document_only() {
    let nested_aliases = (0..30).fold(
        String::from("a0: &a0 [x, x, x, x, x, x, x, x]\n"),
        |text, level| {
            let next = level + 1;
            text + &format!("a{next}: &a{next} [*a{level}, *a{level}, *a{level}, *a{level}]\n")
        },
    );
    let long = "x".repeat(1 << 20);
    let fat_aliases = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 40_000].join(","));
    let cases = [
        ("nested aliases", nested_aliases),
        ("many aliases of a long text", fat_aliases),
        ("deep JSON", "[".repeat(1 << 20)),
        (
            "deep JSON that is whole",
            "[".repeat(1 << 18) + &"]".repeat(1 << 18),
        ),
        (
            "lists in lists",
            r#"{"kind":"List","items":["#.repeat(1 << 12) + &"]}".repeat(1 << 12),
        ),
        ("deep JSON objects", "{\"a\":".repeat(1 << 18)),
        ("deep flow YAML", format!("a: {}", "[".repeat(1 << 20))),
        (
            "deep block YAML",
            (0..2_000)
                .map(|depth| format!("{}a:\n", " ".repeat(depth)))
                .collect(),
        ),
        ("deep block sequences", "- ".repeat(1 << 18)),
        ("a key that never ends", "? ".repeat(1 << 18)),
        ("an anchor to itself", "a: &a [*a]\n".to_string()),
        ("many openings", "{\n".repeat(1 << 18)),
        ("many arrays", "{\"a\":[1,\n".repeat(1 << 16)),
        ("many quotes", "\"".repeat(1 << 20)),
        ("many colons", ": ".repeat(1 << 18)),
        ("many bangs", "!".repeat(1 << 18)),
        ("block scalar storms", "a: |\n".repeat(1 << 16)),
    ];
    for (what, text) in cases {
        let started = std::time::Instant::now();
        let decoded = read(&format!("{text}\n---\n{DB}"));
        let names: Vec<_> = decoded
            .objects
            .iter()
            .map(|it| it.reference().to_string())
            .collect();
        assert_eq!(names, ["Service default/db"], "{what}");
        assert!(!decoded.rejections.is_empty(), "{what}");
        assert!(
            started.elapsed().as_secs() < 10,
            "{what} took {:?}",
            started.elapsed()
        );
    }
}
