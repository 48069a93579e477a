/* A node's decisions in this network namespace's nftables, over a socket that the host opened. */
#define _DEFAULT_SOURCE
#include "check.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NETFILTER = 12 }; /* NETLINK_NETFILTER */

static const char CONFIG[] = "{nodeName: n1, ips: [192.168.66.11], clusterCIDRs: [10.200.0.0/16]}";
static const char OBJECTS[] =
    "{apiVersion: v1, kind: Service, metadata: {namespace: default, name: web},\n"
    " spec: {clusterIP: 10.96.0.80, ports: [{port: 80}]}}\n"
    "---\n"
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: [{port: 8080}],\n"
    " metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}},\n"
    " endpoints: [{addresses: [10.200.2.7]}]}\n";

/* The kernel lists an element of ours, or does not. */
static int kernel_has(const char *text) {
    FILE *said = popen("nft list ruleset 2>&1", "r");
    static char all[1 << 18];
    const size_t size = said == NULL ? 0 : fread(all, 1, sizeof all - 1, said);
    all[size] = '\0';
    return said != NULL && pclose(said) == 0 && strstr(all, text) != NULL;
}

int main(void) {
    const int own = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETFILTER);
    const portolan_nft_options options = {.struct_size = sizeof options, .table = "ptl-test", .socket = &own};
    portolan_node *node = NULL;
    portolan_nft *nft = NULL;
    portolan_error *error = NULL;
    CHECK(own >= 0);
    EXPECT(OK, portolan_node_new(CONFIG, sizeof CONFIG - 1, &node, NULL));
    EXPECT(OK, portolan_node_apply(node, OBJECTS, sizeof OBJECTS - 1, NULL, NULL));
    EXPECT(OK, portolan_node_replace(node, PORTOLAN_KIND_NODE, "[]", 2, NULL, NULL));
    EXPECT(OK, portolan_node_synced(node, PORTOLAN_KIND_SERVICE, NULL));
    EXPECT(OK, portolan_node_synced(node, PORTOLAN_KIND_ENDPOINT_SLICE, NULL));

    const portolan_status status = portolan_nft_open(&options, &nft, &error);
    if (status != PORTOLAN_STATUS_OK) {
        printf("SKIPPED: %s\n", portolan_error_message(error));
        portolan_error_free(&error);
        EXPECT(OK, portolan_node_free(&node));
        return failures != 0;
    }
    EXPECT(OK, portolan_nft_sync(nft, node, 1, &error));
    CHECK(kernel_has("10.96.0.80") && kernel_has("10.200.2.7") && kernel_has("table ip ptl-test"));
    uint64_t next = 0;
    EXPECT(OK, portolan_nft_poll(nft, 2, &next, NULL));
    CHECK(next > 2);
    portolan_nft_stats stats = {.struct_size = sizeof stats};
    EXPECT(OK, portolan_nft_stats_read(nft, &stats));
    CHECK(stats.struct_size == sizeof stats && stats.transactions > 0 && stats.operations > 0);
    CHECK(stats.stale_flows_ipv4 == 0 && stats.stale_flows_ipv6 == 0);

    static char dumped[1 << 18], rendered[1 << 18];
    size_t needed = 0, all = 0;
    EXPECT(OK, portolan_nft_dump(nft, dumped, sizeof dumped, &needed));
    EXPECT(OK, portolan_nft_render(node, &options, rendered, sizeof rendered, &all, NULL));
    CHECK(needed == all && needed < sizeof dumped && strcmp(dumped, rendered) == 0);
    CHECK(strstr(dumped, "10.96.0.80") != NULL && strlen(dumped) + 1 == needed);
    EXPECT(OK, portolan_nft_dump(nft, dumped, 10, &needed));
    CHECK(strlen(dumped) == 9 && needed == all);

    /* Given up, the tables stay; the next handle takes them over and deletes them. */
    EXPECT(OK, portolan_nft_close(&nft));
    EXPECT(OK, portolan_nft_close(&nft)); /* it is NULL now */
    CHECK(kernel_has("10.96.0.80"));
    EXPECT(OK, portolan_nft_open(&options, &nft, NULL));
    EXPECT(OK, portolan_node_delete(node, PORTOLAN_KIND_SERVICE, "default", "web", NULL));
    EXPECT(OK, portolan_nft_sync(nft, node, 3, NULL));
    EXPECT(OK, portolan_nft_poll(nft, 3000000000, NULL, NULL)); /* packets on their way have passed by then */
    CHECK(!kernel_has("10.96.0.80"));
    portolan_rejections *rejections = NULL;
    EXPECT(OK, portolan_nft_rejections(nft, &rejections));
    CHECK(portolan_rejections_count(rejections) == 0);
    portolan_rejections_free(&rejections);
    EXPECT(OK, portolan_nft_delete(&nft, NULL));
    EXPECT(OK, portolan_nft_delete(&nft, NULL)); /* it is NULL now */
    CHECK(!kernel_has("ptl-test"));

    const int closed = 1 << 20;
    const portolan_nft_options wrong[] = {
        {.struct_size = sizeof wrong[0], .table = "a; flush ruleset"},
        {.struct_size = sizeof wrong[0], .table = ""},
        {.struct_size = 4},
        {.struct_size = sizeof wrong[0], .socket = &closed},
        {.struct_size = sizeof wrong[0], .masquerade_port_first = 40001, .masquerade_port_last = 40000},
    };
    EXPECT(INVALID, portolan_nft_open(&wrong[0], &nft, NULL));
    EXPECT(INVALID, portolan_nft_open(&wrong[1], &nft, NULL));
    EXPECT(SIZE, portolan_nft_open(&wrong[2], &nft, NULL));
    EXPECT(SYSTEM, portolan_nft_open(&wrong[3], &nft, NULL));
    EXPECT(INVALID, portolan_nft_open(&wrong[4], &nft, NULL));
    EXPECT(NULL, portolan_nft_sync(NULL, node, 0, NULL));
    EXPECT(NULL, portolan_nft_poll(NULL, 0, NULL, NULL));
    EXPECT(NULL, portolan_nft_dump(NULL, NULL, 0, &needed));
    EXPECT(NULL, portolan_nft_render(NULL, &options, NULL, 0, &needed, NULL));
    EXPECT(OK, portolan_node_free(&node));
    close(own);
    return failures != 0;
}
