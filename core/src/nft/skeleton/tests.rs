use super::*;
use alloc::collections::BTreeSet;
use core::ops::RangeInclusive;

/// Names that follow a word in the text, up to a blank, comma or line's end.
fn after<'a>(text: &'a str, word: &str) -> BTreeSet<&'a str> {
    let parts = text.split(word).skip(1);
    let names = parts.filter_map(|part| part.split([' ', '\n', ',', '.']).next());
    names.collect()
}

#[test]
fn chains_go_to_chains_that_there_are_and_every_chain_is_gone_to() {
    let options = Options::default();
    for family in [Family::Ipv4, Family::Ipv6] {
        let skeleton = Skeleton {
            options: &options,
            family,
        };
        let all = [
            skeleton.body(),
            skeleton.sticky(10_800, 0),
            skeleton.hooks(),
        ]
        .concat();
        let own = format!("add chain {} portolan ", skeleton.ip());
        let chains = after(&all, &own);
        let named: BTreeSet<&str> = after(&all, "goto ")
            .union(&after(&all, "jump "))
            .copied()
            .collect();
        assert!(named.is_subset(&chains), "{:?}", named.difference(&chains));
        let hooks = after(&skeleton.hooks(), &own).len();
        // The hooks, and the chain that only names the layout.
        assert_eq!(chains.len(), named.len() + hooks + 1);
        assert_eq!(after(&all, &format!("{own}layout-")).len(), 1);
    }
}

#[test]
fn a_set_is_filled_by_the_control_plane_or_by_packets_or_is_constant() {
    let options = Options::default();
    for family in [Family::Ipv4, Family::Ipv6] {
        let skeleton = Skeleton {
            options: &options,
            family,
        };
        let body = skeleton.body();
        let named = |kind: &str| after(&body, &skeleton.add(kind));
        let made: BTreeSet<&str> = named("set").union(&named("map")).copied().collect();
        let filled = Set::ALL.map(Set::name).into_iter().chain(["affinity"]);
        assert_eq!(made, filled.chain(Set::CONSTANT).collect());
    }
}

#[test]
fn the_layout_has_another_name_when_anything_in_it_is_different() {
    let layout = |options: &Options, family| Skeleton { options, family }.layout();
    let options = Options::default();
    let other = Options {
        affinity_clients: 7,
        ..Options::default()
    };
    let elsewhere = Options {
        snat_priority: 99,
        ..Options::default()
    };
    let name = layout(&options, Family::Ipv4);
    assert!(name.starts_with("layout-") && name.len() == 23, "{name}");
    assert_eq!(name, layout(&options.clone(), Family::Ipv4));
    assert_ne!(name, layout(&other, Family::Ipv4));
    assert_ne!(name, layout(&elsewhere, Family::Ipv4));
    assert_ne!(name, layout(&options, Family::Ipv6));
}

#[test]
fn masquerading_gives_the_ports_of_the_range() {
    let body = |masquerade_ports| {
        let options = Options {
            masquerade_ports,
            ..Options::default()
        };
        let family = Family::Ipv6;
        let options = &options;
        Skeleton { options, family }.body()
    };
    let anywhere = body(None).matches("masquerade fully-random").count();
    assert!(anywhere > 0);
    for (range, words) in [
        (2_000..=2_999, "masquerade to :2000-2999 fully-random\n"),
        (2_000..=2_000, "masquerade to :2000\n"),
        // Empty, so its first.
        (RangeInclusive::new(2_000, 1_999), "masquerade to :2000\n"),
    ] {
        let text = body(Some(range));
        assert_eq!(text.matches(words).count(), anywhere);
        assert!(!text.contains("masquerade fully-random"));
    }
}

#[test]
fn the_number_of_rules_is_constant() {
    let options = Options::default();
    let skeleton = Skeleton {
        options: &options,
        family: Family::Ipv4,
    };
    let lines = |text: String| text.lines().count();
    assert!(lines(skeleton.body()) < 720, "{}", lines(skeleton.body()));
    assert!(lines(skeleton.sticky(10_800, 0)) < 50);
}
