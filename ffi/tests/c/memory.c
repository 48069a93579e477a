/* Memory: reported before it is taken, the caller's or the library's, for tables and for frames. */
#define _POSIX_C_SOURCE 200112L
#include "check.h"

#include <stdlib.h>

static const uint8_t SEED[PORTOLAN_SEED_BYTES] = {1};

/* Serves 10.96.0.80:80 and moves `count` SYNs in the frames; every one is forwarded. */
static void serve(portolan_dataplane *dataplane, portolan_frames *frames, uint32_t count) {
    const portolan_frontend frontend = {.address = v4(10, 96, 0, 80), .port = 80};
    const portolan_endpoint endpoint = {
        .address = v4(10, 200, 2, 7), .port = 8080, .flags = PORTOLAN_ENDPOINT_CLUSTER, .tag = 9};
    const portolan_service service = {
        .struct_size = sizeof service, .protocol = PORTOLAN_PROTOCOL_TCP,
        .frontends = &frontend, .frontend_count = 1, .frontend_stride = sizeof frontend,
        .endpoints = &endpoint, .endpoint_count = 1, .endpoint_stride = sizeof endpoint};
    portolan_worker *worker = NULL;
    portolan_frame_layout layout = {.struct_size = sizeof layout};
    EXPECT(OK, portolan_dataplane_put_service(dataplane, &service, NULL));
    EXPECT(OK, portolan_dataplane_publish(dataplane, NULL, NULL, NULL, NULL));
    EXPECT(OK, portolan_worker_new(dataplane, &worker, NULL));
    EXPECT(OK, portolan_frames_layout(frames, &layout));
    CHECK(layout.count == count && layout.stride == sizeof(portolan_descriptor));
    for (uint32_t i = 0; i < count; i++) {
        portolan_descriptor *packet = &layout.descriptors[i];
        CHECK(packet->offset == i * layout.frame_size && packet->capacity == layout.frame_size);
        *packet = syn_at(packet->offset, packet->capacity);
        memcpy(layout.base + packet->offset, SYN, sizeof SYN);
    }
    EXPECT(OK, portolan_worker_process(worker, 1, layout.base, layout.bytes, layout.descriptors, layout.stride, count));
    for (uint32_t i = 0; i < count; i++) {
        CHECK(layout.descriptors[i].verdict == PORTOLAN_VERDICT_FORWARD && layout.descriptors[i].endpoint_tag == 9);
    }
    EXPECT(OK, portolan_worker_free(&worker));
}

static void a_dataplane_lies_in_the_callers_memory(void) {
    const portolan_limits limits = small();
    uint64_t bytes = 0;
    EXPECT(OK, portolan_memory_required(&limits, &bytes, NULL));
    void *memory = NULL;
    CHECK(posix_memalign(&memory, 4096, bytes) == 0);
    memset(memory, 0xa5, bytes); /* what stood there before does not matter */

    portolan_dataplane *dataplane = NULL, *second = NULL;
    portolan_frames *frames = NULL;
    EXPECT(MEMORY, portolan_dataplane_new_in(&limits, SEED, memory, bytes - 1, &dataplane, NULL));
    EXPECT(NULL, portolan_dataplane_new_in(&limits, SEED, NULL, bytes, &dataplane, NULL));
    EXPECT(OK, portolan_dataplane_new_in(&limits, SEED, memory, bytes, &dataplane, NULL));
    EXPECT(STATE, portolan_dataplane_new_in(&limits, SEED, memory, bytes, &second, NULL));
    CHECK((uint8_t *)dataplane >= (uint8_t *)memory && (uint8_t *)dataplane < (uint8_t *)memory + bytes);
    EXPECT(OK, portolan_frames_new(3, 2048, &frames, NULL));
    serve(dataplane, frames, 3);
    portolan_frames_free(&frames);
    portolan_frames_free(&frames); /* it is NULL now */

    /* The last to go gives the memory back: here a worker. */
    portolan_worker *worker = NULL;
    EXPECT(OK, portolan_worker_new(dataplane, &worker, NULL));
    EXPECT(OK, portolan_dataplane_free(&dataplane));
    EXPECT(STATE, portolan_dataplane_new_in(&limits, SEED, memory, bytes, &dataplane, NULL));
    EXPECT(OK, portolan_worker_free(&worker));
    EXPECT(OK, portolan_dataplane_new_in(&limits, SEED, memory, bytes, &dataplane, NULL));
    EXPECT(OK, portolan_dataplane_free(&dataplane));
    free(memory);
}

