//! `loadBalancerSourceRanges`.

use super::*;

fn ranged(world: World, ranges: Vec<Prefix>, endpoints: Vec<SliceEndpoint>) -> Node {
    let mut service = web_everywhere(world);
    service.source_ranges = ranges;
    let mut node = node_with(config());
    node.apply([
        Object::Service(service),
        Object::EndpointSlice(slice(world, 1, endpoints)),
    ]);
    node
}

#[test]
fn they_guard_load_balancer_addresses_and_nothing_else_against_everybody() {
    both(|world| {
        let pod = world.pod_here(5);
        let node = ranged(
            world,
            vec![Prefix::host(world.pod_here(9))],
            vec![here(pod)],
        );
        let lb = (world.lb_ip(), 80);
        assert_eq!(flow(&node, world.pod_here(9), lb), masqueraded([pod]));
        for sender in [world.outside(), world.node(), world.pod_here(8)] {
            assert_eq!(flow(&node, sender, lb), Outcome::SourceRange, "{sender}");
        }
        for frontend in [
            (world.node(), 30_080),
            (world.external_ip(), 80),
            (world.cluster_ip(80), 80),
        ] {
            assert_eq!(flow(&node, world.outside(), frontend), masqueraded([pod]));
        }
        // Another port of the address is not guarded, because it is not served.
        assert_eq!(
            flow(&node, world.outside(), (world.lb_ip(), 81)),
            Outcome::Pass
        );
    });
}

#[test]
fn who_is_kept_out_does_not_learn_that_there_are_no_endpoints() {
    both(|world| {
        let node = ranged(world, vec![Prefix::host(world.pod_here(9))], Vec::new());
        let lb = (world.lb_ip(), 80);
        assert_eq!(flow(&node, world.outside(), lb), Outcome::SourceRange);
        assert_eq!(flow(&node, world.pod_here(9), lb), Outcome::Reject);
    });
}

#[test]
fn ranges_of_the_other_family_leave_this_one_open() {
    both(|world| {
        let foreign: Prefix = match world.0 {
            Family::Ipv4 => "2001:db8::/32".parse().expect("a prefix"),
            Family::Ipv6 => "192.0.2.0/24".parse().expect("a prefix"),
        };
        let pod = world.pod_here(5);
        let node = ranged(world, vec![foreign], vec![here(pod)]);
        assert_eq!(
            flow(&node, world.outside(), (world.lb_ip(), 80)),
            masqueraded([pod])
        );
    });
}

#[test]
fn a_range_that_holds_the_primary_node_address_lets_the_services_own_address_in() {
    both(|world| {
        let pod = world.pod_here(5);
        let lb = (world.lb_ip(), 80);
        let node = ranged(world, vec![Prefix::host(world.node())], vec![here(pod)]);
        assert_eq!(flow(&node, world.lb_ip(), lb), masqueraded([pod]));
        assert_eq!(flow(&node, world.outside(), lb), Outcome::SourceRange);
        // The second address of the node does not count.
        let node = ranged(
            world,
            vec![Prefix::host(world.node_second())],
            vec![here(pod)],
        );
        assert_eq!(flow(&node, world.lb_ip(), lb), Outcome::SourceRange);
    });
}

#[test]
fn many_ranges_are_all_heeded() {
    both(|world| {
        let pods = |number| Prefix::host(world.pod_there(number));
        let ranges: Vec<Prefix> = (1..=20).map(pods).collect();
        let node = ranged(world, ranges, vec![here(world.pod_here(5))]);
        for number in 1..=20 {
            let outcome = flow(&node, world.pod_there(number), (world.lb_ip(), 80));
            assert_eq!(outcome, masqueraded([world.pod_here(5)]));
        }
        let outcome = flow(&node, world.pod_there(21), (world.lb_ip(), 80));
        assert_eq!(outcome, Outcome::SourceRange);
    });
}
