/* What goes wrong gets a status: NULL, wrong sizes, wrong numbers, the wrong order. Never a crash. */
#include "check.h"
#include <pthread.h>

static const uint8_t SEED[PORTOLAN_SEED_BYTES];

static void nulls(void) {
    uint64_t number;
    EXPECT(NULL, portolan_limits_init(NULL, sizeof(portolan_limits)));
    EXPECT(NULL, portolan_memory_required(NULL, &number, NULL));
    EXPECT(NULL, portolan_node_new(NULL, 3, NULL, NULL));
    EXPECT(NULL, portolan_node_apply(NULL, "", 0, NULL, NULL));
    EXPECT(NULL, portolan_node_replace(NULL, PORTOLAN_KIND_SERVICE, "", 0, NULL, NULL));
    EXPECT(NULL, portolan_node_reconfigure(NULL, "", 0, NULL, NULL));
    EXPECT(NULL, portolan_node_delete(NULL, PORTOLAN_KIND_SERVICE, "", "", NULL));
    EXPECT(NULL, portolan_node_synced(NULL, PORTOLAN_KIND_SERVICE, NULL));
    EXPECT(NULL, portolan_node_generation(NULL, &number));
    EXPECT(NULL, portolan_node_rejections(NULL, NULL));
    EXPECT(NULL, portolan_node_frontends(NULL, NULL));
    EXPECT(NULL, portolan_frontends_next(NULL, NULL));
    EXPECT(NULL, portolan_rejections_at(NULL, 0, NULL));
    EXPECT(NULL, portolan_dataplane_new(NULL, NULL, NULL, NULL));
    EXPECT(NULL, portolan_dataplane_put_service(NULL, NULL, NULL));
    EXPECT(NULL, portolan_dataplane_remove_service(NULL, 0, NULL));
    EXPECT(NULL, portolan_dataplane_set_node(NULL, NULL, NULL));
    EXPECT(NULL, portolan_dataplane_publish(NULL, NULL, NULL, NULL, NULL));
    EXPECT(NULL, portolan_dataplane_poll(NULL, 0, NULL));
    EXPECT(NULL, portolan_dataplane_connections(NULL, 0, NULL));
    EXPECT(NULL, portolan_dataplane_explain_text(NULL, 0, NULL, 0, 0, NULL, 0, NULL, NULL));
    EXPECT(NULL, portolan_connections_next(NULL, NULL));
    EXPECT(NULL, portolan_stats_read(NULL, NULL));
    EXPECT(NULL, portolan_nft_stats_read(NULL, NULL));
    EXPECT(NULL, portolan_worker_new(NULL, NULL, NULL));
    EXPECT(NULL, portolan_worker_process(NULL, 0, NULL, 0, NULL, 0, 0));
    EXPECT(NULL, portolan_node_new_from(NULL, NULL, NULL));
    EXPECT(NULL, portolan_node_set_endpoint_tags(NULL, NULL, 0, NULL));
    EXPECT(NULL, portolan_node_changes(NULL, 0, NULL));
    EXPECT(NULL, portolan_changes_next(NULL, NULL));
    EXPECT(NULL, portolan_txn_begin(NULL));
    EXPECT(NULL, portolan_txn_put_service(NULL, NULL, NULL));
    EXPECT(NULL, portolan_txn_put_slice(NULL, NULL, NULL));
    EXPECT(NULL, portolan_txn_apply(NULL, NULL, 0, NULL));
    EXPECT(NULL, portolan_txn_delete(NULL, PORTOLAN_KIND_NODE, "", "", NULL));
    EXPECT(NULL, portolan_txn_replace(NULL, PORTOLAN_KIND_NODE, NULL));
    EXPECT(NULL, portolan_txn_commit(NULL, NULL, NULL, NULL, NULL));
    EXPECT(NULL, portolan_dataplane_new_in(NULL, NULL, NULL, 0, NULL, NULL));
    EXPECT(NULL, portolan_dataplane_explain(NULL, 0, NULL, 0, 0, NULL, NULL, 0, NULL));
    EXPECT(NULL, portolan_dataplane_services(NULL, NULL));
    EXPECT(NULL, portolan_service_list_next(NULL, NULL));
    EXPECT(OK, portolan_txn_free(NULL));
    EXPECT(OK, portolan_node_free(NULL));
    EXPECT(OK, portolan_dataplane_free(NULL));
    EXPECT(OK, portolan_worker_free(NULL));
    portolan_error_free(NULL);
    portolan_rejections_free(NULL);
    portolan_frontends_free(NULL);
    portolan_connections_free(NULL);
    portolan_changes_free(NULL);
    portolan_service_list_free(NULL);
}

