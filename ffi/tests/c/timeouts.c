/* How long connections live: every timeout is kept to, in both families, and its default is netfilter's. */
#include "rig.h"

#include <assert.h>

enum { CLIENT, ENDPOINT };
enum { FLAG_FIN = 0x01 };
enum { INIT = 1, INIT_ACK = 2, SHUTDOWN = 7, SHUTDOWN_ACK = 8, COOKIE_ECHO = 10, COOKIE_ACK = 11 };

#define TIMEOUT(name) offsetof(portolan_timeouts, name##_seconds)
#define LONGEST UINT32_C(268435455)

/* Netfilter's, in the order of the struct. */
static const uint32_t DEFAULTS[] = {
    120, 60, 432000, 120, 60, 30, 120, 10, 300, /* TCP */
    30, 120,                                    /* UDP */
    10, 3, 3, 210, 3, 3, 3,                     /* SCTP */
};
enum { COUNT = sizeof DEFAULTS / sizeof DEFAULTS[0] };

/* Others: none like another, and TCP's unacknowledged less than established only, so that it stands out. */
static const uint32_t OTHERS[] = {
    11, 12, 1000, 14, 15, 16, 17, 18, 100, /* TCP */
    21, 22,                                     /* UDP */
    31, 32, 33, 34, 35, 36, 37,                 /* SCTP */
};

static const char *const FIELDS[] = {
    "tcp_syn_sent", "tcp_syn_recv", "tcp_established", "tcp_fin_wait", "tcp_close_wait", "tcp_last_ack",
    "tcp_time_wait", "tcp_close", "tcp_unacknowledged", "udp", "udp_stream", "sctp_closed", "sctp_cookie_wait",
    "sctp_cookie_echoed", "sctp_established", "sctp_shutdown_sent", "sctp_shutdown_recd", "sctp_shutdown_ack_sent",
};

static_assert(sizeof(portolan_timeouts) == sizeof DEFAULTS && sizeof DEFAULTS == sizeof OTHERS, "of every timeout one");

/* One packet of a connection, and which timeout counts from then on. */
typedef struct {
    uint8_t sender, flags_or_chunk;
    uint8_t sequence, acknowledgment, bytes; /* of TCP */
    uint64_t after;                          /* so many nanoseconds after the packet before it */
    size_t timeout;
} step;

/* Both SYNs have sequence number 1; the client sends ten bytes. */
static const step TCP_STEPS[] = {
    {CLIENT, FLAG_SYN, 1, 0, 0, 0, TIMEOUT(tcp_syn_sent)},
    {ENDPOINT, FLAG_SYN | FLAG_ACK, 1, 2, 0, 0, TIMEOUT(tcp_syn_recv)},
    {CLIENT, FLAG_ACK, 2, 2, 0, 0, TIMEOUT(tcp_established)},
    {CLIENT, FLAG_ACK, 2, 2, 10, 0, TIMEOUT(tcp_unacknowledged)},
    {ENDPOINT, FLAG_ACK, 2, 12, 0, 0, TIMEOUT(tcp_established)},
    {ENDPOINT, FLAG_FIN | FLAG_ACK, 2, 12, 0, 0, TIMEOUT(tcp_fin_wait)},
    {CLIENT, FLAG_ACK, 12, 3, 0, 0, TIMEOUT(tcp_close_wait)},
    {CLIENT, FLAG_FIN | FLAG_ACK, 12, 3, 0, 0, TIMEOUT(tcp_last_ack)},
    {ENDPOINT, FLAG_ACK, 3, 13, 0, 0, TIMEOUT(tcp_time_wait)},
    {CLIENT, FLAG_RST, 13, 0, 0, 0, TIMEOUT(tcp_close)},
};

static const step UDP_STEPS[] = {
    {CLIENT, 0, 0, 0, 0, 0, TIMEOUT(udp)},
    {ENDPOINT, 0, 0, 0, 0, 0, TIMEOUT(udp)},
    {CLIENT, 0, 0, 0, 0, 3 * SECOND, TIMEOUT(udp_stream)},
    {ENDPOINT, 0, 0, 0, 0, SECOND, TIMEOUT(udp_stream)},
};

