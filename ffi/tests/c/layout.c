/* Sizes and offsets of every public struct, as compiled programs know them. A number that changes here breaks
 * programs that are already built: grow structs at the end instead. (64-bit targets.)
 */
#include "portolan.h"

#include <assert.h>

#define SIZE(type, size) static_assert(sizeof(type) == (size), #type " has another size")
#define AT(type, field, offset) \
    static_assert(offsetof(type, field) == (offset), #type "." #field " has moved")

SIZE(portolan_address, 20);
AT(portolan_address, family, 16);

SIZE(portolan_prefix, 24);
AT(portolan_prefix, length, 20);

SIZE(portolan_limits, 40);
AT(portolan_limits, struct_size, 0);
AT(portolan_limits, connections_ipv4, 4);
AT(portolan_limits, workers, 36);

SIZE(portolan_rejection, 32);
AT(portolan_rejection, object, 8);
AT(portolan_rejection, field, 16);
AT(portolan_rejection, rule, 24);

SIZE(portolan_served, 64);
AT(portolan_served, cluster_endpoints, 4);
AT(portolan_served, local_endpoints, 8);
AT(portolan_served, health_check_port, 12);
AT(portolan_served, port, 14);
AT(portolan_served, address, 16);
AT(portolan_served, protocol, 36);
AT(portolan_served, kind, 37);
AT(portolan_served, name_space, 40);
AT(portolan_served, name, 48);
AT(portolan_served, port_name, 56);

SIZE(portolan_frontend, 48);
AT(portolan_frontend, port, 20);
AT(portolan_frontend, kind, 22);
AT(portolan_frontend, sets, 23);
AT(portolan_frontend, masquerade, 26);
AT(portolan_frontend, source_ranges, 32);
AT(portolan_frontend, source_range_count, 40);

SIZE(portolan_endpoint, 32);
AT(portolan_endpoint, port, 20);
AT(portolan_endpoint, flags, 22);
AT(portolan_endpoint, tag, 24);

SIZE(portolan_service, 64);
AT(portolan_service, id, 4);
AT(portolan_service, protocol, 8);
AT(portolan_service, affinity_seconds, 12);
AT(portolan_service, frontends, 16);
AT(portolan_service, endpoints, 40);
AT(portolan_service, endpoint_stride, 56);

SIZE(portolan_node_spec, 96);
AT(portolan_node_spec, addresses, 8);
AT(portolan_node_spec, pod_prefixes, 24);
AT(portolan_node_spec, service_prefixes, 40);
AT(portolan_node_spec, masquerade_ipv4, 56);
AT(portolan_node_spec, masquerade_ipv6, 76);

SIZE(portolan_offload, 12);
AT(portolan_offload, gso_type, 1);
AT(portolan_offload, header_len, 2);
AT(portolan_offload, gso_size, 4);
AT(portolan_offload, checksum_start, 6);
AT(portolan_offload, checksum_offset, 8);

SIZE(portolan_descriptor, 48);
AT(portolan_descriptor, offset, 0);
AT(portolan_descriptor, len, 4);
AT(portolan_descriptor, capacity, 8);
AT(portolan_descriptor, verdict, 12);
AT(portolan_descriptor, reason, 13);
AT(portolan_descriptor, flags, 14);
AT(portolan_descriptor, ingress_tag, 16);
AT(portolan_descriptor, endpoint_tag, 24);
AT(portolan_descriptor, offload, 32);

SIZE(portolan_tuple, 44);
SIZE(portolan_connection, 100);
AT(portolan_connection, remaining_seconds, 4);
AT(portolan_connection, original, 8);
AT(portolan_connection, reply, 52);
AT(portolan_connection, protocol, 96);
AT(portolan_connection, flags, 97);

SIZE(portolan_stats, 400);
AT(portolan_stats, passed, 8);
AT(portolan_stats, drops, 40);
AT(portolan_stats, bytes, 296);
AT(portolan_stats, source_ranges, 392);

int main(void) {
    return portolan_abi_version() == PORTOLAN_ABI_VERSION ? 0 : 1;
}
