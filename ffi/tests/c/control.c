/* A control plane without text: objects as structs, several changes as one, tags, and decisions read back. */
#include "check.h"

#include <stddef.h>

static const portolan_service_port HTTP[] = {{.name = "http", .port = 80, .protocol = PORTOLAN_PROTOCOL_TCP}};
static const portolan_slice_port TARGET[] = {{.name = "http", .port = 8080, .protocol = PORTOLAN_PROTOCOL_TCP}};

static portolan_node *make_node(void) {
    const portolan_address own[] = {v4(192, 168, 66, 11), v6(66, 11)};
    const portolan_prefix pods[] = {{.address = v4(10, 200, 0, 0), .length = 16}};
    const portolan_node_config config = {
        .struct_size = sizeof config, .name = "n1", .addresses = own, .address_count = 2,
        .cluster_cidrs = pods, .cluster_cidr_count = 1};
    portolan_node *node = NULL;
    EXPECT(OK, portolan_node_new_from(&config, &node, NULL));
    return node;
}

static void put_web(portolan_txn *txn, const portolan_address *cluster_ip) {
    const portolan_service_object web = {
        .struct_size = sizeof web, .name_space = "default", .name = "web",
        .ports = HTTP, .port_count = 1, .port_stride = sizeof HTTP[0],
        .cluster_ips = cluster_ip, .cluster_ip_count = 1};
    EXPECT(OK, portolan_txn_put_service(txn, &web, NULL));
}

static void put_slice(portolan_txn *txn, uint32_t family, const portolan_slice_endpoint *endpoints, size_t count) {
    const portolan_slice_object slice = {
        .struct_size = sizeof slice, .family = family, .name_space = "default", .name = "web-1",
        .service_name = "web", .endpoints = endpoints, .endpoint_count = count,
        .endpoint_stride = sizeof endpoints[0], .ports = TARGET, .port_count = 1, .port_stride = sizeof TARGET[0]};
    EXPECT(OK, portolan_txn_put_slice(txn, &slice, NULL));
}

static void several_changes_are_one_generation(portolan_node *node) {
    const portolan_address cluster_ip = v4(10, 96, 0, 80);
    const portolan_slice_endpoint endpoints[] = {
        {.address = v4(10, 200, 2, 7), .node_name = "n1"},
        {.address = v4(10, 200, 2, 8), .flags = PORTOLAN_CONDITION_NOT_READY | PORTOLAN_CONDITION_NOT_SERVING}};
    portolan_txn *txn = NULL;
    uint64_t generation = 0;
    EXPECT(OK, portolan_txn_begin(&txn));
    put_web(txn, &cluster_ip);
    put_slice(txn, PORTOLAN_FAMILY_IPV4, endpoints, 2);
    EXPECT(OK, portolan_txn_replace(txn, PORTOLAN_KIND_SERVICE, NULL));
    EXPECT(OK, portolan_txn_replace(txn, PORTOLAN_KIND_ENDPOINT_SLICE, NULL));
    EXPECT(OK, portolan_txn_commit(&txn, node, &generation, NULL, NULL));
    CHECK(txn == NULL && generation == 1);

    /* Text may stand beside structs; what cannot be read is data. */
    static const char BAD[] = "{apiVersion: v1, kind: Service, metadata: {namespace: default, name: bad}, spec: "
                              "{clusterIP: 10.96.0.81, ports: [{port: 70000}]}}";
    portolan_rejections *rejections = NULL;
    portolan_rejection rejection = {.struct_size = sizeof rejection};
    EXPECT(OK, portolan_txn_begin(&txn));
    EXPECT(OK, portolan_txn_apply(txn, BAD, sizeof BAD - 1, NULL));
    EXPECT(OK, portolan_txn_delete(txn, PORTOLAN_KIND_SERVICE, "default", "unknown", NULL));
    EXPECT(OK, portolan_txn_commit(&txn, node, &generation, &rejections, NULL));
    CHECK(portolan_rejections_count(rejections) == 1);
    EXPECT(OK, portolan_rejections_at(rejections, 0, &rejection));
    CHECK(strcmp(rejection.field, "spec.ports[0].port") == 0);
    portolan_rejections_free(&rejections);

    EXPECT(OK, portolan_txn_begin(&txn));
    EXPECT(OK, portolan_txn_delete(txn, PORTOLAN_KIND_SERVICE, "default", "web", NULL));
    EXPECT(OK, portolan_txn_free(&txn)); /* given up: the Service is still there */
    CHECK(txn == NULL);
}

