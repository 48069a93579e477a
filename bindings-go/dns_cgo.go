//go:build cgo

package portolan

/*
#cgo noescape portolan_dns_answer
#cgo nocallback portolan_dns_answer
#include <stdlib.h>
#include "portolan.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// DNS answers queries for a node's Services. It is used by one goroutine at a time; readers run beside it.
type DNS struct {
	handle *handle[*C.portolan_dns]
}

// DNSReader answers one goroutine's queries.
type DNSReader struct {
	handle *handle[*C.portolan_dns_reader]
}

// NewDNS makes zones without Services.
func NewDNS(config DNSConfig) (*DNS, error) {
	var memory cMemory
	defer memory.free()
	wanted := C.portolan_dns_config{
		ttl: C.uint32_t(config.TTL), seed: C.uint64_t(config.Seed), readers: C.uint32_t(config.Readers),
		zone:          memory.optional(config.Zone),
		reverse_zones: memory.strings(config.ReverseZones), reverse_zone_count: C.size_t(len(config.ReverseZones)),
		name_server_address_count: C.size_t(len(config.NameServers)),
	}
	wanted.struct_size = C.uint32_t(unsafe.Sizeof(wanted))
	if config.EndpointPodNames {
		wanted.endpoint_pod_names = 1
	}
	if config.Recursion {
		wanted.recursion = 1
	}
	servers := memory.take(len(config.NameServers) * int(unsafe.Sizeof(C.portolan_address{})))
	wanted.name_server_addresses = (*C.portolan_address)(servers)
	for i, address := range config.NameServers {
		unsafe.Slice((*C.portolan_address)(servers), len(config.NameServers))[i] = fromAddr(address)
	}
	var pointer *C.portolan_dns
	var said *C.portolan_error
	if err := check(C.portolan_dns_new(&wanted, &pointer, &said), said); err != nil {
		return nil, err
	}
	dns := &DNS{newHandle(pointer, func(pointer *C.portolan_dns) { C.portolan_dns_free(&pointer) })}
	own(dns, dns.handle)
	return dns, nil
}

// Publish takes what changed in the node, and lets readers see all of it at once. The serial is that of the zones from
// here on, usually the seconds since 1970. ErrAgain: publish again.
func (d *DNS) Publish(node *Node, serial uint32) error {
	return d.handle.use(func(dns *C.portolan_dns) error {
		return node.handle.use(func(node *C.portolan_node) error {
			var said *C.portolan_error
			return check(C.portolan_dns_publish(dns, node, C.uint32_t(serial), &said), said)
		})
	})
}

// NewReader makes a reader: one for each goroutine that answers. ErrLimit if DNSConfig.Readers were made.
func (d *DNS) NewReader() (reader *DNSReader, err error) {
	err = d.handle.use(func(dns *C.portolan_dns) error {
		var pointer *C.portolan_dns_reader
		var said *C.portolan_error
		if err := check(C.portolan_dns_reader_new(dns, &pointer, &said), said); err != nil {
			return err
		}
		reader = &DNSReader{newHandle(pointer, func(pointer *C.portolan_dns_reader) { C.portolan_dns_reader_free(&pointer) })}
		own(reader, reader.handle)
		return nil
	})
	return reader, err
}

// Close frees the zones; again has no effect. Readers go on with what was published.
func (d *DNS) Close() error { return d.handle.close() }

// Answer answers one query that came by TCP (without its length) or UDP: writes to reply, of which 512 bytes are always
// enough, and says how many bytes of it are to be sent. It allocates nothing.
func (r *DNSReader) Answer(query, reply []byte, tcp bool) (size int, outcome DNSOutcome, err error) {
	if len(reply) == 0 {
		return 0, 0, fmt.Errorf("%w: reply: is empty", ErrInvalid)
	}
	h := r.handle
	h.mutex.RLock()
	defer h.mutex.RUnlock()
	if h.pointer == nil {
		return 0, 0, ErrClosed
	}
	var transport C.uint8_t = C.PORTOLAN_DNS_UDP
	if tcp {
		transport = C.PORTOLAN_DNS_TCP
	}
	var written C.size_t
	var became C.uint8_t
	status := C.portolan_dns_answer(h.pointer, (*C.uint8_t)(unsafe.SliceData(query)), C.size_t(len(query)), transport,
		(*C.uint8_t)(unsafe.SliceData(reply)), C.size_t(len(reply)), &written, &became)
	if status != C.PORTOLAN_STATUS_OK {
		return 0, 0, check(status, nil)
	}
	return int(written), DNSOutcome(became), nil
}

// Close frees the reader; again has no effect.
func (r *DNSReader) Close() error { return r.handle.close() }
