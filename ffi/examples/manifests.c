/* A node of a cluster whose objects lie in a file: decisions from manifests, packets from a TUN device.
 *
 *   manifests ptl0 node.yaml objects.yaml
 *
 * Each line on standard input has the file read anew, as one change, and says what is served now; the end of the
 * input ends the program.
 */
#define _DEFAULT_SOURCE
#include "portolan.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/random.h>

/* Says why a call failed. */
static int failed(const char *what, portolan_status status, portolan_error **error) {
    fprintf(stderr, "%s: %s: %s %s: %s\n", what, portolan_strstatus(status), portolan_error_object(*error),
            portolan_error_field(*error), portolan_error_message(*error));
    portolan_error_free(error);
    return -1;
}

/* A whole file, to be freed; NULL if it cannot be read. */
static char *contents(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return perror(path), NULL;
    char *text = NULL;
    long length = -1;
    if (fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        text = malloc((size_t)length + 1);
        *size = text == NULL ? 0 : fread(text, 1, (size_t)length, file);
    }
    fclose(file);
    return text;
}

static void print_rejections(portolan_rejections **list) {
    portolan_rejection each = {.struct_size = sizeof each};
    for (size_t i = 0; portolan_rejections_at(*list, i, &each) == PORTOLAN_STATUS_OK; i++) {
        fprintf(stderr, "%s: %s: %s\n", each.object, each.field, each.rule);
    }
    portolan_rejections_free(list);
}

/* The file's objects are all there are: one generation, whatever is different. */
static int load(portolan_node *node, portolan_dataplane *dataplane, const char *path) {
    size_t size = 0;
    char *objects = contents(path, &size);
    if (objects == NULL) return -1;
    portolan_txn *txn = NULL;
    portolan_error *error = NULL;
    portolan_rejections *rejections = NULL;
    portolan_status status = portolan_txn_begin(&txn);
    if (status == PORTOLAN_STATUS_OK) status = portolan_txn_apply(txn, objects, size, &error);
    if (status == PORTOLAN_STATUS_OK) status = portolan_txn_replace(txn, PORTOLAN_KIND_SERVICE, &error);
    if (status == PORTOLAN_STATUS_OK) status = portolan_txn_replace(txn, PORTOLAN_KIND_ENDPOINT_SLICE, &error);
    if (status == PORTOLAN_STATUS_OK) status = portolan_txn_commit(&txn, node, NULL, &rejections, &error);
    free(objects);
    portolan_txn_free(&txn);
    if (status != PORTOLAN_STATUS_OK) return failed(path, status, &error);
    print_rejections(&rejections);
    do { /* a worker may be in a burst that began long ago */
        portolan_error_free(&error);
        status = portolan_dataplane_publish(dataplane, node, NULL, &rejections, &error);
    } while (status == PORTOLAN_STATUS_AGAIN);
    if (status != PORTOLAN_STATUS_OK) return failed("publish", status, &error);
    print_rejections(&rejections);
    return 0;
}

static void print_frontends(const portolan_node *node) {
    portolan_frontends *frontends = NULL;
    portolan_served each = {.struct_size = sizeof each};
    if (portolan_node_frontends(node, &frontends) != PORTOLAN_STATUS_OK) return;
    while (portolan_frontends_next(frontends, &each) == PORTOLAN_STATUS_OK) {
        char address[INET6_ADDRSTRLEN];
        const int family = each.address.family == PORTOLAN_FAMILY_IPV4 ? AF_INET : AF_INET6;
        inet_ntop(family, each.address.bytes, address, sizeof address);
        printf("%s/%s %s port %u: %u endpoints\n", each.name_space, each.name, address, each.port,
               each.cluster_endpoints);
    }
    portolan_frontends_free(&frontends);
    puts("done");
    fflush(stdout);
}

/* Loads the file for each line and does timed work, until the input ends or the device goes. */
static int follow(portolan_node *node, portolan_dataplane *dataplane, const portolan_driver *driver,
                  const char *objects) {
    struct pollfd waited[] = {{.fd = 0, .events = POLLIN}, {.fd = portolan_driver_fd(driver), .events = POLLIN}};
    for (;;) {
        const uint64_t now = portolan_driver_now();
        uint64_t next = now;
        if (portolan_dataplane_poll(dataplane, now, &next) != PORTOLAN_STATUS_OK) return -1;
        const uint64_t wait = next == PORTOLAN_NEVER ? 1000 : (next - now) / 1000000 + 1;
        if (poll(waited, 2, (int)wait) < 0 || waited[1].revents != 0) return -1;
        if (waited[0].revents == 0) continue;
        char byte;
        if (read(0, &byte, 1) != 1) return 0;
        if (byte == '\n' && load(node, dataplane, objects) == 0) print_frontends(node);
    }
}

static int run(portolan_node *node, const char *device, const char *objects) {
    uint8_t seed[PORTOLAN_SEED_BYTES];
    portolan_limits limits;
    portolan_dataplane *dataplane = NULL;
    portolan_driver *driver = NULL;
    portolan_error *error = NULL;
    const portolan_tun_options options = {.struct_size = sizeof options, .name = device, .up = 1};
    if (getrandom(seed, sizeof seed, 0) != sizeof seed) return -1;
    portolan_status status = portolan_limits_init(&limits, sizeof limits);
    limits.connections_ipv4 = limits.connections_ipv6 = 1 << 14;
    if (status == PORTOLAN_STATUS_OK) status = portolan_dataplane_new(&limits, seed, &dataplane, &error);
    if (status != PORTOLAN_STATUS_OK) return failed("dataplane", status, &error);
    int result = load(node, dataplane, objects);
    if (result == 0) {
        status = portolan_driver_start(dataplane, &options, &driver, &error);
        if (status != PORTOLAN_STATUS_OK) result = failed(device, status, &error);
    }
    if (result == 0) {
        puts("ready");
        print_frontends(node);
        result = follow(node, dataplane, driver, objects);
        status = portolan_driver_stop(&driver, &error);
        if (status != PORTOLAN_STATUS_OK) result = failed(device, status, &error);
    }
    portolan_dataplane_free(&dataplane);
    return result;
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: %s DEVICE NODE.yaml OBJECTS.yaml\n", arguments[0]);
        return 2;
    }
    size_t size = 0;
    char *config = contents(arguments[2], &size);
    if (config == NULL) return 1;
    portolan_node *node = NULL;
    portolan_error *error = NULL;
    const portolan_status status = portolan_node_new(config, size, &node, &error);
    free(config);
    if (status != PORTOLAN_STATUS_OK) return failed(arguments[2], status, &error), 1;
    const int result = run(node, arguments[1], arguments[3]);
    portolan_node_free(&node);
    return result == 0 ? 0 : 1;
}
