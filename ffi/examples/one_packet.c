/* A load balancer without Kubernetes: one service filled by hand, one packet moved.
 *
 *   cargo build --release -p portolan-ffi
 *   cc -Iinclude ffi/examples/one_packet.c target/release/libportolan.a -lm -lpthread -ldl -o one_packet
 */
#include "portolan.h"

#include <stdio.h>
#include <string.h>

/* Says why a call failed, and ends the program with 1. */
#define TRY(call)                                                                                   \
    do {                                                                                            \
        portolan_status status = (call);                                                            \
        if (status != PORTOLAN_STATUS_OK) {                                                         \
            fprintf(stderr, "%s: %s: %s %s\n", #call, portolan_strstatus(status),                   \
                    portolan_error_field(error), portolan_error_message(error));                    \
            portolan_error_free(&error);                                                            \
            return 1;                                                                               \
        }                                                                                           \
    } while (0)

static portolan_address ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    portolan_address address = {.bytes = {a, b, c, d}, .family = PORTOLAN_FAMILY_IPV4};
    return address;
}

/* A SYN from 10.200.1.9:40000 to 10.96.0.80:80; no transport checksum yet, as after checksum offload. */
static const uint8_t SYN[40] = {
    0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x24, 0x50, 10, 200, 1, 9, 10, 96, 0, 80,
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
};

int main(void) {
    portolan_error *error = NULL;

    /* Memory is taken here, once, and nowhere later. */
    portolan_limits limits;
    TRY(portolan_limits_init(&limits, sizeof limits));
    limits.connections_ipv4 = 1 << 16;
    limits.connections_ipv6 = 1 << 10;
    uint64_t bytes = 0;
    TRY(portolan_memory_required(&limits, &bytes, &error));
    printf("memory: %llu MiB\n", (unsigned long long)(bytes >> 20));

    const uint8_t seed[PORTOLAN_SEED_BYTES] = {0x5e, 0xed}; /* yours: from getrandom() */
    portolan_dataplane *dataplane = NULL;
    TRY(portolan_dataplane_new(&limits, seed, &dataplane, &error));

    /* 10.96.0.80:80 goes to 10.200.2.7:8080. */
    portolan_frontend frontend = {.address = ipv4(10, 96, 0, 80), .port = 80};
    portolan_endpoint endpoint = {
        .address = ipv4(10, 200, 2, 7), .port = 8080, .flags = PORTOLAN_ENDPOINT_CLUSTER, .tag = 7};
    portolan_service service = {
        .struct_size = sizeof service,
        .id = 0,
        .protocol = PORTOLAN_PROTOCOL_TCP,
        .frontends = &frontend,
        .frontend_count = 1,
        .frontend_stride = sizeof frontend,
        .endpoints = &endpoint,
        .endpoint_count = 1,
        .endpoint_stride = sizeof endpoint,
    };
    TRY(portolan_dataplane_put_service(dataplane, &service, &error));
    TRY(portolan_dataplane_publish(dataplane, NULL, NULL, NULL, &error));

    /* Where would the packet go, and why? The code that moves packets says it. */
    char text[1024];
    size_t needed = 0;
    TRY(portolan_dataplane_explain_text(dataplane, 1, SYN, sizeof SYN, 0, text, sizeof text, &needed, &error));
    fputs(text, stdout);

    /* One worker for each thread; one buffer, and descriptors that say where packets lie in it. */
    portolan_worker *worker = NULL;
    TRY(portolan_worker_new(dataplane, &worker, &error));
    uint8_t frames[2048];
    memcpy(frames, SYN, sizeof SYN);
    portolan_descriptor packet = {.offset = 0, .len = sizeof SYN, .capacity = sizeof frames};
    packet.offload.flags = PORTOLAN_OFFLOAD_PARTIAL;
    packet.offload.checksum_start = 20;
    packet.offload.checksum_offset = 16;
    TRY(portolan_worker_process(worker, 1, frames, sizeof frames, &packet, sizeof packet, 1));
    printf("%s to %u.%u.%u.%u:%u, tag %llu\n", portolan_strverdict(packet.verdict), frames[16],
           frames[17], frames[18], frames[19], frames[22] << 8 | frames[23],
           (unsigned long long)packet.endpoint_tag);

    portolan_worker_free(&worker);
    portolan_dataplane_free(&dataplane);
    return 0;
}