static void a_pool_of_the_host_is_registered(void) {
    static uint8_t pool[4 * 256 + 100];
    const portolan_limits limits = small();
    portolan_dataplane *dataplane = NULL;
    portolan_frames *frames = NULL;
    portolan_frame_layout layout = {.struct_size = sizeof layout};
    EXPECT(OK, portolan_dataplane_new(&limits, SEED, &dataplane, NULL));
    EXPECT(OK, portolan_frames_register(pool, sizeof pool, 256, &frames, NULL));
    EXPECT(OK, portolan_frames_layout(frames, &layout));
    CHECK(layout.base == pool && layout.bytes == sizeof pool);
    serve(dataplane, frames, 4);
    portolan_frames_free(&frames);
    EXPECT(OK, portolan_dataplane_free(&dataplane));
}

static void what_cannot_be_is_refused(void) {
    uint8_t one[16];
    portolan_frames *frames = NULL;
    EXPECT(INVALID, portolan_frames_new(0, 2048, &frames, NULL));
    EXPECT(INVALID, portolan_frames_new(1, 0, &frames, NULL));
    EXPECT(INVALID, portolan_frames_new(1 << 20, 1 << 20, &frames, NULL));
    EXPECT(NULL, portolan_frames_new(1, 2048, NULL, NULL));
    EXPECT(INVALID, portolan_frames_register(one, sizeof one, 17, &frames, NULL));
    EXPECT(INVALID, portolan_frames_register(one, sizeof one, 0, &frames, NULL));
    EXPECT(NULL, portolan_frames_register(NULL, sizeof one, 1, &frames, NULL));
    EXPECT(NULL, portolan_frames_layout(NULL, NULL));
    portolan_frames_free(NULL);

    portolan_limits huge = small();
    huge.connections_ipv4 = huge.connections_ipv6 = huge.endpoints = UINT32_MAX;
    huge.workers = 1u << 20;
    portolan_dataplane *dataplane = NULL;
    EXPECT(MEMORY, portolan_dataplane_new(&huge, SEED, &dataplane, NULL));
    CHECK(dataplane == NULL);
}

/* Kilobytes of this process for which huge pages were asked, as the kernel says (proc_pid_smaps(5)). */
static unsigned long advised(void) {
    char line[512];
    unsigned long size = 0, sum = 0;
    FILE *maps = fopen("/proc/self/smaps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        sscanf(line, "Size: %lu", &size);
        if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " hg") != NULL) sum += size;
    }
    if (maps != NULL) fclose(maps);
    return sum;
}

/* Where the kernel has them. The first dataplane asks for none, so that no page is left over from one that did. */
static void huge_pages_are_asked_for_unless_that_is_not_wanted(void) {
    FILE *setting = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    portolan_limits limits = small();
    limits.connections_ipv4 = limits.connections_ipv6 = 1 << 16;
    const uint8_t advices[] = {PORTOLAN_MEMORY_ADVICE_NONE, PORTOLAN_MEMORY_ADVICE_HUGE_PAGES};
    for (size_t i = 0; i < sizeof advices; i++) {
        portolan_dataplane *dataplane = NULL;
        limits.memory_advice = advices[i];
        EXPECT(OK, portolan_dataplane_new(&limits, SEED, &dataplane, NULL));
        const int wanted = setting != NULL && advices[i] == PORTOLAN_MEMORY_ADVICE_HUGE_PAGES;
        CHECK((advised() >= 8192) == wanted);
        EXPECT(OK, portolan_dataplane_free(&dataplane));
    }
    if (setting != NULL) fclose(setting);
}

int main(void) {
    huge_pages_are_asked_for_unless_that_is_not_wanted();
    a_dataplane_lies_in_the_callers_memory();
    a_pool_of_the_host_is_registered();
    what_cannot_be_is_refused();
    return failures != 0;
}