static void sizes(void) {
    portolan_limits limits = small();
    uint64_t bytes;
    EXPECT(SIZE, portolan_limits_init(&limits, 8));
    EXPECT(SIZE, portolan_limits_init(&limits, 1u << 30));
    limits.struct_size = 44;
    EXPECT(SIZE, portolan_memory_required(&limits, &bytes, NULL));
    limits.struct_size = 0xdeadbeef;
    EXPECT(SIZE, portolan_memory_required(&limits, &bytes, NULL));

    /* A caller with a newer header: what the library does not know must be zero. */
    struct { portolan_limits known; uint32_t more[2]; } newer = {small(), {0, 0}};
    newer.known.struct_size = sizeof newer;
    EXPECT(OK, portolan_memory_required(&newer.known, &bytes, NULL));
    newer.more[1] = 1;
    EXPECT(SIZE, portolan_memory_required(&newer.known, &bytes, NULL));

    /* One with the header of 0.1's first days, without ports. */
    limits.struct_size = 48;
    EXPECT(OK, portolan_memory_required(&limits, &bytes, NULL));
}

static void options(void) {
    const struct {
        size_t at;
        uint8_t greatest;
        const char *field;
    } numbers[] = {
        {offsetof(portolan_limits, ended_tcp), PORTOLAN_ENDED_TCP_RESET, "limits.ended_tcp"},
        {offsetof(portolan_limits, mid_stream), PORTOLAN_MID_STREAM_PICK_UP, "limits.mid_stream"},
        {offsetof(portolan_limits, answer_echo), 1, "limits.answer_echo"},
        {offsetof(portolan_limits, memory_advice), PORTOLAN_MEMORY_ADVICE_NONE, "limits.memory_advice"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        portolan_dataplane *dataplane = NULL;
        portolan_error *error = NULL;
        portolan_limits limits = small();
        uint8_t *number = (uint8_t *)&limits + numbers[i].at;
        *number = numbers[i].greatest;
        EXPECT(OK, portolan_dataplane_new(&limits, SEED, &dataplane, NULL));
        EXPECT(OK, portolan_dataplane_free(&dataplane));
        *number = (uint8_t)(numbers[i].greatest + 1);
        EXPECT(INVALID, portolan_dataplane_new(&limits, SEED, &dataplane, &error));
        CHECK(dataplane == NULL && strcmp(portolan_error_field(error), numbers[i].field) == 0);
        CHECK(strstr(portolan_error_message(error), "must be 0") != NULL);
        portolan_error_free(&error);

        /* One with a header that has no options: what lies behind its struct is none. */
        limits.struct_size = offsetof(portolan_limits, new_connections_per_second);
        EXPECT(OK, portolan_dataplane_new(&limits, SEED, &dataplane, NULL));
        EXPECT(OK, portolan_dataplane_free(&dataplane));
    }
}

static void ports(void) {
    portolan_dataplane *dataplane = NULL;
    portolan_error *error = NULL;
    portolan_limits limits = small();
    limits.masquerade_port_first = 61000;
    limits.masquerade_port_last = 60999;
    EXPECT(INVALID, portolan_dataplane_new(&limits, SEED, &dataplane, &error));
    if (strcmp(portolan_error_field(error), "limits.masquerade_port_last") != 0) failures++;
    portolan_error_free(&error);
    limits.masquerade_port_last = 0;
    EXPECT(OK, portolan_dataplane_new(&limits, SEED, &dataplane, NULL));
    EXPECT(OK, portolan_dataplane_free(&dataplane));
}

static void numbers(portolan_dataplane *dataplane) {
    portolan_error *error = NULL;
    portolan_frontend frontend = {.address = {.bytes = {10, 96, 0, 1}, .family = 5}, .port = 80};
    portolan_service service = {.struct_size = sizeof service, .protocol = PORTOLAN_PROTOCOL_TCP,
                                .frontends = &frontend, .frontend_count = 1,
                                .frontend_stride = sizeof frontend};
    EXPECT(INVALID, portolan_dataplane_put_service(dataplane, &service, &error));
    if (strcmp(portolan_error_field(error), "service.frontends[0].address.family") != 0) {
        fprintf(stderr, "field: %s\n", portolan_error_field(error));
        failures++;
    }
    portolan_error_free(&error);
    portolan_error_free(&error); /* it is NULL now */

    frontend.address.family = PORTOLAN_FAMILY_IPV4;
    service.frontend_stride = 1;
    EXPECT(SIZE, portolan_dataplane_put_service(dataplane, &service, NULL));
    service.frontend_stride = sizeof frontend;
    service.id = 64;
    EXPECT(LIMIT, portolan_dataplane_put_service(dataplane, &service, NULL));
    service.id = 0;
    service.protocol = 1;
    EXPECT(INVALID, portolan_dataplane_put_service(dataplane, &service, NULL));
    service.protocol = PORTOLAN_PROTOCOL_TCP;
    service.frontend_count = SIZE_MAX;
    EXPECT(INVALID, portolan_dataplane_put_service(dataplane, &service, NULL));
    service.frontend_count = 1;
    service.frontends = NULL;
    EXPECT(NULL, portolan_dataplane_put_service(dataplane, &service, NULL));
}

static void bursts(portolan_dataplane *dataplane) {
    portolan_worker *worker = NULL, *second = NULL;
    EXPECT(OK, portolan_worker_new(dataplane, &worker, NULL));
    EXPECT(LIMIT, portolan_worker_new(dataplane, &second, NULL));

    uint8_t frames[64] = {0};
    portolan_descriptor packets[2] = {{.len = 64, .capacity = 64}, {.offset = 60, .len = 64, .capacity = 64}};
    const uint32_t stride = sizeof packets[0];
    EXPECT(SIZE, portolan_worker_process(worker, 0, frames, 64, packets, 8, 2));
    EXPECT(SIZE, portolan_worker_process(worker, 0, frames, 64, packets, stride + 1, 2));
    EXPECT(NULL, portolan_worker_process(worker, 0, NULL, 64, packets, stride, 2));
    EXPECT(NULL, portolan_worker_process(worker, 0, frames, 64, NULL, stride, 2));
    EXPECT(INVALID, portolan_worker_process(worker, 0, frames, SIZE_MAX, packets, stride, 2));
    EXPECT(OK, portolan_worker_process(worker, 0, NULL, 0, NULL, stride, 0));
    EXPECT(OK, portolan_worker_process(worker, 0, frames, 64, packets, stride, 2));
    if (packets[1].reason != PORTOLAN_DROP_MALFORMED_DESCRIPTOR) {
        fprintf(stderr, "reason: %s\n", portolan_strdrop(packets[1].reason));
        failures++;
    }

    /* Descriptors of a newer header: longer, and handled one for one. */
    struct { portolan_descriptor known; uint64_t more; } newer[200];
    memset(newer, 0xff, sizeof newer);
    EXPECT(OK, portolan_worker_process(worker, 0, frames, 64, &newer[0].known, sizeof newer[0], 200));
    for (int i = 0; i < 200; i++) {
        if (newer[i].known.verdict != PORTOLAN_VERDICT_DROP || newer[i].more != UINT64_MAX) {
            fprintf(stderr, "descriptor %d\n", i);
            failures++;
        }
    }
    EXPECT(OK, portolan_worker_free(&worker));
    EXPECT(OK, portolan_worker_free(&worker)); /* it is NULL now */
    EXPECT(OK, portolan_worker_new(dataplane, &second, NULL));
    EXPECT(OK, portolan_worker_free(&second));
}

static void order(portolan_dataplane *dataplane) {
    static const char BAD[] = "{nodeName: n1, podCidrs: []}", GOOD[] = "{nodeName: n1}";
    portolan_node *node = NULL, *other = NULL;
    portolan_error *error = NULL;
    EXPECT(INVALID, portolan_node_new(BAD, sizeof BAD - 1, &node, &error));
    if (strcmp(portolan_error_field(error), "podCidrs") != 0) failures++;
    portolan_error_free(&error);
    EXPECT(OK, portolan_node_new(GOOD, sizeof GOOD - 1, &node, NULL));
    EXPECT(OK, portolan_node_new(GOOD, sizeof GOOD - 1, &other, NULL));
    EXPECT(INVALID, portolan_node_synced(node, 9, NULL));
    EXPECT(INVALID, portolan_node_delete(node, 1, "\xff", "", NULL));
    EXPECT(OK, portolan_dataplane_publish(dataplane, node, NULL, NULL, NULL));
    EXPECT(STATE, portolan_dataplane_publish(dataplane, other, NULL, NULL, NULL));
    EXPECT(STATE, portolan_dataplane_publish(dataplane, NULL, NULL, NULL, NULL));
    EXPECT(STATE, portolan_dataplane_remove_service(dataplane, 0, NULL));
    EXPECT(OK, portolan_node_free(&other));
    EXPECT(OK, portolan_node_free(&node));
}

#ifdef __linux__
static void devices(portolan_dataplane *dataplane) {
    portolan_driver *driver = NULL;
    portolan_error *error = NULL;
    uint64_t bytes;
    portolan_tun_options tun = {.struct_size = sizeof tun};
    portolan_af_packet_options sockets = {.struct_size = sizeof sockets};
    portolan_driver_stats stats = {.struct_size = sizeof stats};
    EXPECT(NULL, portolan_driver_start(NULL, &tun, &driver, NULL));
    EXPECT(NULL, portolan_driver_start(dataplane, NULL, &driver, NULL));
    EXPECT(NULL, portolan_driver_start(dataplane, &tun, NULL, NULL));
    EXPECT(NULL, portolan_driver_start(dataplane, &tun, &driver, NULL)); /* no name */
    EXPECT(NULL, portolan_driver_start_af_packet(NULL, &sockets, &driver, NULL));
    EXPECT(NULL, portolan_driver_start_af_packet(dataplane, NULL, &driver, NULL));
    EXPECT(NULL, portolan_driver_start_af_packet(dataplane, &sockets, NULL, NULL));
    EXPECT(NULL, portolan_driver_start_af_packet(dataplane, &sockets, &driver, NULL)); /* no name */
    EXPECT(NULL, portolan_driver_memory_required(NULL, &bytes));
    EXPECT(NULL, portolan_driver_memory_required(&tun, NULL));
    EXPECT(OK, portolan_driver_memory_required(&tun, &bytes));
    EXPECT(NULL, portolan_driver_stats_read(NULL, 0, &stats));
    tun.name = sockets.name = "a name that is too long";
    EXPECT(SYSTEM, portolan_driver_start(dataplane, &tun, &driver, NULL));
    EXPECT(SYSTEM, portolan_driver_start_af_packet(dataplane, &sockets, &driver, NULL));
    sockets.name = "no-such-device";
    EXPECT(SYSTEM, portolan_driver_start_af_packet(dataplane, &sockets, &driver, &error));
    if (strstr(portolan_error_message(error), "no-such-device: SIOCGIFINDEX") == NULL) {
        fprintf(stderr, "message: %s\n", portolan_error_message(error));
        failures++;
    }
    portolan_error_free(&error);
    sockets.name = "\xff";
    EXPECT(INVALID, portolan_driver_start_af_packet(dataplane, &sockets, &driver, NULL));
    const int closed = -1;
    tun.descriptors = &closed;
    tun.descriptor_count = 1;
    EXPECT(INVALID, portolan_driver_start(dataplane, &tun, &driver, NULL));
    tun.struct_size = 8;
    EXPECT(SIZE, portolan_driver_start(dataplane, &tun, &driver, NULL));
    sockets.struct_size = 1u << 20;
    EXPECT(SIZE, portolan_driver_start_af_packet(dataplane, &sockets, &driver, NULL));
    EXPECT(OK, portolan_driver_stop(NULL, NULL));
    EXPECT(OK, portolan_driver_stop(&driver, NULL));
    if (driver != NULL || portolan_driver_name(NULL) != NULL || portolan_driver_loss(NULL, 0) != NULL ||
        portolan_driver_fd(NULL) != -1) {
        fprintf(stderr, "a driver out of nothing\n");
        failures++;
    }
}
#endif

/* Two threads with one worker: each call is made, or refused as busy. */
static void *burst_by_burst(void *worker) {
    uint8_t frame[64] = {0};
    portolan_descriptor packet = {.len = 64, .capacity = 64};
    uintptr_t others = 0;
    for (int i = 0; i < 2000; i++) {
        const portolan_status status = portolan_worker_process(worker, 0, frame, 64, &packet, sizeof packet, 1);
        others += status != PORTOLAN_STATUS_OK && status != PORTOLAN_STATUS_BUSY;
    }
    return (void *)others;
}

static void threads(portolan_dataplane *dataplane) {
    portolan_worker *worker = NULL;
    pthread_t both[2];
    EXPECT(OK, portolan_worker_new(dataplane, &worker, NULL));
    for (int i = 0; i < 2; i++) failures += pthread_create(&both[i], NULL, burst_by_burst, worker) != 0;
    for (int i = 0; i < 2; i++) {
        void *others = NULL;
        failures += pthread_join(both[i], &others) != 0 || others != NULL;
    }
    EXPECT(OK, portolan_worker_free(&worker));
}

int main(void) {
    portolan_limits limits = small();
    portolan_dataplane *by_hand = NULL, *from_node = NULL, *huge = NULL;
    EXPECT(OK, portolan_dataplane_new(&limits, SEED, &by_hand, NULL));
    EXPECT(OK, portolan_dataplane_new(&limits, SEED, &from_node, NULL));
    EXPECT(NULL, portolan_dataplane_new(&limits, NULL, &huge, NULL));
    nulls();
    sizes();
    options();
    ports();
    numbers(by_hand);
    bursts(by_hand);
    threads(by_hand);
#ifdef __linux__
    devices(by_hand);
#endif
    order(from_node);
    EXPECT(OK, portolan_dataplane_free(&by_hand));
    EXPECT(OK, portolan_dataplane_free(&by_hand)); /* it is NULL now */
    EXPECT(OK, portolan_dataplane_free(&from_node));
    return failures != 0;
}
