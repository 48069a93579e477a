//go:build cgo

package portolan

// #include "portolan.h"
import "C"

import (
	"iter"
	"net/netip"
	"time"
	"unsafe"
)

// Explain says what would become of a packet, and why, by the code that moves packets. It changes nothing. Flags are what
// the host would set in the packet's descriptor: FlagFromPod or 0.
func (d *Dataplane) Explain(now int64, packet []byte, flags uint16) (explanation Explanation, err error) {
	err = d.handle.use(func(dataplane *C.portolan_dataplane) error {
		var c C.portolan_explanation
		c.struct_size = C.uint32_t(unsafe.Sizeof(c))
		bytes, size := (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(packet))), C.size_t(len(packet))
		for choices := make([]C.portolan_socket_address, 16); ; choices = make([]C.portolan_socket_address, c.choice_count) {
			var said *C.portolan_error
			err := check(C.portolan_dataplane_explain(dataplane, C.uint64_t(now), bytes, size, C.uint16_t(flags), &c,
				unsafe.SliceData(choices), C.size_t(len(choices)), &said), said)
			if err != nil {
				return err
			}
			if int(c.choice_count) <= len(choices) {
				explanation = toExplanation(&c, choices[:c.choice_count])
				break
			}
		}
		explanation.Text, err = explainText(dataplane, now, packet, flags)
		return err
	})
	return explanation, err
}

func explainText(dataplane *C.portolan_dataplane, now int64, packet []byte, flags uint16) (string, error) {
	bytes := (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(packet)))
	return grown(func(to *C.char, capacity C.size_t, needed *C.size_t) error {
		var said *C.portolan_error
		return check(C.portolan_dataplane_explain_text(dataplane, C.uint64_t(now), bytes, C.size_t(len(packet)),
			C.uint16_t(flags), to, capacity, needed, &said), said)
	})
}

func toExplanation(c *C.portolan_explanation, choices []C.portolan_socket_address) Explanation {
	found := func(bit C.uint8_t) bool { return c.found&bit != 0 }
	explanation := Explanation{
		Verdict: Verdict(c.verdict), Reason: uint8(c.reason), Generation: uint64(c.generation),
		Known: found(C.PORTOLAN_FOUND_CONNECTION), FromEndpoint: c.direction != 0,
		IsFrontend: found(C.PORTOLAN_FOUND_FRONTEND), Frontend: FrontendKind(c.frontend_kind),
		Service: uint32(c.service), Source: Source(c.source), Kept: found(C.PORTOLAN_FOUND_AFFINITY),
		Masquerade: c.masquerade != C.PORTOLAN_MASQUERADE_NO, Hairpin: c.masquerade == C.PORTOLAN_MASQUERADE_HAIRPIN,
		Protocol: Protocol(c.protocol),
	}
	if found(C.PORTOLAN_FOUND_TUPLE) {
		explanation.Flow = toFlow(&c.tuple)
	}
	if found(C.PORTOLAN_FOUND_TRANSLATED) {
		explanation.Translated = toFlow(&c.translated)
	}
	if found(C.PORTOLAN_FOUND_ENDPOINT) {
		explanation.Endpoint = netip.AddrPortFrom(toAddr(c.endpoint.address), uint16(c.endpoint.port))
	}
	for _, each := range choices {
		explanation.Choices = append(explanation.Choices, netip.AddrPortFrom(toAddr(each.address), uint16(each.port)))
	}
	return explanation
}

// Connections yields those alive at now, as they were when iteration began; none of a closed or busy dataplane.
func (d *Dataplane) Connections(now int64) iter.Seq[Connection] {
	return func(yield func(Connection) bool) {
		var list *C.portolan_connections
		_ = d.handle.use(func(dataplane *C.portolan_dataplane) error {
			return check(C.portolan_dataplane_connections(dataplane, C.uint64_t(now), &list), nil)
		})
		defer C.portolan_connections_free(&list)
		var c C.portolan_connection
		c.struct_size = C.uint32_t(unsafe.Sizeof(c))
		for C.portolan_connections_next(list, &c) == C.PORTOLAN_STATUS_OK {
			connection := Connection{
				Protocol: Protocol(c.protocol), Original: toFlow(&c.original), Reply: toFlow(&c.reply),
				SeenReply:  c.flags&C.PORTOLAN_CONNECTION_SEEN_REPLY != 0,
				Assured:    c.flags&C.PORTOLAN_CONNECTION_ASSURED != 0,
				Masquerade: c.flags&C.PORTOLAN_CONNECTION_MASQUERADE != 0,
				Remaining:  time.Duration(c.remaining_seconds) * time.Second,
			}
			if !yield(connection) {
				return
			}
		}
	}
}

// Services lists every ServicePort that the dataplane has, with its counts and those of its endpoints.
func (d *Dataplane) Services() (services []ServiceStats, err error) {
	err = d.handle.use(func(dataplane *C.portolan_dataplane) error {
		var list *C.portolan_service_list
		if err := check(C.portolan_dataplane_services(dataplane, &list), nil); err != nil {
			return err
		}
		defer C.portolan_service_list_free(&list)
		var c C.portolan_service_stats
		c.struct_size = C.uint32_t(unsafe.Sizeof(c))
		for C.portolan_service_list_next(list, &c) == C.PORTOLAN_STATUS_OK {
			services = append(services, toServiceStats(&c))
		}
		return nil
	})
	return services, err
}

func toServiceStats(c *C.portolan_service_stats) ServiceStats {
	stats := ServiceStats{
		ID: uint32(c.id), PortKey: toPortKey(c.name_space, c.name, c.port_name, c.protocol, c.family),
		Opened: uint64(c.opened), Rejected: uint64(c.rejected),
		NoLocalEndpoint: uint64(c.no_local_endpoint), SourceRange: uint64(c.source_range),
		To:   Traffic{uint64(c.packets_to), uint64(c.bytes_to)},
		From: Traffic{uint64(c.packets_from), uint64(c.bytes_from)},
	}
	for _, each := range unsafe.Slice(c.endpoints, int(c.endpoint_count)) {
		stats.Endpoints = append(stats.Endpoints, EndpointStats{
			Address: netip.AddrPortFrom(toAddr(each.address), uint16(each.port)),
			Opened:  uint64(each.opened),
			To:      Traffic{uint64(each.packets_to), uint64(each.bytes_to)},
			From:    Traffic{uint64(each.packets_from), uint64(each.bytes_from)},
		})
	}
	return stats
}
