/* What a burst costs without Go: nanoseconds a packet at bursts of 1, 32 and 256, of one established connection. The Go
 * package's benchmark does the same work (bindings-go/bench_test.go); `cargo xtask bench go` runs both in turn.
 */
#define _POSIX_C_SOURCE 200112L
#include "portolan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 256, FRAME = 128 };

static const uint8_t SYN[40] = {
    0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x24, 0x50, 10, 200, 1, 9, 10, 96, 0, 80,
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
};

static void try(portolan_status status, const char *what) {
    if (status != PORTOLAN_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", what, portolan_strstatus(status));
        exit(1);
    }
}
#define TRY(call) try((call), #call)

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(void) {
    const uint8_t seed[PORTOLAN_SEED_BYTES] = {1};
    const portolan_frontend frontend = {.address = {.bytes = {10, 96, 0, 80}, .family = 4}, .port = 80};
    const portolan_endpoint endpoint = {
        .address = {.bytes = {10, 200, 2, 7}, .family = 4}, .port = 8080, .flags = PORTOLAN_ENDPOINT_CLUSTER};
    const portolan_service service = {
        .struct_size = sizeof service, .protocol = PORTOLAN_PROTOCOL_TCP,
        .frontends = &frontend, .frontend_count = 1, .frontend_stride = sizeof frontend,
        .endpoints = &endpoint, .endpoint_count = 1, .endpoint_stride = sizeof endpoint};
    portolan_limits limits;
    portolan_dataplane *dataplane = NULL;
    portolan_worker *worker = NULL;
    portolan_frames *frames = NULL;
    portolan_frame_layout layout = {.struct_size = sizeof layout};
    TRY(portolan_limits_init(&limits, sizeof limits));
    limits.connections_ipv4 = 1 << 12;
    limits.connections_ipv6 = 1 << 10;
    TRY(portolan_dataplane_new(&limits, seed, &dataplane, NULL));
    TRY(portolan_dataplane_put_service(dataplane, &service, NULL));
    TRY(portolan_dataplane_publish(dataplane, NULL, NULL, NULL, NULL));
    TRY(portolan_worker_new(dataplane, &worker, NULL));
    TRY(portolan_frames_new(MOST, FRAME, &frames, NULL));
    TRY(portolan_frames_layout(frames, &layout));
    static uint8_t packets[MOST * FRAME];
    static portolan_descriptor descriptors[MOST];
    for (uint32_t i = 0; i < MOST; i++) {
        memcpy(packets + i * FRAME, SYN, sizeof SYN);
        portolan_descriptor *one = &descriptors[i];
        one->offset = i * FRAME;
        one->len = sizeof SYN;
        one->capacity = FRAME;
        one->offload.flags = PORTOLAN_OFFLOAD_PARTIAL;
        one->offload.checksum_start = 20;
        one->offload.checksum_offset = 16;
    }
    const uint32_t bursts[] = {1, 32, 256};
    for (int i = 0; i < 3; i++) {
        const uint32_t count = bursts[i], rounds = (1u << 21) / count;
        double began = 0;
        for (uint32_t round = 0; round < rounds + rounds / 8; round++) {
            if (round == rounds / 8) began = seconds(); /* all is warm */
            memcpy(layout.base, packets, (size_t)count * FRAME);
            memcpy(layout.descriptors, descriptors, count * sizeof descriptors[0]);
            if (portolan_worker_process(worker, 1, layout.base, layout.bytes, layout.descriptors, layout.stride, count) !=
                PORTOLAN_STATUS_OK) return 1;
        }
        printf("%u %.2f\n", count, (seconds() - began) * 1e9 / rounds / count);
        if (layout.descriptors[0].verdict != PORTOLAN_VERDICT_FORWARD) return 1;
    }
    portolan_frames_free(&frames);
    TRY(portolan_worker_free(&worker));
    TRY(portolan_dataplane_free(&dataplane));
    return 0;
}
