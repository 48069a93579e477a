/* A load balancer without Kubernetes: services from the command line and standard input, packets from a TUN device.
 *
 *   appliance ptl0 10.9.0.2,fd09::2 tcp/10.9.0.96:80=10.9.0.1:8080,10.9.0.1:8081 'udp/[fd09::96]:53=[fd09::1]:5353'
 *
 * The first argument is the device, the second the addresses that connections are masqueraded as, then services: a
 * protocol, the address served and the endpoints. Whatever the host routes into the device is translated and handed
 * back. Each line on standard input is a command; the end of the input ends the program:
 *
 *   serve SERVICE     a service that is new, or has other endpoints now
 *   stop ADDRESS      a service, by protocol and address, that is gone
 *   stats             counts, as one line
 */
#define _DEFAULT_SOURCE
#include "portolan.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SERVICES = 64, ENDPOINTS = 64 };

/* What is served: the text of protocol and address, by the service's id. */
static char served[SERVICES][96];

/* Says why a call failed. */
static int failed(const char *what, portolan_status status, portolan_error **error) {
    fprintf(stderr, "%s: %s: %s %s\n", what, portolan_strstatus(status), portolan_error_field(*error),
            portolan_error_message(*error));
    portolan_error_free(error);
    return -1;
}

static int parse_address(const char *text, portolan_address *address) {
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, address->bytes) == 1) {
        address->family = PORTOLAN_FAMILY_IPV4;
    } else if (inet_pton(AF_INET6, text, address->bytes) == 1) {
        address->family = PORTOLAN_FAMILY_IPV6;
    } else {
        fprintf(stderr, "%s is no address\n", text);
        return -1;
    }
    return 0;
}

/* "10.9.0.96:80" or "[fd09::96]:80"; changes the text. */
static int parse_socket_address(char *text, portolan_address *address, uint16_t *port) {
    char *colon = strrchr(text, ':');
    if (colon == NULL) {
        fprintf(stderr, "%s has no port\n", text);
        return -1;
    }
    *colon = '\0';
    *port = (uint16_t)strtoul(colon + 1, NULL, 10); /* what is no port, the library says */
    const size_t length = strlen(text);
    if (text[0] == '[' && length > 1 && text[length - 1] == ']') {
        text[length - 1] = '\0';
        text++;
    }
    return parse_address(text, address);
}

static int parse_protocol(const char *text, uint8_t *protocol) {
    static const struct { const char *name; uint8_t number; } KNOWN[] = {
        {"tcp", PORTOLAN_PROTOCOL_TCP}, {"udp", PORTOLAN_PROTOCOL_UDP}, {"sctp", PORTOLAN_PROTOCOL_SCTP}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        if (strcmp(text, KNOWN[i].name) == 0) {
            *protocol = KNOWN[i].number;
            return 0;
        }
    }
    fprintf(stderr, "%s is no protocol\n", text);
    return -1;
}

/* The id of a service, or a free one if `make`; -1 if there is none. */
static int id_of(const char *address, int make) {
    int unused = -1;
    for (int id = SERVICES - 1; id >= 0; id--) {
        if (strcmp(served[id], address) == 0) return id;
        if (served[id][0] == '\0') unused = id;
    }
    if (!make || unused < 0 || strlen(address) >= sizeof served[0]) {
        fprintf(stderr, "%s: %s\n", address, make ? "no room" : "is not served");
        return -1;
    }
    strcpy(served[unused], address);
    return unused;
}

static int publish(portolan_dataplane *dataplane) {
    portolan_error *error = NULL;
    portolan_status status;
    do { /* a worker may be in a burst that began long ago */
        portolan_error_free(&error);
        status = portolan_dataplane_publish(dataplane, NULL, NULL, NULL, &error);
    } while (status == PORTOLAN_STATUS_AGAIN);
    return status == PORTOLAN_STATUS_OK ? 0 : failed("publish", status, &error);
}

/* "tcp/10.9.0.96:80=10.9.0.1:8080,10.9.0.1:8081"; changes the text. */
static int serve(portolan_dataplane *dataplane, char *text) {
    char *equals = strchr(text, '='), *slash = strchr(text, '/');
    if (equals == NULL || slash == NULL || slash > equals) {
        fprintf(stderr, "%s: must be PROTOCOL/ADDRESS:PORT=ADDRESS:PORT,...\n", text);
        return -1;
    }
    *equals = '\0';
    const int id = id_of(text, 1);
    if (id < 0) return -1;

    static portolan_endpoint endpoints[ENDPOINTS];
    size_t count = 0;
    for (char *each = strtok(equals + 1, ","); each != NULL && count < ENDPOINTS; each = strtok(NULL, ",")) {
        const portolan_endpoint none = {.flags = PORTOLAN_ENDPOINT_CLUSTER};
        endpoints[count] = none;
        if (parse_socket_address(each, &endpoints[count].address, &endpoints[count].port) != 0) return -1;
        count++;
    }
    *slash = '\0';
    portolan_frontend frontend = {.kind = PORTOLAN_FRONTEND_EXTERNAL_IP, .masquerade = {1, 1, 1}};
    portolan_service service = {
        .struct_size = sizeof service,
        .id = (uint32_t)id,
        .frontends = &frontend,
        .frontend_count = 1,
        .frontend_stride = sizeof frontend,
        .endpoints = endpoints,
        .endpoint_count = count,
        .endpoint_stride = sizeof endpoints[0],
    };
    if (parse_protocol(text, &service.protocol) != 0) return -1;
    if (parse_socket_address(slash + 1, &frontend.address, &frontend.port) != 0) return -1;
    portolan_error *error = NULL;
    const portolan_status status = portolan_dataplane_put_service(dataplane, &service, &error);
    return status == PORTOLAN_STATUS_OK ? publish(dataplane) : failed("serve", status, &error);
}

