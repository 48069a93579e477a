/* What the C tests share: checks that count failures, and addresses. */
#ifndef CHECK_H
#define CHECK_H

#include "portolan.h"

#include <stdio.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);        \
            failures++;                                                                    \
        }                                                                                  \
    } while (0)

static inline void expect(const char *file, int line, const char *what, portolan_status got, portolan_status wanted) {
    if (got != wanted) {
        fprintf(stderr, "%s:%d: %s: %s (%d), not %d\n", file, line, what, portolan_strstatus(got), (int)got,
                (int)wanted);
        failures++;
    }
}
#define EXPECT(wanted, call) expect(__FILE__, __LINE__, #call, (call), PORTOLAN_STATUS_##wanted)

static inline portolan_address v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    portolan_address address = {.bytes = {a, b, c, d}, .family = PORTOLAN_FAMILY_IPV4};
    return address;
}

/* fd00::host, or fd00::net:host. */
static inline portolan_address v6(uint8_t net, uint8_t host) {
    portolan_address address = {.bytes = {0xfd, [13] = net, [15] = host}, .family = PORTOLAN_FAMILY_IPV6};
    return address;
}

/* Capacities that make a dataplane in no time. */
static inline portolan_limits small(void) {
    portolan_limits limits;
    EXPECT(OK, portolan_limits_init(&limits, sizeof limits));
    limits.connections_ipv4 = limits.connections_ipv6 = 1024;
    limits.services = limits.frontends = limits.endpoints = limits.source_ranges = 64;
    limits.affinities = limits.fragments = 64;
    limits.workers = 1;
    return limits;
}

/* A SYN from 10.200.1.9:40000 to 10.96.0.80:80; no transport checksum yet, as after checksum offload. */
static const uint8_t SYN[40] = {
    0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x24, 0x50, 10, 200, 1, 9, 10, 96, 0, 80,
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
};

/* The descriptor of SYN at `offset`. */
static inline portolan_descriptor syn_at(uint32_t offset, uint32_t capacity) {
    portolan_descriptor packet = {.offset = offset, .len = sizeof SYN, .capacity = capacity};
    packet.offload.flags = PORTOLAN_OFFLOAD_PARTIAL;
    packet.offload.checksum_start = 20;
    packet.offload.checksum_offset = 16;
    return packet;
}

#endif
