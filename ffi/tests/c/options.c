/* What users want otherwise than kube-proxy: each option changes what packets get, in both families. */
#include "rig.h"

static bool is_dropped_for(const rig *rig, uint8_t reason) {
    return rig->packet.verdict == PORTOLAN_VERDICT_DROP && rig->packet.reason == reason;
}

/* Was the segment answered by a reset to the client? */
static bool is_reset(const rig *rig) {
    const bool ipv6 = rig->address.family == PORTOLAN_FAMILY_IPV6;
    const uint8_t *answer = rig->frame + rig->packet.offset;
    const size_t destination = ipv6 ? 24 : 16, flags = (ipv6 ? 40 : 20) + 13;
    return rig->packet.verdict == PORTOLAN_VERDICT_REPLY && answer[flags] == FLAG_RST &&
           memcmp(answer + destination, rig->client.bytes, ipv6 ? 16 : 4) == 0;
}

static void a_worker_opens_no_more_connections_a_second_than_it_may(bool ipv6) {
    for (size_t i = 0; i < sizeof PROTOCOLS; i++) {
        const uint8_t protocol = PROTOCOLS[i];
        portolan_limits limits = small();
        limits.new_connections_per_second = 2;
        rig rig = new_rig(&limits, ipv6);
        CHECK(send_first(&rig, SECOND, protocol, 1) == PORTOLAN_VERDICT_FORWARD);
        CHECK(send_first(&rig, SECOND, protocol, 2) == PORTOLAN_VERDICT_FORWARD);
        CHECK(send_first(&rig, SECOND, protocol, 3) == PORTOLAN_VERDICT_DROP);
        CHECK(is_dropped_for(&rig, PORTOLAN_DROP_NEW_CONNECTION_LIMIT));
        /* What is open goes on: the same packets again. */
        CHECK(send_first(&rig, SECOND, protocol, 1) == PORTOLAN_VERDICT_FORWARD);
        CHECK(send_first(&rig, SECOND, protocol, 2) == PORTOLAN_VERDICT_FORWARD);
        CHECK(rig.packet.flags == 0);
        /* A second earns as many again, and no more. */
        CHECK(send_first(&rig, 2 * SECOND, protocol, 3) == PORTOLAN_VERDICT_FORWARD);
        CHECK(send_first(&rig, 2 * SECOND, protocol, 4) == PORTOLAN_VERDICT_FORWARD);
        CHECK(send_first(&rig, 2 * SECOND, protocol, 5) == PORTOLAN_VERDICT_DROP);
        portolan_stats stats = {.struct_size = sizeof stats};
        EXPECT(OK, portolan_stats_read(rig.dataplane, &stats));
        CHECK(stats.drops[PORTOLAN_DROP_NEW_CONNECTION_LIMIT] == 2 && stats.dropped == 2);
        CHECK((ipv6 ? stats.opened_ipv6 : stats.opened_ipv4) == 4);
        free_rig(&rig);
    }
    /* As many as come, if nobody asked for less. */
    const portolan_limits limits = small();
    rig rig = new_rig(&limits, ipv6);
    for (uint8_t port = 1; port <= 100; port++) CHECK(send_first(&rig, SECOND, TCP, port) == PORTOLAN_VERDICT_FORWARD);
    free_rig(&rig);
}

static void a_client_of_an_endpoint_that_is_gone_is_reset_on_request(bool ipv6) {
    for (uint8_t ended = PORTOLAN_ENDED_TCP_KEEP; ended <= PORTOLAN_ENDED_TCP_RESET; ended++) {
        portolan_limits limits = small();
        limits.ended_tcp = ended;
        rig rig = new_rig(&limits, ipv6);
        CHECK(send_tcp(&rig, SECOND, 1, FLAG_SYN) == PORTOLAN_VERDICT_FORWARD);
        CHECK(answer_tcp(&rig, SECOND, 1, FLAG_SYN | FLAG_ACK) == PORTOLAN_VERDICT_FORWARD);
        serve(&rig, 0);
        send_tcp(&rig, SECOND, 1, FLAG_ACK);
        if (ended == PORTOLAN_ENDED_TCP_RESET) {
            CHECK(is_reset(&rig));
        } else {
            CHECK(rig.packet.verdict == PORTOLAN_VERDICT_FORWARD);
        }
        portolan_stats stats = {.struct_size = sizeof stats};
        EXPECT(OK, portolan_stats_read(rig.dataplane, &stats));
        CHECK((ipv6 ? stats.connections_ipv6 : stats.connections_ipv4) == (ended == PORTOLAN_ENDED_TCP_KEEP));
        free_rig(&rig);
    }
}

static void a_segment_of_no_connection_is_dropped_or_reset_or_picked_up(bool ipv6) {
    for (uint8_t mid_stream = PORTOLAN_MID_STREAM_DROP; mid_stream <= PORTOLAN_MID_STREAM_PICK_UP; mid_stream++) {
        portolan_limits limits = small();
        limits.mid_stream = mid_stream;
        rig rig = new_rig(&limits, ipv6);
        const uint8_t verdict = send_tcp(&rig, SECOND, 1, FLAG_ACK);
        switch (mid_stream) {
        case PORTOLAN_MID_STREAM_DROP: CHECK(is_dropped_for(&rig, PORTOLAN_DROP_NO_CONNECTION)); break;
        case PORTOLAN_MID_STREAM_RESET: CHECK(is_reset(&rig)); break;
        default: CHECK(verdict == PORTOLAN_VERDICT_FORWARD && rig.packet.flags == PORTOLAN_FLAG_NEW);
        }
        free_rig(&rig);
    }
}

static void an_echo_request_to_a_services_address_is_answered_on_request(bool ipv6) {
    for (uint8_t answer_echo = 0; answer_echo <= 1; answer_echo++) {
        portolan_limits limits = small();
        limits.answer_echo = answer_echo;
        rig rig = new_rig(&limits, ipv6);
        const uint8_t protocol = ipv6 ? 58 : 1, size = 8;
        uint8_t *message = ip(&rig, &rig.client, &rig.address, protocol, size);
        message[0] = ipv6 ? 128 : 8, message[5] = 1;
        uint32_t pseudo_header = 0; /* ICMPv6's has the addresses, the length and the protocol (RFC 4443, 2.3) */
        if (ipv6) {
            uint8_t sum[2];
            put_checksum(sum, size + protocol, rig.frame + 8, 32);
            pseudo_header = 0xffff & ~((uint32_t)sum[0] << 8 | sum[1]);
        }
        put_checksum(message + 2, pseudo_header, message, size);
        process(&rig, SECOND);
        CHECK(rig.packet.verdict == (answer_echo ? PORTOLAN_VERDICT_REPLY : PORTOLAN_VERDICT_PASS));
        const uint8_t request = ipv6 ? 128 : 8, reply = ipv6 ? 129 : 0;
        CHECK(rig.frame[rig.packet.offset + (ipv6 ? 40 : 20)] == (answer_echo ? reply : request));
        free_rig(&rig);
    }
}

int main(void) {
    for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
        a_worker_opens_no_more_connections_a_second_than_it_may(ipv6);
        a_client_of_an_endpoint_that_is_gone_is_reset_on_request(ipv6);
        a_segment_of_no_connection_is_dropped_or_reset_or_picked_up(ipv6);
        an_echo_request_to_a_services_address_is_answered_on_request(ipv6);
    }
    return failures != 0;
}