static void changes_tell_what_is_decided(portolan_node *node) {
    const portolan_endpoint_tag tag = {.address = v4(10, 200, 2, 7), .tag = 77};
    EXPECT(OK, portolan_node_set_endpoint_tags(node, &tag, 1, NULL));

    portolan_changes *changes = NULL;
    portolan_change change = {.struct_size = sizeof change};
    EXPECT(OK, portolan_node_changes(node, 0, &changes));
    CHECK(portolan_changes_full(changes) == 1);
    EXPECT(OK, portolan_changes_next(changes, &change));
    CHECK(change.kind == PORTOLAN_CHANGE_NODE && change.node->address_count == 2 && change.service == NULL);
    CHECK(change.node->pod_prefix_count == 1 && change.node->pod_prefixes[0].length == 16);
    CHECK(memcmp(change.node->masquerade_ipv4.bytes, "\xc0\xa8\x42\x0b", 4) == 0);
    EXPECT(OK, portolan_changes_next(changes, &change));
    CHECK(change.kind == PORTOLAN_CHANGE_PUT && strcmp(change.name, "web") == 0);
    CHECK(change.family == PORTOLAN_FAMILY_IPV4 && change.protocol == PORTOLAN_PROTOCOL_TCP);
    CHECK(change.service->frontend_count == 1 && change.service->frontends[0].port == 80);
    CHECK(change.service->endpoint_count == 1); /* the one that neither is ready nor serves gets nothing */
    CHECK(change.service->endpoints[0].tag == 77 && change.service->endpoints[0].port == 8080);
    CHECK(change.service->endpoints[0].flags ==
          (PORTOLAN_ENDPOINT_CLUSTER | PORTOLAN_ENDPOINT_LOCAL | PORTOLAN_ENDPOINT_HERE));
    EXPECT(END, portolan_changes_next(changes, &change));
    const uint64_t seen = portolan_changes_generation(changes);
    portolan_changes_free(&changes);

    EXPECT(OK, portolan_node_changes(node, seen, &changes));
    CHECK(portolan_changes_full(changes) == 0);
    EXPECT(END, portolan_changes_next(changes, &change));
    portolan_changes_free(&changes);
    EXPECT(OK, portolan_node_delete(node, PORTOLAN_KIND_SERVICE, "default", "web", NULL));
    EXPECT(OK, portolan_node_changes(node, seen, &changes));
    EXPECT(OK, portolan_changes_next(changes, &change));
    CHECK(change.kind == PORTOLAN_CHANGE_REMOVE && strcmp(change.name, "web") == 0 && change.service == NULL);
    portolan_changes_free(&changes);
}

