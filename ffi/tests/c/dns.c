/* DNS for a node's Services: what a host with sockets of its own does. */
#include "check.h"

static const char CONFIG[] = "{nodeName: n1}";
static const char OBJECTS[] =
    "{apiVersion: v1, kind: Service, metadata: {namespace: default, name: web},\n"
    " spec: {clusterIP: 10.96.0.80, ports: [{port: 80}]}}\n";

/* web.default.svc.cluster.local, type A; id 7, recursion desired. */
static const uint8_t QUERY[] =
    "\0\7\1\0\0\1\0\0\0\0\0\0\3web\7default\3svc\7cluster\5local\0\0\1\0";

int main(void) {
    const size_t query_size = sizeof QUERY; /* the string's own NUL is the last byte of the class, 0 1 */
    uint8_t query[sizeof QUERY];
    memcpy(query, QUERY, sizeof QUERY);
    query[query_size - 1] = 1;
    portolan_node *node = NULL;
    portolan_dns *dns = NULL;
    portolan_dns_reader *reader = NULL, *second = NULL;
    portolan_error *error = NULL;
    portolan_dns_config config = {.struct_size = sizeof config, .readers = 1, .ttl = 4000};
    EXPECT(INVALID, portolan_dns_new(&config, &dns, &error));
    CHECK(strcmp(portolan_error_field(error), "config.ttl") == 0);
    portolan_error_free(&error);
    config.ttl = 30;
    const portolan_address server = v4(10, 96, 0, 10);
    config.name_server_addresses = &server;
    config.name_server_address_count = 1;
    EXPECT(OK, portolan_dns_new(&config, &dns, NULL));
    EXPECT(OK, portolan_dns_reader_new(dns, &reader, NULL));
    EXPECT(LIMIT, portolan_dns_reader_new(dns, &second, NULL));
    EXPECT(OK, portolan_node_new(CONFIG, sizeof CONFIG - 1, &node, NULL));
    EXPECT(OK, portolan_node_apply(node, OBJECTS, sizeof OBJECTS - 1, NULL, NULL));
    EXPECT(OK, portolan_node_synced(node, PORTOLAN_KIND_SERVICE, NULL));
    EXPECT(OK, portolan_node_synced(node, PORTOLAN_KIND_ENDPOINT_SLICE, NULL));
    EXPECT(OK, portolan_dns_publish(dns, node, 1, NULL));

    uint8_t reply[512], outcome = 99;
    size_t size = 0;
    EXPECT(OK, portolan_dns_answer(reader, query, query_size, PORTOLAN_DNS_UDP, reply, sizeof reply, &size, &outcome));
    CHECK(outcome == PORTOLAN_DNS_REPLY && size > query_size && size <= sizeof reply);
    CHECK(reply[0] == 0 && reply[1] == 7 && (reply[2] & 0x80) != 0 && (reply[3] & 0x0f) == 0 && reply[7] == 1);
    CHECK(memcmp(reply + size - 4, "\x0a\x60\0\x50", 4) == 0); /* the last of its one record: 10.96.0.80 */

    query[13] = 'x'; /* xeb.default...: there is none */
    EXPECT(OK, portolan_dns_answer(reader, query, query_size, PORTOLAN_DNS_TCP, reply, sizeof reply, &size, &outcome));
    CHECK(outcome == PORTOLAN_DNS_REPLY && (reply[3] & 0x0f) == 3);
    query[query_size - 6] = 'x'; /* ...cluster.locax: not ours */
    EXPECT(OK, portolan_dns_answer(reader, query, query_size, PORTOLAN_DNS_UDP, reply, sizeof reply, &size, &outcome));
    CHECK(outcome == PORTOLAN_DNS_NOT_OURS && size == 0);
    for (size_t cut = 0; cut < query_size; cut++) {
        EXPECT(OK, portolan_dns_answer(reader, query, cut, PORTOLAN_DNS_UDP, reply, sizeof reply, &size, &outcome));
        CHECK(size <= sizeof reply && outcome <= PORTOLAN_DNS_SILENT);
    }
    EXPECT(OK, portolan_dns_answer(reader, query, query_size, PORTOLAN_DNS_UDP, reply, 0, &size, &outcome));
    CHECK(size == 0);

    EXPECT(INVALID, portolan_dns_answer(reader, query, query_size, 2, reply, sizeof reply, &size, &outcome));
    EXPECT(NULL, portolan_dns_answer(NULL, query, query_size, 0, reply, sizeof reply, &size, &outcome));
    EXPECT(NULL, portolan_dns_answer(reader, NULL, query_size, 0, reply, sizeof reply, &size, &outcome));
    EXPECT(NULL, portolan_dns_answer(reader, query, query_size, 0, NULL, sizeof reply, &size, &outcome));
    EXPECT(NULL, portolan_dns_answer(reader, query, query_size, 0, reply, sizeof reply, NULL, &outcome));
    EXPECT(NULL, portolan_dns_new(NULL, &dns, NULL));
    EXPECT(NULL, portolan_dns_publish(NULL, node, 1, NULL));
    EXPECT(NULL, portolan_dns_publish(dns, NULL, 1, NULL));
    EXPECT(OK, portolan_dns_free(&dns));
    EXPECT(OK, portolan_dns_free(&dns)); /* it is NULL now */
    EXPECT(OK, portolan_dns_reader_free(&reader));
    EXPECT(OK, portolan_dns_reader_free(NULL));
    EXPECT(OK, portolan_node_free(&node));
    return failures != 0;
}
