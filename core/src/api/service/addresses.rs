//! What is wrong with a Service's ClusterIPs, families and external addresses.
//!
//! Source: Kubernetes' `ValidateServiceClusterIPsRelatedFields` and `ValidateNonSpecialIP`.

use super::{
    HEADLESS, PREFER_DUAL_STACK, REQUIRE_DUAL_STACK, SINGLE_STACK, SpecExt, family_of,
    family_of_name,
};
use crate::api::field::Errors;
use crate::api::syntax;
use crate::net::Family;
use alloc::collections::BTreeSet;
use alloc::format;
use core::net::IpAddr;
use k8s_openapi::api::core::v1::ServiceSpec;

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` by themselves, without regard to what is configured.
pub(super) fn cluster_ips(spec: &ServiceSpec, errors: &mut Errors) {
    if !spec.needs_cluster_ip() {
        return;
    }
    const LIST: &str = "spec.clusterIPs";
    let ips = spec.ips();
    match (spec.single_ip(), ips.first()) {
        ("", None) => {}
        ("", Some(_)) => {
            errors.invalid(LIST, ips, "must be empty when `clusterIP` is not specified")
        }
        (_, None) => errors.required(LIST, ""),
        (single, Some(first)) => {
            if single != first {
                errors.invalid(LIST, ips, "first value must match `clusterIP`");
            }
        }
    }
    families(spec, errors);
    let mut malformed = false;
    for (index, ip) in ips.iter().enumerate() {
        if index == 0 && ip == HEADLESS {
            if ips.len() > 1 {
                malformed = true;
                errors.invalid(LIST, ips, "'None' must be the first and only value");
            }
        } else if syntax::ip(ip).is_none() {
            malformed = true;
            errors.invalid(format!("{LIST}[{index}]"), ip, syntax::NOT_AN_IP);
        }
    }
    if ips.len() > 2 {
        errors.invalid(LIST, ips, "may only hold up to 2 values");
    }
    // What follows would only say again that an address is none.
    if malformed {
        return;
    }
    let kinds: BTreeSet<Family> = ips.iter().filter_map(|ip| family_of(ip)).collect();
    if ips.len() > 1 && kinds.len() < 2 {
        errors.invalid(
            LIST,
            ips,
            "may specify no more than one IP for each IP family",
        );
    }
    if spec.is_headless() {
        return;
    }
    for (index, (ip, family)) in ips.iter().zip(spec.families()).enumerate() {
        let named = family_of_name(family);
        if named.is_some() && named != family_of(ip) {
            let rule = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.invalid(format!("{LIST}[{index}]"), ip, rule);
        }
    }
}

fn families(spec: &ServiceSpec, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, family) in spec.families().iter().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        if family_of_name(family).is_none() {
            errors.not_supported(&field, family, &["IPv4", "IPv6"]);
        }
        if !seen.insert(family) {
            errors.duplicate(field, family);
        }
    }
    let policies = [PREFER_DUAL_STACK, REQUIRE_DUAL_STACK, SINGLE_STACK];
    if let Some(policy) = spec.ip_family_policy.as_deref()
        && !policies.contains(&policy)
    {
        errors.not_supported("spec.ipFamilyPolicy", policy, &policies);
    }
}

/// `externalIPs`: addresses of other machines or of nodes, never of one machine alone.
pub(super) fn external_ips(spec: &ServiceSpec, errors: &mut Errors) {
    for (index, text) in spec.external_ips.iter().flatten().enumerate() {
        let field = format!("spec.externalIPs[{index}]");
        match syntax::ip(text) {
            None => errors.invalid(field, text, syntax::NOT_AN_IP),
            Some(address) => {
                if let Some(rule) = special(address) {
                    errors.invalid(field, text, rule);
                }
            }
        }
    }
}

fn special(address: IpAddr) -> Option<&'static str> {
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(v6) => (
            v6.is_unicast_link_local(),
            v6.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    if address.is_unspecified() {
        Some("may not be unspecified (0.0.0.0 or ::)")
    } else if address.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if link_local_multicast {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}