/* One dataplane is filled by the node, another by hand with what the node's changes say: they agree. */
static void a_renderer_that_follows_changes_serves_the_same(portolan_node *node) {
    const portolan_limits limits = small();
    const uint8_t seed[PORTOLAN_SEED_BYTES] = {1};
    portolan_dataplane *from_node = NULL, *by_hand = NULL;
    EXPECT(OK, portolan_dataplane_new(&limits, seed, &from_node, NULL));
    EXPECT(OK, portolan_dataplane_new(&limits, seed, &by_hand, NULL));
    EXPECT(OK, portolan_dataplane_publish(from_node, node, NULL, NULL, NULL));

    portolan_changes *changes = NULL;
    portolan_change change = {.struct_size = sizeof change};
    uint32_t id = 0;
    EXPECT(OK, portolan_node_changes(node, 0, &changes));
    while (portolan_changes_next(changes, &change) == PORTOLAN_STATUS_OK) {
        if (change.kind == PORTOLAN_CHANGE_NODE) {
            EXPECT(OK, portolan_dataplane_set_node(by_hand, change.node, NULL));
        } else {
            portolan_service service = *change.service;
            service.id = id++;
            EXPECT(OK, portolan_dataplane_put_service(by_hand, &service, NULL));
        }
    }
    portolan_changes_free(&changes);
    EXPECT(OK, portolan_dataplane_publish(by_hand, NULL, NULL, NULL, NULL));

    portolan_dataplane *both[] = {from_node, by_hand};
    for (int i = 0; i < 2; i++) {
        portolan_explanation why = {.struct_size = sizeof why};
        portolan_socket_address choices[4];
        EXPECT(OK, portolan_dataplane_explain(both[i], 1, SYN, sizeof SYN, 0, &why, choices, 4, NULL));
        CHECK(why.verdict == PORTOLAN_VERDICT_FORWARD && why.reason == 0 && why.choice_count == 1);
        CHECK(why.found == (PORTOLAN_FOUND_TUPLE | PORTOLAN_FOUND_FRONTEND | PORTOLAN_FOUND_SOURCE |
                            PORTOLAN_FOUND_ENDPOINT | PORTOLAN_FOUND_TRANSLATED));
        CHECK(why.source == PORTOLAN_SOURCE_POD && why.set == PORTOLAN_SET_CLUSTER);
        CHECK(why.frontend_kind == PORTOLAN_FRONTEND_CLUSTER_IP && why.masquerade == PORTOLAN_MASQUERADE_NO);
        CHECK(why.endpoint.port == 8080 && choices[0].port == 8080 && why.translated.destination_port == 8080);
        CHECK(why.tuple.source_port == 40000 && why.protocol == PORTOLAN_PROTOCOL_TCP);

        portolan_worker *worker = NULL;
        uint8_t frame[128];
        portolan_descriptor packet = syn_at(0, sizeof frame);
        memcpy(frame, SYN, sizeof SYN);
        EXPECT(OK, portolan_worker_new(both[i], &worker, NULL));
        EXPECT(OK, portolan_worker_process(worker, 1, frame, sizeof frame, &packet, sizeof packet, 1));
        CHECK(packet.verdict == PORTOLAN_VERDICT_FORWARD && packet.endpoint_tag == 77);

        portolan_service_list *services = NULL;
        portolan_service_stats stats = {.struct_size = sizeof stats};
        EXPECT(OK, portolan_dataplane_services(both[i], &services));
        EXPECT(OK, portolan_service_list_next(services, &stats));
        CHECK(stats.opened == 1 && stats.packets_to == 1 && stats.bytes_to == sizeof SYN);
        CHECK(stats.packets_from == 0 && stats.rejected == 0 && stats.endpoint_count == 1);
        CHECK(stats.endpoints[0].opened == 1 && stats.endpoints[0].packets_to == 1);
        CHECK(strcmp(stats.name, i == 0 ? "web" : "") == 0);
        EXPECT(END, portolan_service_list_next(services, &stats));
        portolan_service_list_free(&services);
        EXPECT(OK, portolan_worker_free(&worker));
        EXPECT(OK, portolan_dataplane_free(&both[i]));
    }
}

