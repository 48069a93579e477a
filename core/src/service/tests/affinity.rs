//! What is remembered of a client, and of nobody else.

use super::*;
use core::net::{Ipv4Addr, Ipv6Addr};

const HOUR: u32 = 3_600;
const KEPT: Kept = Kept {
    endpoint: EndpointId(0x0001_0203),
    generation: 0xfedc,
};

#[test]
fn a_client_is_known_by_service_family_and_address_with_its_endpoints_generation() {
    let affinity = Affinity::new(8, 7);
    let (service, client) = (ServiceId(3), Ipv4Addr::new(10, 200, 0, 1));
    assert!(affinity.remember(service, client, KEPT, HOUR, 100));
    assert_eq!(affinity.recall(service, client, 101), Some(KEPT));
    assert_eq!(affinity.used(), 1);
    // An IPv6 address of the same bits, the next Service, the next client, and too late.
    let like = Ipv6Addr::from(u128::from(client.to_bits()));
    assert_eq!(affinity.recall(service, like, 101), None);
    assert_eq!(affinity.recall(ServiceId(4), client, 101), None);
    let next = Ipv4Addr::new(10, 200, 0, 2);
    assert_eq!(affinity.recall(service, next, 101), None);
    assert_eq!(affinity.recall(service, client, 100 + HOUR), None);
}

#[test]
fn of_very_many_strangers_none_is_taken_for_a_client() {
    const CLIENTS: u32 = 4_096;
    let affinity = Affinity::new(CLIENTS, 7);
    let address = |number| Ipv4Addr::from_bits(0x0a00_0000 + number);
    for number in 0..CLIENTS {
        let kept = Kept {
            endpoint: EndpointId(number),
            ..KEPT
        };
        affinity.remember(ServiceId(1), address(number), kept, HOUR, 0);
    }
    // So many that some of them have the place and the tag of a client in the table.
    for number in CLIENTS..CLIENTS * 64 {
        assert_eq!(affinity.recall(ServiceId(1), address(number), 1), None);
        assert_eq!(affinity.recall(ServiceId(2), address(number), 1), None);
    }
    for number in 0..CLIENTS {
        let recalled = affinity.recall(ServiceId(1), address(number), 1);
        let endpoint = recalled.map(|kept| kept.endpoint);
        assert!(endpoint.is_none_or(|id| id == EndpointId(number)));
    }
    assert!(affinity.used() > u64::from(CLIENTS) * 9 / 10);
}

#[test]
fn clients_that_stay_away_leave_their_room_whole_however_often() {
    const CLIENTS: u32 = 48;
    let affinity = Affinity::new(64, 7);
    for round in 0..300 {
        let now = round * 2 * HOUR;
        for number in 0..CLIENTS {
            let client = Ipv4Addr::from_bits(0x0a00_0000 + round * CLIENTS + number);
            assert!(
                affinity.remember(ServiceId(1), client, KEPT, HOUR, now),
                "round {round}, client {number}"
            );
            assert_eq!(
                affinity.recall(ServiceId(1), client, now + 1),
                Some(KEPT),
                "round {round}, client {number}"
            );
        }
    }
}
