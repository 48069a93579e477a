/* What users want otherwise than kube-proxy: each option changes what packets get, in both families. */
#include "check.h"

#include <stdbool.h>

#define SECOND UINT64_C(1000000000)

enum { TCP = PORTOLAN_PROTOCOL_TCP, UDP = PORTOLAN_PROTOCOL_UDP, SCTP = PORTOLAN_PROTOCOL_SCTP };
enum { FLAG_SYN = 0x02, FLAG_RST = 0x04, FLAG_ACK = 0x10 };

static const uint8_t PROTOCOLS[] = {TCP, UDP, SCTP};

/* A dataplane that serves port 80 of one address in every protocol by one endpoint, and a client of it. */
typedef struct {
    portolan_dataplane *dataplane;
    portolan_worker *worker;
    portolan_address client, address, endpoint;
    uint8_t frame[1280];
    portolan_descriptor packet;
} rig;

/* Serves all protocols by as many endpoints, one or none. */
static void serve(rig *rig, size_t endpoints) {
    const portolan_frontend frontend = {.address = rig->address, .port = 80};
    const portolan_endpoint endpoint = {.address = rig->endpoint, .port = 8080, .flags = PORTOLAN_ENDPOINT_CLUSTER};
    for (uint32_t id = 0; id < sizeof PROTOCOLS; id++) {
        const portolan_service service = {
            .struct_size = sizeof service, .id = id, .protocol = PROTOCOLS[id],
            .frontends = &frontend, .frontend_count = 1, .frontend_stride = sizeof frontend,
            .endpoints = &endpoint, .endpoint_count = endpoints, .endpoint_stride = sizeof endpoint};
        EXPECT(OK, portolan_dataplane_put_service(rig->dataplane, &service, NULL));
    }
    EXPECT(OK, portolan_dataplane_publish(rig->dataplane, NULL, NULL, NULL, NULL));
}

static rig new_rig(const portolan_limits *limits, bool ipv6) {
    static const uint8_t SEED[PORTOLAN_SEED_BYTES] = {1};
    rig rig = {.client = v4(10, 200, 1, 9), .address = v4(10, 96, 0, 80), .endpoint = v4(10, 200, 2, 7)};
    if (ipv6) rig.client = v6(1, 9), rig.address = v6(96, 80), rig.endpoint = v6(2, 7);
    EXPECT(OK, portolan_dataplane_new(limits, SEED, &rig.dataplane, NULL));
    EXPECT(OK, portolan_worker_new(rig.dataplane, &rig.worker, NULL));
    serve(&rig, 1);
    return rig;
}

static void free_rig(rig *rig) {
    EXPECT(OK, portolan_worker_free(&rig->worker));
    EXPECT(OK, portolan_dataplane_free(&rig->dataplane));
}

/* The Internet checksum (RFC 1071) of bytes, on top of a sum. */
static void put_checksum(uint8_t *at, uint32_t sum, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    at[0] = (uint8_t)(~sum >> 8), at[1] = (uint8_t)~sum;
}

/* Writes the header of a packet, and says where its payload begins. */
static uint8_t *ip(rig *rig, const portolan_address *source, const portolan_address *destination, uint8_t protocol,
                   uint8_t size) {
    uint8_t *frame = memset(rig->frame, 0, sizeof rig->frame);
    const bool ipv6 = rig->address.family == PORTOLAN_FAMILY_IPV6;
    const size_t header = ipv6 ? 40 : 20, addresses = ipv6 ? 8 : 12, width = ipv6 ? 16 : 4;
    memcpy(frame + addresses, source->bytes, width);
    memcpy(frame + addresses + width, destination->bytes, width);
    if (ipv6) {
        frame[0] = 0x60, frame[5] = size, frame[6] = protocol, frame[7] = 64;
    } else {
        frame[0] = 0x45, frame[3] = (uint8_t)(header + size), frame[8] = 64, frame[9] = protocol;
        put_checksum(frame + 10, 0, frame, header);
    }
    rig->packet = (portolan_descriptor){.len = (uint32_t)(header + size), .capacity = sizeof rig->frame};
    return frame + header;
}

static void process(rig *rig, uint64_t now) {
    EXPECT(OK, portolan_worker_process(rig->worker, now, rig->frame, sizeof rig->frame, &rig->packet, sizeof rig->packet, 1));
}

/* Writes a header of TCP, without a checksum of which nobody asks. */
static void tcp(uint8_t *segment, uint16_t source, uint16_t destination, uint8_t flags) {
    segment[0] = (uint8_t)(source >> 8), segment[1] = (uint8_t)source;
    segment[2] = (uint8_t)(destination >> 8), segment[3] = (uint8_t)destination;
    segment[7] = flags & FLAG_SYN ? 1 : 2, segment[11] = flags & FLAG_ACK ? 2 : 0;
    segment[12] = 0x50, segment[13] = flags, segment[14] = 0xff;
}

/* Sends a TCP segment of the client's, and says its verdict. */
static uint8_t send_tcp(rig *rig, uint64_t now, uint8_t port, uint8_t flags) {
    tcp(ip(rig, &rig->client, &rig->address, TCP, 20), port, 80, flags);
    process(rig, now);
    return rig->packet.verdict;
}

/* Lets the endpoint answer it. */
static uint8_t answer_tcp(rig *rig, uint64_t now, uint8_t port, uint8_t flags) {
    tcp(ip(rig, &rig->endpoint, &rig->client, TCP, 20), 8080, port, flags);
    process(rig, now);
    return rig->packet.verdict;
}

/* Sends a packet that opens a connection, and says its verdict. */
static uint8_t send_first(rig *rig, uint64_t now, uint8_t protocol, uint8_t port) {
    if (protocol == TCP) return send_tcp(rig, now, port, FLAG_SYN);
    uint8_t *payload = ip(rig, &rig->client, &rig->address, protocol, protocol == UDP ? 8 : 32);
    payload[1] = port, payload[3] = 80;
    if (protocol == UDP) {
        payload[5] = 8;
    } else {
        payload[12] = 1, payload[15] = 20; /* an INIT chunk (RFC 9260, 3.3.2) */
        payload[19] = 1, payload[25] = payload[27] = 1;
    }
    process(rig, now);
    return rig->packet.verdict;
}

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