static void mistakes_name_the_field(void) {
    portolan_node *node = make_node();
    portolan_txn *txn = NULL;
    portolan_error *error = NULL;
    portolan_service_port port = {.name = "http", .port = 80, .protocol = 99};
    portolan_service_object web = {
        .struct_size = sizeof web, .name_space = "default", .name = "web",
        .ports = &port, .port_count = 1, .port_stride = sizeof port};
    EXPECT(OK, portolan_txn_begin(&txn));
    EXPECT(INVALID, portolan_txn_put_service(txn, &web, &error));
    CHECK(strcmp(portolan_error_field(error), "service.ports[0].protocol") == 0);
    portolan_error_free(&error);
    port.protocol = PORTOLAN_PROTOCOL_TCP;
    web.port_stride = 8;
    EXPECT(SIZE, portolan_txn_put_service(txn, &web, NULL));
    web.port_stride = sizeof port;
    web.external_traffic_policy = 2;
    EXPECT(INVALID, portolan_txn_put_service(txn, &web, NULL));
    web.external_traffic_policy = 0;
    web.name = "";
    EXPECT(INVALID, portolan_txn_put_service(txn, &web, NULL));
    web.name = NULL;
    EXPECT(NULL, portolan_txn_put_service(txn, &web, NULL));

    const portolan_slice_endpoint other = {.address = v6(0, 7)};
    const portolan_slice_object slice = {
        .struct_size = sizeof slice, .family = PORTOLAN_FAMILY_IPV4, .name_space = "default", .name = "web-1",
        .service_name = "web", .endpoints = &other, .endpoint_count = 1, .endpoint_stride = sizeof other};
    EXPECT(INVALID, portolan_txn_put_slice(txn, &slice, &error));
    CHECK(strcmp(portolan_error_field(error), "slice.endpoints[0].address") == 0);
    portolan_error_free(&error);
    EXPECT(INVALID, portolan_txn_delete(txn, 9, "", "", NULL));
    EXPECT(INVALID, portolan_txn_replace(txn, 0, NULL));

    portolan_node_config config = {.struct_size = sizeof config, .name = "n1", .detect_local = 5};
    EXPECT(INVALID, portolan_node_new_from(&config, &node, &error));
    CHECK(strcmp(portolan_error_field(error), "config.detect_local") == 0);
    portolan_error_free(&error);
    portolan_node *second = NULL;
    config.detect_local = PORTOLAN_DETECT_NONE;
    config.node_port_addresses = PORTOLAN_NODE_PORTS_PRIMARY_AND_WITHIN;
    EXPECT(OK, portolan_node_new_from(&config, &second, NULL));
    EXPECT(OK, portolan_node_free(&second));
    config.node_port_addresses = 4;
    EXPECT(INVALID, portolan_node_new_from(&config, &second, NULL));
    const portolan_endpoint_tag nobody = {.tag = 1};
    EXPECT(INVALID, portolan_node_set_endpoint_tags(node, &nobody, 1, NULL));

    /* A transaction that cannot be committed is still the caller's. */
    EXPECT(NULL, portolan_txn_commit(&txn, NULL, NULL, NULL, NULL));
    CHECK(txn != NULL);
    EXPECT(OK, portolan_txn_free(&txn));
    EXPECT(OK, portolan_txn_free(&txn)); /* it is NULL now */
    EXPECT(OK, portolan_node_free(&node));
}

/* The flags of a SYN that the host marks so. */
static uint16_t flags_of(portolan_worker *worker, uint8_t port, uint16_t mark) {
    uint8_t frame[1280];
    memcpy(frame, SYN, sizeof SYN);
    frame[21] = port; /* another connection each time, or no packet is a first one */
    portolan_descriptor packet = syn_at(0, sizeof frame);
    packet.flags = mark;
    EXPECT(OK, portolan_worker_process(worker, 1, frame, sizeof frame, &packet, sizeof packet, 1));
    return packet.verdict == PORTOLAN_VERDICT_FORWARD ? packet.flags : 0;
}

static void explain_goes_by_the_interface_too(const portolan_dataplane *dataplane) {
    portolan_explanation why = {.struct_size = sizeof why};
    portolan_error *error = NULL;
    char text[1024];
    size_t needed;
    EXPECT(OK, portolan_dataplane_explain(dataplane, 1, SYN, sizeof SYN, PORTOLAN_FLAG_FROM_POD, &why, NULL, 0, NULL));
    CHECK(why.source == PORTOLAN_SOURCE_POD && why.masquerade == PORTOLAN_MASQUERADE_NO);
    EXPECT(OK, portolan_dataplane_explain(dataplane, 1, SYN, sizeof SYN, 0, &why, NULL, 0, NULL));
    CHECK(why.source == PORTOLAN_SOURCE_OUTSIDE && why.masquerade == PORTOLAN_MASQUERADE_RULE);
    EXPECT(OK, portolan_dataplane_explain_text(dataplane, 1, SYN, sizeof SYN, PORTOLAN_FLAG_FROM_POD, text, sizeof text,
                                               &needed, NULL));
    CHECK(strstr(text, "masquerade") == NULL);
    EXPECT(OK, portolan_dataplane_explain_text(dataplane, 1, SYN, sizeof SYN, 0, text, sizeof text, &needed, NULL));
    CHECK(strstr(text, "masquerade") != NULL);
    EXPECT(INVALID, portolan_dataplane_explain(dataplane, 1, SYN, sizeof SYN, 1, &why, NULL, 0, &error));
    CHECK(strcmp(portolan_error_field(error), "flags") == 0);
    portolan_error_free(&error);
}

