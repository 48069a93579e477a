//! Decoding: manifests good, bad and hostile against what must come of them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod endpoints;
mod hostile;
mod kube_proxy;
mod nodes;
mod scheduling;
mod services;
mod sources;

use portolan::k8s::{Decoded, decode};
use portolan::model::Object;

fn read(text: &str) -> Decoded {
    decode(text.as_bytes(), "test.yaml")
}

fn texts(decoded: &Decoded) -> Vec<String> {
    decoded.rejections.iter().map(ToString::to_string).collect()
}

/// The only object, of which nothing is wrong.
fn only(text: &str) -> Object {
    let decoded = read(text);
    assert_eq!(texts(&decoded), [""; 0], "{text}");
    assert_eq!(decoded.objects.len(), 1, "{text}");
    decoded.objects.into_iter().next().expect("one object")
}

fn ips(addresses: &[core::net::IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}
