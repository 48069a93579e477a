/* Objects in, decisions out, packets through: what a host that reads Kubernetes objects does. */
#include "check.h"

#define OK(call) EXPECT(OK, call)

static const char CONFIG[] = "{nodeName: n1, ips: [192.168.66.11], clusterCIDRs: [10.200.0.0/16]}";
static const char OBJECTS[] =
    "apiVersion: v1\n"
    "kind: Service\n"
    "metadata: {namespace: default, name: web}\n"
    "spec: {clusterIP: 10.96.0.80, ports: [{name: http, port: 80}, {name: alt, port: 70000}]}\n"
    "---\n"
    "apiVersion: discovery.k8s.io/v1\n"
    "kind: EndpointSlice\n"
    "metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}\n"
    "addressType: IPv4\n"
    "endpoints: [{addresses: [10.200.2.7], nodeName: n1}]\n"
    "ports: [{name: http, port: 8080}]\n";
static void decisions(portolan_node *node) {
    portolan_rejections *rejections = NULL;
    portolan_rejection rejection = {.struct_size = sizeof rejection};
    OK(portolan_node_apply(node, OBJECTS, sizeof OBJECTS - 1, &rejections, NULL));
    CHECK(portolan_rejections_count(rejections) == 1);
    OK(portolan_rejections_at(rejections, 0, &rejection));
    CHECK(strcmp(rejection.object, "Service default/web") == 0);
    CHECK(strcmp(rejection.field, "spec.ports[1].port") == 0);
    CHECK(portolan_rejections_at(rejections, 1, &rejection) == PORTOLAN_STATUS_END);
    portolan_rejections_free(&rejections);

    uint64_t generation = 1;
    OK(portolan_node_generation(node, &generation));
    CHECK(generation == 0); /* nothing is decided before the first full lists */
    OK(portolan_node_synced(node, PORTOLAN_KIND_SERVICE, NULL));
    OK(portolan_node_synced(node, PORTOLAN_KIND_ENDPOINT_SLICE, NULL));
    OK(portolan_node_generation(node, &generation));
    CHECK(generation > 0);

    portolan_frontends *frontends = NULL;
    portolan_served served = {.struct_size = sizeof served};
    OK(portolan_node_frontends(node, &frontends));
    OK(portolan_frontends_next(frontends, &served));
    CHECK(strcmp(served.name_space, "default") == 0 && strcmp(served.name, "web") == 0);
    CHECK(strcmp(served.port_name, "http") == 0);
    CHECK(served.port == 80 && served.protocol == PORTOLAN_PROTOCOL_TCP);
    CHECK(served.kind == PORTOLAN_FRONTEND_CLUSTER_IP);
    CHECK(served.cluster_endpoints == 1 && served.local_endpoints == 1);
    CHECK(served.struct_size == sizeof served);
    CHECK(portolan_frontends_next(frontends, &served) == PORTOLAN_STATUS_END);
    portolan_frontends_free(&frontends);
}

static uint8_t verdict(portolan_worker *worker) {
    uint8_t frames[128];
    memcpy(frames, SYN, sizeof SYN);
    portolan_descriptor packet = syn_at(0, sizeof frames);
    OK(portolan_worker_process(worker, 1, frames, sizeof frames, &packet, sizeof packet, 1));
    return packet.verdict;
}

int main(void) {
    portolan_node *node = NULL;
    portolan_dataplane *dataplane = NULL;
    portolan_worker *worker = NULL;
    portolan_limits limits = small();
    const uint8_t seed[PORTOLAN_SEED_BYTES] = {1};
    OK(portolan_node_new(CONFIG, sizeof CONFIG - 1, &node, NULL));
    OK(portolan_dataplane_new(&limits, seed, &dataplane, NULL));
    OK(portolan_worker_new(dataplane, &worker, NULL));
    decisions(node);

    CHECK(verdict(worker) == PORTOLAN_VERDICT_PASS); /* nothing is published yet */
    OK(portolan_dataplane_publish(dataplane, node, NULL, NULL, NULL));
    CHECK(verdict(worker) == PORTOLAN_VERDICT_FORWARD);

    portolan_connections *connections = NULL;
    portolan_connection connection = {.struct_size = sizeof connection};
    OK(portolan_dataplane_connections(dataplane, 1, &connections));
    OK(portolan_connections_next(connections, &connection));
    CHECK(connection.original.destination_port == 80 && connection.reply.source_port == 8080);
    CHECK(portolan_connections_next(connections, &connection) == PORTOLAN_STATUS_END);
    portolan_connections_free(&connections);

    portolan_stats stats = {.struct_size = sizeof stats};
    OK(portolan_stats_read(dataplane, &stats));
    CHECK(stats.passed == 1 && stats.forwarded == 1 && stats.opened_ipv4 == 1 && stats.services == 1);
    uint64_t next = 0;
    OK(portolan_dataplane_poll(dataplane, 2, &next));
    CHECK(next > 2 && next != PORTOLAN_NEVER);

    char text[16];
    size_t needed = 0;
    OK(portolan_dataplane_explain_text(dataplane, 1, SYN, sizeof SYN, 0, text, sizeof text, &needed, NULL));
    CHECK(needed > sizeof text && strlen(text) == sizeof text - 1);

    /* The Service goes; a new list says so. */
    OK(portolan_node_replace(node, PORTOLAN_KIND_SERVICE, "[]", 2, NULL, NULL));
    OK(portolan_dataplane_publish(dataplane, node, NULL, NULL, NULL));
    OK(portolan_stats_read(dataplane, &stats));
    CHECK(stats.services == 0);

    OK(portolan_dataplane_free(&dataplane)); /* before its worker: harmless */
    OK(portolan_worker_free(&worker));
    OK(portolan_node_free(&node));
    return failures != 0;
}