static void pods_are_told_by_their_interface(void) {
    const portolan_address own = v4(192, 168, 66, 11), cluster_ip = v4(10, 96, 0, 80);
    const portolan_slice_endpoint endpoint = {.address = v4(10, 200, 2, 7)};
    portolan_node_config config = {.struct_size = sizeof config, .name = "n1", .addresses = &own, .address_count = 1,
                                   .detect_local = PORTOLAN_DETECT_INTERFACE_NAME_PREFIX, .pass_other_proxies = 1};
    portolan_node *node = NULL;
    portolan_error *error = NULL;
    EXPECT(NULL, portolan_node_new_from(&config, &node, NULL));
    config.pod_interface = "";
    EXPECT(INVALID, portolan_node_new_from(&config, &node, &error));
    CHECK(strcmp(portolan_error_field(error), "config.pod_interface") == 0);
    portolan_error_free(&error);
    config.pod_interface = "veth";
    EXPECT(OK, portolan_node_new_from(&config, &node, NULL));

    portolan_txn *txn = NULL;
    EXPECT(OK, portolan_txn_begin(&txn));
    put_web(txn, &cluster_ip);
    put_slice(txn, PORTOLAN_FAMILY_IPV4, &endpoint, 1);
    EXPECT(OK, portolan_txn_replace(txn, PORTOLAN_KIND_SERVICE, NULL));
    EXPECT(OK, portolan_txn_replace(txn, PORTOLAN_KIND_ENDPOINT_SLICE, NULL));
    EXPECT(OK, portolan_txn_commit(&txn, node, NULL, NULL, NULL));

    /* One dataplane is the node's, one is filled with what the node's changes say. */
    static const uint8_t SEED[PORTOLAN_SEED_BYTES];
    const portolan_limits limits = small();
    portolan_dataplane *dataplanes[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) EXPECT(OK, portolan_dataplane_new(&limits, SEED, &dataplanes[i], NULL));
    portolan_changes *changes = NULL;
    portolan_change change = {.struct_size = sizeof change};
    EXPECT(OK, portolan_node_changes(node, 0, &changes));
    while (portolan_changes_next(changes, &change) == PORTOLAN_STATUS_OK) {
        if (change.service != NULL) EXPECT(OK, portolan_dataplane_put_service(dataplanes[1], change.service, NULL));
        if (change.node == NULL) continue;
        CHECK(strcmp(change.node->pod_interface, "veth") == 0 && change.node->pod_interface_is_prefix == 1);
        EXPECT(OK, portolan_dataplane_set_node(dataplanes[1], change.node, NULL));
    }
    portolan_changes_free(&changes);
    for (int i = 0; i < 2; i++) {
        portolan_worker *worker = NULL;
        EXPECT(OK, portolan_dataplane_publish(dataplanes[i], i == 0 ? node : NULL, NULL, NULL, NULL));
        EXPECT(OK, portolan_worker_new(dataplanes[i], &worker, NULL));
        CHECK(flags_of(worker, 1, PORTOLAN_FLAG_FROM_POD) == PORTOLAN_FLAG_NEW);
        CHECK(flags_of(worker, 2, 0) == (PORTOLAN_FLAG_NEW | PORTOLAN_FLAG_MASQUERADE));
        explain_goes_by_the_interface_too(dataplanes[i]);
        EXPECT(OK, portolan_worker_free(&worker));
        EXPECT(OK, portolan_dataplane_free(&dataplanes[i]));
    }
    EXPECT(OK, portolan_node_free(&node));

    /* Who knows the struct without the interface says what it could say before. */
    config.struct_size = offsetof(portolan_node_config, pod_interface);
    EXPECT(NULL, portolan_node_new_from(&config, &node, NULL));
    config.detect_local = PORTOLAN_DETECT_NONE;
    EXPECT(OK, portolan_node_new_from(&config, &node, NULL));
    EXPECT(OK, portolan_node_free(&node));
}

int main(void) {
    portolan_node *node = make_node();
    several_changes_are_one_generation(node);
    const portolan_endpoint_tag tag = {.address = v4(10, 200, 2, 7), .tag = 77};
    EXPECT(OK, portolan_node_set_endpoint_tags(node, &tag, 1, NULL));
    a_renderer_that_follows_changes_serves_the_same(node);
    changes_tell_what_is_decided(node);
    EXPECT(OK, portolan_node_free(&node));
    mistakes_name_the_field();
    pods_are_told_by_their_interface();
    return failures != 0;
}