#define SCTP_HANDSHAKE                                                   \
    {CLIENT, INIT, 0, 0, 0, 0, TIMEOUT(sctp_closed)},                    \
    {ENDPOINT, INIT_ACK, 0, 0, 0, 0, TIMEOUT(sctp_cookie_wait)},         \
    {CLIENT, COOKIE_ECHO, 0, 0, 0, 0, TIMEOUT(sctp_cookie_echoed)},      \
    {ENDPOINT, COOKIE_ACK, 0, 0, 0, 0, TIMEOUT(sctp_established)}

static const step SCTP_STEPS[] = {
    SCTP_HANDSHAKE,
    {CLIENT, SHUTDOWN, 0, 0, 0, 0, TIMEOUT(sctp_shutdown_sent)},
    {ENDPOINT, SHUTDOWN_ACK, 0, 0, 0, 0, TIMEOUT(sctp_shutdown_ack_sent)},
};

/* The endpoint shuts it down. */
static const step SCTP_ENDS[] = {
    SCTP_HANDSHAKE,
    {ENDPOINT, SHUTDOWN, 0, 0, 0, 0, TIMEOUT(sctp_shutdown_recd)},
};

static const struct {
    uint8_t protocol;
    const step *steps;
    size_t count;
} WALKS[] = {
    {TCP, TCP_STEPS, sizeof TCP_STEPS / sizeof TCP_STEPS[0]},
    {UDP, UDP_STEPS, sizeof UDP_STEPS / sizeof UDP_STEPS[0]},
    {SCTP, SCTP_STEPS, sizeof SCTP_STEPS / sizeof SCTP_STEPS[0]},
    {SCTP, SCTP_ENDS, sizeof SCTP_ENDS / sizeof SCTP_ENDS[0]},
};

/* A chunk of SCTP (RFC 9260, 3) by which the client's tag is 1, and the endpoint's 2. */
static void sctp(uint8_t *packet, const step *step) {
    packet[7] = step->sender == ENDPOINT ? 1 : step->flags_or_chunk == INIT ? 0 : 2;
    packet[12] = step->flags_or_chunk;
    packet[15] = 20;
    packet[19] = step->sender == CLIENT ? 1 : 2; /* the tag that an INIT and an INIT ACK give */
    packet[25] = packet[27] = 1;
}

static void send(rig *rig, uint64_t now, uint8_t protocol, const step *step) {
    const bool asks = step->sender == CLIENT;
    const uint8_t sizes[] = {[TCP] = 20, [UDP] = 8, [SCTP] = 32};
    uint8_t *payload = ip(rig, asks ? &rig->client : &rig->endpoint, asks ? &rig->address : &rig->client, protocol,
                          (uint8_t)(sizes[protocol] + step->bytes));
    const uint16_t port = asks ? 80 : 8080;
    if (protocol == TCP) {
        tcp(payload, asks ? 1 : port, asks ? port : 1, step->flags_or_chunk);
        payload[7] = step->sequence, payload[11] = step->acknowledgment;
    } else {
        const uint16_t source = asks ? 1 : port, destination = asks ? port : 1;
        payload[0] = (uint8_t)(source >> 8), payload[1] = (uint8_t)source;
        payload[2] = (uint8_t)(destination >> 8), payload[3] = (uint8_t)destination;
    }
    if (protocol == UDP) payload[5] = 8;
    if (protocol == SCTP) sctp(payload, step);
    process(rig, now);
}

/* How many whole seconds the only connection has left; 0 if there is none. */
static uint32_t remaining(const rig *rig, uint64_t now) {
    portolan_connections *list = NULL;
    portolan_connection connection = {.struct_size = sizeof connection};
    EXPECT(OK, portolan_dataplane_connections(rig->dataplane, now, &list));
    if (portolan_connections_next(list, &connection) != PORTOLAN_STATUS_OK) connection.remaining_seconds = 0;
    CHECK(portolan_connections_next(list, &connection) == PORTOLAN_STATUS_END);
    portolan_connections_free(&list);
    return connection.remaining_seconds;
}