static int stop_serving(portolan_dataplane *dataplane, const char *address) {
    const int id = id_of(address, 0);
    if (id < 0) return -1;
    served[id][0] = '\0';
    portolan_error *error = NULL;
    const portolan_status status = portolan_dataplane_remove_service(dataplane, (uint32_t)id, &error);
    return status == PORTOLAN_STATUS_OK ? publish(dataplane) : failed("stop", status, &error);
}

static void print_stats(const portolan_dataplane *dataplane, const portolan_driver *driver) {
    portolan_stats all = {.struct_size = sizeof all};
    portolan_driver_stats queue = {.struct_size = sizeof queue};
    if (portolan_stats_read(dataplane, &all) == PORTOLAN_STATUS_OK &&
        portolan_driver_stats_read(driver, 0, &queue) == PORTOLAN_STATUS_OK) {
        printf("forwarded %llu passed %llu replied %llu dropped %llu connections %llu received %llu\n",
               (unsigned long long)all.forwarded, (unsigned long long)all.passed,
               (unsigned long long)all.replied, (unsigned long long)all.dropped,
               (unsigned long long)(all.connections_ipv4 + all.connections_ipv6),
               (unsigned long long)queue.received_packets);
    }
}

/* The node: whom connections are masqueraded as. */
static int set_node(portolan_dataplane *dataplane, char *addresses) {
    portolan_node_spec node = {.struct_size = sizeof node};
    for (char *each = strtok(addresses, ","); each != NULL; each = strtok(NULL, ",")) {
        portolan_address address;
        if (parse_address(each, &address) != 0) return -1;
        *(address.family == PORTOLAN_FAMILY_IPV4 ? &node.masquerade_ipv4 : &node.masquerade_ipv6) = address;
    }
    portolan_error *error = NULL;
    const portolan_status status = portolan_dataplane_set_node(dataplane, &node, &error);
    return status == PORTOLAN_STATUS_OK ? publish(dataplane) : failed("node", status, &error);
}

/* Answers commands and does timed work, until the input ends or the device goes. */
static int run(portolan_dataplane *dataplane, const portolan_driver *driver) {
    struct pollfd waited[] = {{.fd = 0, .events = POLLIN}, {.fd = portolan_driver_fd(driver), .events = POLLIN}};
    char line[4096];
    for (;;) {
        const uint64_t now = portolan_driver_now();
        uint64_t next = now;
        if (portolan_dataplane_poll(dataplane, now, &next) != PORTOLAN_STATUS_OK) return 1;
        const uint64_t wait = next == PORTOLAN_NEVER ? 1000 : (next - now) / 1000000 + 1;
        if (poll(waited, 2, (int)wait) < 0 || waited[1].revents != 0) return 1;
        if (waited[0].revents == 0) continue;
        if (fgets(line, sizeof line, stdin) == NULL) return 0;
        line[strcspn(line, "\n")] = '\0';
        int done = 0;
        if (strncmp(line, "serve ", 6) == 0) {
            done = serve(dataplane, line + 6);
        } else if (strncmp(line, "stop ", 5) == 0) {
            done = stop_serving(dataplane, line + 5);
        } else {
            print_stats(dataplane, driver);
        }
        puts(done == 0 ? "done" : "failed");
        fflush(stdout);
    }
}

int main(int count, char **arguments) {
    uint8_t seed[PORTOLAN_SEED_BYTES];
    portolan_limits limits;
    portolan_dataplane *dataplane = NULL;
    portolan_driver *driver = NULL;
    portolan_error *error = NULL;
    if (count < 3 || getrandom(seed, sizeof seed, 0) != sizeof seed) {
        fprintf(stderr, "usage: %s DEVICE ADDRESS[,ADDRESS] [SERVICE]...\n", arguments[0]);
        return 2;
    }
    setvbuf(stdin, NULL, _IONBF, 0); /* what poll() does not see must not wait in a buffer */
    portolan_status status = portolan_limits_init(&limits, sizeof limits);
    limits.services = limits.frontends = SERVICES;
    limits.endpoints = SERVICES * ENDPOINTS;
    if (status == PORTOLAN_STATUS_OK) status = portolan_dataplane_new(&limits, seed, &dataplane, &error);
    if (status != PORTOLAN_STATUS_OK) return failed("dataplane", status, &error), 1;
    int result = set_node(dataplane, arguments[2]);
    for (int i = 3; i < count && result == 0; i++) result = serve(dataplane, arguments[i]);

    const int routed = strncmp(arguments[1], "next-hop:", 9) != 0;
    const portolan_tun_options tun = {.struct_size = sizeof tun, .name = arguments[1], .up = 1};
    const portolan_af_packet_options sockets = {
        .struct_size = sizeof sockets, .name = routed ? NULL : arguments[1] + 9, .up = 1};
    if (result == 0) {
        status = routed ? portolan_driver_start(dataplane, &tun, &driver, &error)
                        : portolan_driver_start_af_packet(dataplane, &sockets, &driver, &error);
        if (status != PORTOLAN_STATUS_OK) result = failed(arguments[1], status, &error);
    }
    if (result == 0) {
        const char *loss;
        for (size_t i = 0; (loss = portolan_driver_loss(driver, i)) != NULL; i++) fprintf(stderr, "%s\n", loss);
        puts("ready");
        fflush(stdout);
        result = run(dataplane, driver);
        status = portolan_driver_stop(&driver, &error);
        if (status != PORTOLAN_STATUS_OK) result = failed(arguments[1], status, &error);
    }
    portolan_dataplane_free(&dataplane);
    return result == 0 ? 0 : 1;
}
