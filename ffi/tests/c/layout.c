/* Sizes and offsets of every public struct, as compiled programs know them. A number that changes here breaks
 * programs that are already built: grow structs at the end instead. (64-bit targets.)
 */
#include "portolan.h"

#include <assert.h>

#define SIZE(type, size) static_assert(sizeof(type) == (size), #type " has another size")
#define AT(type, field, offset) \
    static_assert(offsetof(type, field) == (offset), #type "." #field " has moved")

SIZE(portolan_limits, 132);
AT(portolan_limits, struct_size, 0);
AT(portolan_limits, connections_ipv4, 4);
AT(portolan_limits, connections_ipv6, 8);
AT(portolan_limits, services, 12);
AT(portolan_limits, frontends, 16);
AT(portolan_limits, endpoints, 20);
AT(portolan_limits, source_ranges, 24);
AT(portolan_limits, affinities, 28);
AT(portolan_limits, fragments, 32);
AT(portolan_limits, workers, 36);
AT(portolan_limits, hash_buckets, 40);
AT(portolan_limits, endpoint_counters, 44);
AT(portolan_limits, masquerade_port_first, 48);
AT(portolan_limits, masquerade_port_last, 50);
AT(portolan_limits, new_connections_per_second, 52);
AT(portolan_limits, ended_tcp, 56);
AT(portolan_limits, mid_stream, 57);
AT(portolan_limits, answer_echo, 58);
AT(portolan_limits, memory_advice, 59);
AT(portolan_limits, timeouts, 60);

SIZE(portolan_timeouts, 72);
AT(portolan_timeouts, tcp_syn_sent_seconds, 0);
AT(portolan_timeouts, tcp_syn_recv_seconds, 4);
AT(portolan_timeouts, tcp_established_seconds, 8);
AT(portolan_timeouts, tcp_fin_wait_seconds, 12);
AT(portolan_timeouts, tcp_close_wait_seconds, 16);
AT(portolan_timeouts, tcp_last_ack_seconds, 20);
AT(portolan_timeouts, tcp_time_wait_seconds, 24);
AT(portolan_timeouts, tcp_close_seconds, 28);
AT(portolan_timeouts, tcp_unacknowledged_seconds, 32);
AT(portolan_timeouts, udp_seconds, 36);
AT(portolan_timeouts, udp_stream_seconds, 40);
AT(portolan_timeouts, sctp_closed_seconds, 44);
AT(portolan_timeouts, sctp_cookie_wait_seconds, 48);
AT(portolan_timeouts, sctp_cookie_echoed_seconds, 52);
AT(portolan_timeouts, sctp_established_seconds, 56);
AT(portolan_timeouts, sctp_shutdown_sent_seconds, 60);
AT(portolan_timeouts, sctp_shutdown_recd_seconds, 64);
AT(portolan_timeouts, sctp_shutdown_ack_sent_seconds, 68);

SIZE(portolan_rejection, 32);
AT(portolan_rejection, struct_size, 0);
AT(portolan_rejection, object, 8);
AT(portolan_rejection, field, 16);
AT(portolan_rejection, rule, 24);

SIZE(portolan_address, 20);
AT(portolan_address, bytes, 0);
AT(portolan_address, family, 16);

SIZE(portolan_endpoint_tag, 32);
AT(portolan_endpoint_tag, address, 0);
AT(portolan_endpoint_tag, tag, 24);

SIZE(portolan_nft_stats, 64);
AT(portolan_nft_stats, struct_size, 0);
AT(portolan_nft_stats, transactions, 8);
AT(portolan_nft_stats, operations, 16);
AT(portolan_nft_stats, repairs, 24);
AT(portolan_nft_stats, flow_reads_ipv4, 32);
AT(portolan_nft_stats, flow_reads_ipv6, 40);
AT(portolan_nft_stats, stale_flows_ipv4, 48);
AT(portolan_nft_stats, stale_flows_ipv6, 56);

SIZE(portolan_prefix, 24);
AT(portolan_prefix, address, 0);
AT(portolan_prefix, length, 20);

SIZE(portolan_node_config, 136);
AT(portolan_node_config, struct_size, 0);
AT(portolan_node_config, detect_local, 4);
AT(portolan_node_config, node_port_addresses, 5);
AT(portolan_node_config, masquerade_all, 6);
AT(portolan_node_config, scheduler, 7);
AT(portolan_node_config, name, 8);
AT(portolan_node_config, zone, 16);
AT(portolan_node_config, proxy_name, 24);
AT(portolan_node_config, addresses, 32);
AT(portolan_node_config, address_count, 40);
AT(portolan_node_config, pod_cidrs, 48);
AT(portolan_node_config, pod_cidr_count, 56);
AT(portolan_node_config, cluster_cidrs, 64);
AT(portolan_node_config, cluster_cidr_count, 72);
AT(portolan_node_config, service_cidrs, 80);
AT(portolan_node_config, service_cidr_count, 88);
AT(portolan_node_config, node_port_prefixes, 96);
AT(portolan_node_config, node_port_prefix_count, 104);
AT(portolan_node_config, hash_seed, 112);
AT(portolan_node_config, slow_start_seconds, 120);
AT(portolan_node_config, pass_other_proxies, 122);
AT(portolan_node_config, pod_interface, 128);

SIZE(portolan_service_port, 16);
AT(portolan_service_port, name, 0);
AT(portolan_service_port, port, 8);
AT(portolan_service_port, node_port, 10);
AT(portolan_service_port, protocol, 12);

SIZE(portolan_service_object, 144);
AT(portolan_service_object, struct_size, 0);
AT(portolan_service_object, affinity_seconds, 4);
AT(portolan_service_object, name_space, 8);
AT(portolan_service_object, name, 16);
AT(portolan_service_object, created, 24);
AT(portolan_service_object, ports, 32);
AT(portolan_service_object, port_count, 40);
AT(portolan_service_object, port_stride, 48);
AT(portolan_service_object, cluster_ips, 56);
AT(portolan_service_object, cluster_ip_count, 64);
AT(portolan_service_object, external_ips, 72);
AT(portolan_service_object, external_ip_count, 80);
AT(portolan_service_object, ingress, 88);
AT(portolan_service_object, ingress_count, 96);
AT(portolan_service_object, source_ranges, 104);
AT(portolan_service_object, source_range_count, 112);
AT(portolan_service_object, proxy_name, 120);
AT(portolan_service_object, external_name, 128);
AT(portolan_service_object, health_check_node_port, 136);
AT(portolan_service_object, internal_traffic_policy, 138);
AT(portolan_service_object, external_traffic_policy, 139);
AT(portolan_service_object, flags, 140);
AT(portolan_service_object, scheduler, 141);
AT(portolan_service_object, slow_start_seconds, 142);

SIZE(portolan_slice_endpoint, 80);
AT(portolan_slice_endpoint, address, 0);
AT(portolan_slice_endpoint, flags, 20);
AT(portolan_slice_endpoint, weight, 22);
AT(portolan_slice_endpoint, node_name, 24);
AT(portolan_slice_endpoint, hostname, 32);
AT(portolan_slice_endpoint, pod_name, 40);
AT(portolan_slice_endpoint, zone_hints, 48);
AT(portolan_slice_endpoint, zone_hint_count, 56);
AT(portolan_slice_endpoint, node_hints, 64);
AT(portolan_slice_endpoint, node_hint_count, 72);

SIZE(portolan_slice_port, 16);
AT(portolan_slice_port, name, 0);
AT(portolan_slice_port, port, 8);
AT(portolan_slice_port, protocol, 10);

SIZE(portolan_slice_object, 80);
AT(portolan_slice_object, struct_size, 0);
AT(portolan_slice_object, family, 4);
AT(portolan_slice_object, name_space, 8);
AT(portolan_slice_object, name, 16);
AT(portolan_slice_object, service_name, 24);
AT(portolan_slice_object, endpoints, 32);
AT(portolan_slice_object, endpoint_count, 40);
AT(portolan_slice_object, endpoint_stride, 48);
AT(portolan_slice_object, ports, 56);
AT(portolan_slice_object, port_count, 64);
AT(portolan_slice_object, port_stride, 72);

SIZE(portolan_served, 64);
AT(portolan_served, struct_size, 0);
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
AT(portolan_frontend, address, 0);
AT(portolan_frontend, port, 20);
AT(portolan_frontend, kind, 22);
AT(portolan_frontend, sets, 23);
AT(portolan_frontend, masquerade, 26);
AT(portolan_frontend, source_ranges, 32);
AT(portolan_frontend, source_range_count, 40);

SIZE(portolan_endpoint, 40);
AT(portolan_endpoint, address, 0);
AT(portolan_endpoint, port, 20);
AT(portolan_endpoint, weight, 22);
AT(portolan_endpoint, tag, 24);
AT(portolan_endpoint, flags, 32);

SIZE(portolan_service, 72);
AT(portolan_service, struct_size, 0);
AT(portolan_service, id, 4);
AT(portolan_service, protocol, 8);
AT(portolan_service, scheduler, 9);
AT(portolan_service, slow_start_seconds, 10);
AT(portolan_service, affinity_seconds, 12);
AT(portolan_service, frontends, 16);
AT(portolan_service, frontend_count, 24);
AT(portolan_service, frontend_stride, 32);
AT(portolan_service, endpoints, 40);
AT(portolan_service, endpoint_count, 48);
AT(portolan_service, endpoint_stride, 56);
AT(portolan_service, hash_seed, 64);

SIZE(portolan_node_spec, 112);
AT(portolan_node_spec, struct_size, 0);
AT(portolan_node_spec, addresses, 8);
AT(portolan_node_spec, address_count, 16);
AT(portolan_node_spec, pod_prefixes, 24);
AT(portolan_node_spec, pod_prefix_count, 32);
AT(portolan_node_spec, service_prefixes, 40);
AT(portolan_node_spec, service_prefix_count, 48);
AT(portolan_node_spec, masquerade_ipv4, 56);
AT(portolan_node_spec, masquerade_ipv6, 76);
AT(portolan_node_spec, pod_interface, 96);
AT(portolan_node_spec, pod_interface_is_prefix, 104);

SIZE(portolan_change, 48);
AT(portolan_change, struct_size, 0);
AT(portolan_change, kind, 4);
AT(portolan_change, family, 5);
AT(portolan_change, protocol, 6);
AT(portolan_change, name_space, 8);
AT(portolan_change, name, 16);
AT(portolan_change, port_name, 24);
AT(portolan_change, service, 32);
AT(portolan_change, node, 40);

SIZE(portolan_offload, 12);
AT(portolan_offload, flags, 0);
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

SIZE(portolan_frame_layout, 40);
AT(portolan_frame_layout, struct_size, 0);
AT(portolan_frame_layout, count, 4);
AT(portolan_frame_layout, frame_size, 8);
AT(portolan_frame_layout, stride, 12);
AT(portolan_frame_layout, base, 16);
AT(portolan_frame_layout, bytes, 24);
AT(portolan_frame_layout, descriptors, 32);

#ifdef __linux__
SIZE(portolan_tun_options, 56);
AT(portolan_tun_options, struct_size, 0);
AT(portolan_tun_options, queues, 4);
AT(portolan_tun_options, name, 8);
AT(portolan_tun_options, descriptors, 16);
AT(portolan_tun_options, descriptor_count, 24);
AT(portolan_tun_options, frames_bytes, 32);
AT(portolan_tun_options, mtu, 40);
AT(portolan_tun_options, up, 44);
AT(portolan_tun_options, persistent, 45);
AT(portolan_tun_options, no_offload, 46);
AT(portolan_tun_options, software_offload, 47);
AT(portolan_tun_options, virtio_header, 48);
#endif

#ifdef __linux__
SIZE(portolan_driver_stats, 176);
AT(portolan_driver_stats, struct_size, 0);
AT(portolan_driver_stats, received_packets, 8);
AT(portolan_driver_stats, received_bytes, 16);
AT(portolan_driver_stats, sent_packets, 24);
AT(portolan_driver_stats, sent_bytes, 32);
AT(portolan_driver_stats, passed, 40);
AT(portolan_driver_stats, forwarded, 48);
AT(portolan_driver_stats, replied, 56);
AT(portolan_driver_stats, dropped, 64);
AT(portolan_driver_stats, bursts, 72);
AT(portolan_driver_stats, waits, 80);
AT(portolan_driver_stats, unreadable, 88);
AT(portolan_driver_stats, software_checksums, 96);
AT(portolan_driver_stats, software_segments, 104);
AT(portolan_driver_stats, unsegmentable, 112);
AT(portolan_driver_stats, refused_writes, 120);
AT(portolan_driver_stats, short_writes, 128);
AT(portolan_driver_stats, failed_writes, 136);
AT(portolan_driver_stats, last_write_error, 144);
AT(portolan_driver_stats, cpu_nanos, 152);
AT(portolan_driver_stats, other_frames, 160);
AT(portolan_driver_stats, missed_frames, 168);
#endif

#ifdef __linux__
SIZE(portolan_af_packet_options, 40);
AT(portolan_af_packet_options, struct_size, 0);
AT(portolan_af_packet_options, queues, 4);
AT(portolan_af_packet_options, name, 8);
AT(portolan_af_packet_options, other_side, 16);
AT(portolan_af_packet_options, frames_bytes, 24);
AT(portolan_af_packet_options, up, 32);
AT(portolan_af_packet_options, software_offload, 33);
#endif

SIZE(portolan_nft_options, 80);
AT(portolan_nft_options, struct_size, 0);
AT(portolan_nft_options, affinity_clients, 4);
AT(portolan_nft_options, table, 8);
AT(portolan_nft_options, socket, 16);
AT(portolan_nft_options, command, 24);
AT(portolan_nft_options, command_count, 32);
AT(portolan_nft_options, dnat_priority, 40);
AT(portolan_nft_options, filter_priority, 44);
AT(portolan_nft_options, snat_priority, 48);
AT(portolan_nft_options, own_priorities, 52);
AT(portolan_nft_options, nft_only, 53);
AT(portolan_nft_options, owned, 54);
AT(portolan_nft_options, replaces, 56);
AT(portolan_nft_options, replaces_count, 64);
AT(portolan_nft_options, masquerade_port_first, 72);
AT(portolan_nft_options, masquerade_port_last, 74);

SIZE(portolan_dns_config, 80);
AT(portolan_dns_config, struct_size, 0);
AT(portolan_dns_config, ttl, 4);
AT(portolan_dns_config, zone, 8);
AT(portolan_dns_config, reverse_zones, 16);
AT(portolan_dns_config, reverse_zone_count, 24);
AT(portolan_dns_config, name_server_addresses, 32);
AT(portolan_dns_config, name_server_address_count, 40);
AT(portolan_dns_config, service_name_space, 48);
AT(portolan_dns_config, service_name, 56);
AT(portolan_dns_config, seed, 64);
AT(portolan_dns_config, readers, 72);
AT(portolan_dns_config, pod_names, 76);
AT(portolan_dns_config, endpoint_pod_names, 77);
AT(portolan_dns_config, ignore_empty_service, 78);
AT(portolan_dns_config, recursion, 79);

SIZE(portolan_stats, 440);
AT(portolan_stats, struct_size, 0);
AT(portolan_stats, passed, 8);
AT(portolan_stats, forwarded, 16);
AT(portolan_stats, replied, 24);
AT(portolan_stats, dropped, 32);
AT(portolan_stats, drops, 40);
AT(portolan_stats, bytes, 296);
AT(portolan_stats, related, 304);
AT(portolan_stats, affinities_not_kept, 312);
AT(portolan_stats, opened_ipv4, 320);
AT(portolan_stats, opened_ipv6, 328);
AT(portolan_stats, evicted_ipv4, 336);
AT(portolan_stats, evicted_ipv6, 344);
AT(portolan_stats, connections_ipv4, 352);
AT(portolan_stats, connections_ipv6, 360);
AT(portolan_stats, services, 368);
AT(portolan_stats, frontends, 376);
AT(portolan_stats, endpoints, 384);
AT(portolan_stats, source_ranges, 392);
AT(portolan_stats, hash_buckets, 400);
AT(portolan_stats, affinities, 408);
AT(portolan_stats, fragments, 416);
AT(portolan_stats, ended_packets, 424);
AT(portolan_stats, ended_bytes, 432);

SIZE(portolan_endpoint_stats, 64);
AT(portolan_endpoint_stats, address, 0);
AT(portolan_endpoint_stats, port, 20);
AT(portolan_endpoint_stats, opened, 24);
AT(portolan_endpoint_stats, packets_to, 32);
AT(portolan_endpoint_stats, bytes_to, 40);
AT(portolan_endpoint_stats, packets_from, 48);
AT(portolan_endpoint_stats, bytes_from, 56);

SIZE(portolan_service_stats, 128);
AT(portolan_service_stats, struct_size, 0);
AT(portolan_service_stats, id, 4);
AT(portolan_service_stats, name_space, 8);
AT(portolan_service_stats, name, 16);
AT(portolan_service_stats, port_name, 24);
AT(portolan_service_stats, protocol, 32);
AT(portolan_service_stats, family, 33);
AT(portolan_service_stats, opened, 40);
AT(portolan_service_stats, rejected, 48);
AT(portolan_service_stats, no_local_endpoint, 56);
AT(portolan_service_stats, source_range, 64);
AT(portolan_service_stats, packets_to, 72);
AT(portolan_service_stats, bytes_to, 80);
AT(portolan_service_stats, packets_from, 88);
AT(portolan_service_stats, bytes_from, 96);
AT(portolan_service_stats, endpoints, 104);
AT(portolan_service_stats, endpoint_count, 112);
AT(portolan_service_stats, endpoint_stride, 120);

SIZE(portolan_tuple, 44);
AT(portolan_tuple, source, 0);
AT(portolan_tuple, destination, 20);
AT(portolan_tuple, source_port, 40);
AT(portolan_tuple, destination_port, 42);

SIZE(portolan_connection, 100);
AT(portolan_connection, struct_size, 0);
AT(portolan_connection, remaining_seconds, 4);
AT(portolan_connection, original, 8);
AT(portolan_connection, reply, 52);
AT(portolan_connection, protocol, 96);
AT(portolan_connection, flags, 97);

SIZE(portolan_socket_address, 24);
AT(portolan_socket_address, address, 0);
AT(portolan_socket_address, port, 20);

SIZE(portolan_explanation, 144);
AT(portolan_explanation, struct_size, 0);
AT(portolan_explanation, verdict, 4);
AT(portolan_explanation, reason, 5);
AT(portolan_explanation, found, 6);
AT(portolan_explanation, protocol, 7);
AT(portolan_explanation, direction, 8);
AT(portolan_explanation, frontend_kind, 9);
AT(portolan_explanation, source, 10);
AT(portolan_explanation, set, 11);
AT(portolan_explanation, masquerade, 12);
AT(portolan_explanation, service, 16);
AT(portolan_explanation, choice_count, 20);
AT(portolan_explanation, generation, 24);
AT(portolan_explanation, tuple, 32);
AT(portolan_explanation, translated, 76);
AT(portolan_explanation, endpoint, 120);

int main(void) {
    return portolan_abi_version() == PORTOLAN_ABI_VERSION ? 0 : 1;
}
