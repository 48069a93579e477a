//! Names, labels and addresses as the API server wants them written, with its own words for what is wrong.
//!
//! Source of the rules and of their wording: `k8s.io/apimachinery/pkg/util/validation`.

use crate::net::Prefix;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::field::Errors;

/// The longest DNS label (RFC 1123), label value and name part of a qualified name.
const MAX_LABEL: usize = 63;

/// The longest DNS name (RFC 1123).
const MAX_SUBDOMAIN: usize = 253;

/// The longest name of a port (RFC 6335 5.1).
const MAX_PORT_NAME: usize = 15;

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Letters of `inner` everywhere, and of `end` at either end.
fn is_made_of(text: &str, end: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().into_iter().chain(bytes.last());
    !bytes.is_empty() && ends.copied().all(end) && bytes.iter().copied().all(inner)
}

fn is_label(text: &str) -> bool {
    is_made_of(text, is_lower_alphanumeric, |byte| {
        is_lower_alphanumeric(byte) || byte == b'-'
    })
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// A DNS label (RFC 1123), as names of ports are.
pub(super) fn dns_1123_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_LABEL {
        wrong.push(too_long(MAX_LABEL));
    }
    if !is_label(text) {
        let rule = if is_subdomain(text) {
            "must not contain dots"
        } else {
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
             end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        };
        wrong.push(rule.to_string());
    }
    wrong
}

/// A DNS label that begins with a letter (RFC 1035), as names of Services are.
pub(super) fn dns_1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_LABEL {
        wrong.push(too_long(MAX_LABEL));
    }
    if !is_label(text) || text.starts_with(|first: char| first.is_ascii_digit()) {
        wrong.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
             validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .to_string(),
        );
    }
    wrong
}

/// A DNS name (RFC 1123), as names of most objects are.
pub(super) fn dns_1123_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_SUBDOMAIN {
        wrong.push(too_long(MAX_SUBDOMAIN));
    }
    if !is_subdomain(text) {
        wrong.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_string(),
        );
    }
    wrong
}

fn is_name_part(text: &str) -> bool {
    is_made_of(
        text,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
    )
}

/// `[prefix/]name`, as keys of labels, load balancer classes and application protocols are.
pub(super) fn qualified_name(text: &str) -> Vec<String> {
    const FORM: &str = "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                        alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                        validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let mut wrong = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            return alloc::vec![format!(
                "a qualified name must {FORM} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_string());
            } else {
                let rules = dns_1123_subdomain(prefix);
                wrong.extend(rules.into_iter().map(|rule| format!("prefix part {rule}")));
            }
            name
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_string());
    } else if name.len() > MAX_LABEL {
        wrong.push(format!("name part {}", too_long(MAX_LABEL)));
    }
    if !is_name_part(name) {
        wrong.push(format!("name part must {FORM}"));
    }
    wrong
}

/// The value of a label: may be empty.
pub(super) fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_LABEL {
        wrong.push(too_long(MAX_LABEL));
    }
    if !text.is_empty() && !is_name_part(text) {
        wrong.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
             for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_string(),
        );
    }
    wrong
}

/// Labels, or a selector that is a plain map of them.
pub(super) fn labels(labels: &BTreeMap<String, String>, path: &str, errors: &mut Errors) {
    for (key, value) in labels {
        errors.each_invalid(path, key, qualified_name(key));
        errors.each_invalid(path, value, label_value(value));
    }
}

/// The number of a port.
pub(super) fn port_number(number: i32) -> Option<&'static str> {
    (!(1..=65_535).contains(&number)).then_some("must be between 1 and 65535, inclusive")
}

/// The name of a port (RFC 6335 5.1).
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_PORT_NAME {
        wrong.push(too_long(MAX_PORT_NAME));
    }
    let sound = |byte: u8| is_lower_alphanumeric(byte) || byte == b'-';
    if !text.bytes().all(sound) || text.is_empty() {
        wrong.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_string(),
        );
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_string());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_string());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_string());
    }
    wrong
}

/// What a malformed address is told.
pub(super) const NOT_AN_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// An address; the older notations that kube-proxy still reads (leading zeros, IPv4 in IPv6) are refused in new ones.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    (!mapped).then_some(address)
}

/// A prefix.
pub(super) fn cidr(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/')?;
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse().ok().filter(|_| digits)?;
    Prefix::new(ip(address)?, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_name_is_short_lower_case_and_has_a_letter() {
        for good in ["http", "a", "web-2", "8080-tcp", "abcdefghijklmno"] {
            assert!(port_name(good).is_empty(), "{good}");
        }
        for bad in [
            "",
            "80",
            "-web",
            "web-",
            "a--b",
            "Web",
            "we_b",
            "abcdefghijklmnop",
        ] {
            assert!(!port_name(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_qualified_name_has_at_most_one_prefix() {
        for good in ["app", "kubernetes.io/h2c", "a.B_c-9", "example.com/My.Name"] {
            assert!(qualified_name(good).is_empty(), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "Example.com/a", "-a", "a b"] {
            assert!(!qualified_name(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_service_name_begins_with_a_letter() {
        assert!(dns_1035_label("a-1").is_empty());
        for bad in ["1a", "-a", "a-", "A", "a.b", ""] {
            assert!(!dns_1035_label(bad).is_empty(), "{bad}");
        }
        assert_eq!(dns_1035_label(&"a".repeat(64)), [too_long(63)]);
    }

    #[test]
    fn an_address_is_canonical_or_nothing() {
        for good in ["10.0.0.1", "fd00::1", "::"] {
            assert!(ip(good).is_some(), "{good}");
        }
        for bad in ["10.0.0.01", "::ffff:10.0.0.1", "10.0.0", "none", ""] {
            assert!(ip(bad).is_none(), "{bad}");
        }
        assert!(cidr("10.0.0.0/8").is_some());
        assert!(cidr("10.0.0.0/33").is_none());
        assert!(cidr("10.0.0.0/+8").is_none());
    }
}
