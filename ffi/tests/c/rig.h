/* A dataplane with one worker, and packets for it: what tests share that look at what packets get. */
#ifndef RIG_H
#define RIG_H

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
static inline void serve(rig *rig, size_t endpoints) {
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

static inline rig new_rig(const portolan_limits *limits, bool ipv6) {
    static const uint8_t SEED[PORTOLAN_SEED_BYTES] = {1};
    rig rig = {.client = v4(10, 200, 1, 9), .address = v4(10, 96, 0, 80), .endpoint = v4(10, 200, 2, 7)};
    if (ipv6) rig.client = v6(1, 9), rig.address = v6(96, 80), rig.endpoint = v6(2, 7);
    EXPECT(OK, portolan_dataplane_new(limits, SEED, &rig.dataplane, NULL));
    EXPECT(OK, portolan_worker_new(rig.dataplane, &rig.worker, NULL));
    serve(&rig, 1);
    return rig;
}

static inline void free_rig(rig *rig) {
    EXPECT(OK, portolan_worker_free(&rig->worker));
    EXPECT(OK, portolan_dataplane_free(&rig->dataplane));
}

/* The Internet checksum (RFC 1071) of bytes, on top of a sum. */
static inline void put_checksum(uint8_t *at, uint32_t sum, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    at[0] = (uint8_t)(~sum >> 8), at[1] = (uint8_t)~sum;
}

/* Writes the header of a packet, and says where its payload begins. */
static inline uint8_t *ip(rig *rig, const portolan_address *source, const portolan_address *destination, uint8_t protocol,
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

static inline void process(rig *rig, uint64_t now) {
    EXPECT(OK, portolan_worker_process(rig->worker, now, rig->frame, sizeof rig->frame, &rig->packet, sizeof rig->packet, 1));
}

/* Writes a header of TCP, without a checksum of which nobody asks. */
static inline void tcp(uint8_t *segment, uint16_t source, uint16_t destination, uint8_t flags) {
    segment[0] = (uint8_t)(source >> 8), segment[1] = (uint8_t)source;
    segment[2] = (uint8_t)(destination >> 8), segment[3] = (uint8_t)destination;
    segment[7] = flags & FLAG_SYN ? 1 : 2, segment[11] = flags & FLAG_ACK ? 2 : 0;
    segment[12] = 0x50, segment[13] = flags, segment[14] = 0xff;
}

/* Sends a TCP segment of the client's, and says its verdict. */
static inline uint8_t send_tcp(rig *rig, uint64_t now, uint8_t port, uint8_t flags) {
    tcp(ip(rig, &rig->client, &rig->address, TCP, 20), port, 80, flags);
    process(rig, now);
    return rig->packet.verdict;
}

/* Lets the endpoint answer it. */
static inline uint8_t answer_tcp(rig *rig, uint64_t now, uint8_t port, uint8_t flags) {
    tcp(ip(rig, &rig->endpoint, &rig->client, TCP, 20), 8080, port, flags);
    process(rig, now);
    return rig->packet.verdict;
}

/* Sends a packet that opens a connection, and says its verdict. */
static inline uint8_t send_first(rig *rig, uint64_t now, uint8_t protocol, uint8_t port) {
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

#endif