/* Leads a connection of each protocol through its states. It lives as long as `seconds` says in each of them. */
static void connections_live_for(const uint32_t *seconds, const portolan_limits *limits, bool ipv6) {
    for (size_t walk = 0; walk < sizeof WALKS / sizeof WALKS[0]; walk++) {
        rig rig = new_rig(limits, ipv6);
        uint64_t now = SECOND;
        for (size_t i = 0; i < WALKS[walk].count; i++) {
            const step *step = &WALKS[walk].steps[i];
            const uint32_t expected = seconds[step->timeout / sizeof(uint32_t)];
            const uint64_t end = (now += step->after) + expected * SECOND;
            send(&rig, now, WALKS[walk].protocol, step);
            CHECK(rig.packet.verdict == PORTOLAN_VERDICT_FORWARD);
            CHECK(((rig.packet.flags & PORTOLAN_FLAG_NEW) != 0) == (i == 0));
            const uint32_t left = remaining(&rig, now);
            if (left != expected || remaining(&rig, end - SECOND) != 1 || remaining(&rig, end) != 0) {
                fprintf(stderr, "protocol %d, packet %zu: %u s, not %u\n", WALKS[walk].protocol, i, left, expected);
                failures++;
            }
        }
        free_rig(&rig);
    }
}

/* The first packet sent again belongs to the connection until that has expired. */
static void a_packet_in_time_goes_on_and_a_late_one_opens_another_connection(bool ipv6) {
    for (size_t i = 0; i < sizeof PROTOCOLS; i++) {
        portolan_limits limits = small();
        limits.timeouts.tcp_syn_sent_seconds = limits.timeouts.udp_seconds = limits.timeouts.sctp_closed_seconds = 5;
        rig rig = new_rig(&limits, ipv6);
        send_first(&rig, SECOND, PROTOCOLS[i], 1);
        CHECK(rig.packet.flags == PORTOLAN_FLAG_NEW);
        send_first(&rig, 5 * SECOND, PROTOCOLS[i], 1);
        CHECK(rig.packet.verdict == PORTOLAN_VERDICT_FORWARD && rig.packet.flags == 0);
        const uint64_t late = 11 * SECOND;
        EXPECT(OK, portolan_dataplane_poll(rig.dataplane, late, NULL));
        CHECK(remaining(&rig, late) == 0);
        send_first(&rig, late, PROTOCOLS[i], 1);
        CHECK(rig.packet.verdict == PORTOLAN_VERDICT_FORWARD && rig.packet.flags == PORTOLAN_FLAG_NEW);
        portolan_stats stats = {.struct_size = sizeof stats};
        EXPECT(OK, portolan_stats_read(rig.dataplane, &stats));
        CHECK((ipv6 ? stats.opened_ipv6 : stats.opened_ipv4) == 2);
        free_rig(&rig);
    }
}

/* What is beyond the clock of a table names itself and the rule. */
static void a_timeout_that_is_too_long_names_itself(void) {
    static const uint8_t SEED[PORTOLAN_SEED_BYTES];
    for (size_t i = 0; i < COUNT; i++) {
        portolan_dataplane *dataplane = NULL;
        portolan_error *error = NULL;
        portolan_limits limits = small();
        uint32_t *seconds = (uint32_t *)&limits.timeouts + i;
        char field[64];
        snprintf(field, sizeof field, "limits.timeouts.%s_seconds", FIELDS[i]);
        *seconds = LONGEST;
        EXPECT(OK, portolan_dataplane_new(&limits, SEED, &dataplane, NULL));
        EXPECT(OK, portolan_dataplane_free(&dataplane));
        *seconds = LONGEST + 1;
        EXPECT(INVALID, portolan_dataplane_new(&limits, SEED, &dataplane, &error));
        CHECK(dataplane == NULL && strcmp(portolan_error_field(error), field) == 0);
        CHECK(strcmp(portolan_error_message(error), "268435456 is too long: must be at most 268435455, 8.5 years") == 0);
        portolan_error_free(&error);
    }
}

int main(void) {
    portolan_limits written = small(), none = small(), older = small(), others = small();
    CHECK(memcmp(&written.timeouts, DEFAULTS, sizeof DEFAULTS) == 0);
    memset(&none.timeouts, 0, sizeof none.timeouts);
    memcpy(&older.timeouts, OTHERS, sizeof OTHERS);
    older.struct_size = offsetof(portolan_limits, timeouts); /* of a header without timeouts */
    memcpy(&others.timeouts, OTHERS, sizeof OTHERS);
    for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
        connections_live_for(DEFAULTS, &written, ipv6);
        connections_live_for(DEFAULTS, &none, ipv6);
        connections_live_for(DEFAULTS, &older, ipv6);
        connections_live_for(OTHERS, &others, ipv6);
        a_packet_in_time_goes_on_and_a_late_one_opens_another_connection(ipv6);
    }
    a_timeout_that_is_too_long_names_itself();
    return failures != 0;
}
