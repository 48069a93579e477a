//! What `nft` and the kernel must be able to do.

use super::command::{NftCommand, NftError};
use crate::net::Family;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The oldest `nft` that has been tried, Debian 12's.
const NFT: [u32; 3] = [1, 0, 6];

/// Each feature, what brings it, and a ruleset that needs nothing else. Linux 5.13 has them all, if they are built.
const FEATURES: [(&str, &str); 8] = [
    (
        "nat chains (CONFIG_NFT_NAT)",
        "type nat hook prerouting priority -100;",
    ),
    (
        "masquerade (CONFIG_NFT_MASQ)",
        "type nat hook postrouting priority 100; masquerade fully-random;",
    ),
    (
        "connection tracking (CONFIG_NFT_CT)",
        "type filter hook prerouting priority 0; ct state new;",
    ),
    (
        "reject (CONFIG_NFT_REJECT)",
        "type filter hook input priority 0; reject;",
    ),
    (
        "fib (CONFIG_NFT_FIB_IPV4, CONFIG_NFT_FIB_IPV6)",
        "fib saddr type local;",
    ),
    ("numgen (CONFIG_NFT_NUMGEN)", "numgen random mod 2 0;"),
    (
        "jhash (CONFIG_NFT_HASH)",
        "meta mark set jhash meta mark mod 2;",
    ),
    (
        "writing to packets (Linux 4.10)",
        "FIELD daddr set FIELD daddr;",
    ),
];

/// What is missing, in words, if a ruleset was refused because `nft` is too old or because of the kernel.
pub(super) fn missing(nft: &NftCommand) -> Option<String> {
    let said = nft.version().ok()?;
    if version(&said).is_some_and(|found| found < NFT) {
        let [major, minor, patch] = NFT;
        return Some(format!(
            "this is {}, and at least {major}.{minor}.{patch} is needed",
            said.trim()
        ));
    }
    let families = [Family::Ipv4, Family::Ipv6];
    families
        .into_iter()
        .find_map(|family| missing_in(nft, family))
}

/// `1.0.6` out of `nftables v1.0.6 (Lester Gooch #5)`.
fn version(said: &str) -> Option<[u32; 3]> {
    let word = said
        .split_whitespace()
        .find_map(|word| word.strip_prefix('v'))?;
    let mut numbers = word.split('.').map(|number| number.parse().unwrap_or(0));
    Some([
        numbers.next()?,
        numbers.next()?,
        numbers.next().unwrap_or(0),
    ])
}

/// Which features a family has not, in words.
fn missing_in(nft: &NftCommand, family: Family) -> Option<String> {
    let ip = super::text::family_name(family);
    let mut missing = Vec::new();
    for (name, rules) in FEATURES {
        let rules = rules
            .replace("FIELD", ip)
            .replace("; ", ";\n")
            .replace(";", "\n");
        let text = format!("table {ip} portolan-trial {{\n chain c {{\n{rules}\n }}\n}}\n");
        match nft.check(&text) {
            Ok(()) => {}
            Err(NftError::Refused(said)) if said.contains("Operation not permitted") => {
                return Some(
                    "this process may not change nftables (it needs CAP_NET_ADMIN)".to_string(),
                );
            }
            Err(_) => missing.push(name),
        }
    }
    (!missing.is_empty()).then(|| format!("{ip}: the kernel has no {}", missing.join(", no ")))
}
