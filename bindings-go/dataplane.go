//go:build cgo

package portolan

// #include "portolan.h"
import "C"

import (
	"math"
	"unsafe"
)

// Dataplane holds tables and connections. It is used by one goroutine at a time; another gets ErrBusy. Workers run
// beside it.
type Dataplane struct {
	handle *handle[*C.portolan_dataplane]
	node   *Node // nil: its host fills it
}

// toC fills what is 0 with the defaults of a node.
func (l Limits) toC() (wanted C.portolan_limits, err error) {
	if err := check(C.portolan_limits_init(&wanted, C.uint32_t(unsafe.Sizeof(wanted))), nil); err != nil {
		return wanted, err
	}
	for _, limit := range []struct {
		to   *C.uint32_t
		from uint32
	}{
		{&wanted.connections_ipv4, l.ConnectionsIPv4},
		{&wanted.connections_ipv6, l.ConnectionsIPv6},
		{&wanted.services, l.Services},
		{&wanted.frontends, l.Frontends},
		{&wanted.endpoints, l.Endpoints},
		{&wanted.source_ranges, l.SourceRanges},
		{&wanted.affinities, l.Affinities},
		{&wanted.fragments, l.Fragments},
		{&wanted.workers, l.Workers},
		{&wanted.hash_buckets, l.HashBuckets},
		{&wanted.new_connections_per_second, l.NewConnectionsPerSecond},
	} {
		if limit.from != 0 {
			*limit.to = C.uint32_t(limit.from)
		}
	}
	wanted.masquerade_port_first = C.uint16_t(l.MasqueradePorts.First)
	wanted.masquerade_port_last = C.uint16_t(l.MasqueradePorts.Last)
	wanted.ended_tcp = C.uint8_t(l.EndedTCP)
	wanted.mid_stream = C.uint8_t(l.MidStream)
	if l.AnswerEcho {
		wanted.answer_echo = 1
	}
	wanted.memory_advice = C.uint8_t(l.MemoryAdvice)
	return wanted, l.Timeouts.toC(&wanted.timeouts)
}

// Memory is how many bytes a dataplane of these limits takes. Nothing is allocated.
func (l Limits) Memory() (bytes uint64, err error) {
	wanted, err := l.toC()
	if err != nil {
		return 0, err
	}
	var number C.uint64_t
	var said *C.portolan_error
	err = check(C.portolan_memory_required(&wanted, &number, &said), said)
	return uint64(number), err
}

// NewDataplane makes a dataplane that this node fills, and takes all its memory. The seed is the key of every hash:
// take it from crypto/rand and keep it secret.
func (n *Node) NewDataplane(limits Limits, seed [16]byte) (*Dataplane, error) {
	return newDataplane(n, limits, seed)
}

// NewDataplane makes a dataplane that its host fills, by [Dataplane.PutService] and [Dataplane.SetNode]: for an appliance
// without Kubernetes. Otherwise as [Node.NewDataplane].
func NewDataplane(limits Limits, seed [16]byte) (*Dataplane, error) {
	return newDataplane(nil, limits, seed)
}

func newDataplane(node *Node, limits Limits, seed [16]byte) (*Dataplane, error) {
	wanted, err := limits.toC()
	if err != nil {
		return nil, err
	}
	var pointer *C.portolan_dataplane
	var said *C.portolan_error
	key := (*C.uint8_t)(unsafe.Pointer(&seed))
	if err := check(C.portolan_dataplane_new(&wanted, key, &pointer, &said), said); err != nil {
		return nil, err
	}
	free := func(pointer *C.portolan_dataplane) { C.portolan_dataplane_free(&pointer) }
	dataplane := &Dataplane{newHandle(pointer, free), node}
	own(dataplane, dataplane.handle)
	return dataplane, nil
}

// PutService notes a service that is new or different, by a number that the host chooses: less than Limits.Services,
// small is best. Packets see it after Publish. ErrState if a node fills this dataplane.
func (d *Dataplane) PutService(id uint32, protocol Protocol, service ServiceSpec) error {
	return d.note(func(dataplane *C.portolan_dataplane, memory *cMemory, said **C.portolan_error) C.portolan_status {
		lent := memory.spec(id, protocol, &service)
		return C.portolan_dataplane_put_service(dataplane, &lent, said)
	})
}

// RemoveService notes that a service is gone; no effect if there is none of this number. Otherwise as PutService.
func (d *Dataplane) RemoveService(id uint32) error {
	return d.note(func(dataplane *C.portolan_dataplane, _ *cMemory, said **C.portolan_error) C.portolan_status {
		return C.portolan_dataplane_remove_service(dataplane, C.uint32_t(id), said)
	})
}

// SetNode notes what is known of the node. Otherwise as PutService.
func (d *Dataplane) SetNode(node NodeSpec) error {
	return d.note(func(dataplane *C.portolan_dataplane, memory *cMemory, said **C.portolan_error) C.portolan_status {
		lent := memory.node(&node)
		return C.portolan_dataplane_set_node(dataplane, &lent, said)
	})
}

// note gives C what it borrows for one call.
func (d *Dataplane) note(give func(*C.portolan_dataplane, *cMemory, **C.portolan_error) C.portolan_status) error {
	return d.handle.use(func(dataplane *C.portolan_dataplane) error {
		var memory cMemory
		defer memory.free()
		var said *C.portolan_error
		return check(give(dataplane, &memory, &said), said)
	})
}

// Publish makes everything that changed visible to packets at once, in the node or by hand, and says the generation.
// What the limits have no room for is returned; all else takes effect.
func (d *Dataplane) Publish() (generation uint64, rejections []Rejection, err error) {
	err = d.handle.use(func(dataplane *C.portolan_dataplane) error {
		publish := func(node *C.portolan_node) error {
			var number C.uint64_t
			var list *C.portolan_rejections
			var said *C.portolan_error
			err := check(C.portolan_dataplane_publish(dataplane, node, &number, &list, &said), said)
			generation, rejections = uint64(number), taken(list)
			return err
		}
		if d.node == nil {
			return publish(nil)
		}
		return d.node.handle.use(publish)
	})
	return generation, rejections, err
}

// Poll does timed work and says when it wants to be called again, on the clock of now; math.MaxInt64: never.
func (d *Dataplane) Poll(now int64) (next int64, err error) {
	err = d.handle.use(func(dataplane *C.portolan_dataplane) error {
		var at C.uint64_t
		err := check(C.portolan_dataplane_poll(dataplane, C.uint64_t(now), &at), nil)
		next = int64(min(uint64(at), math.MaxInt64))
		return err
	})
	return next, err
}

// Stats reads the counts.
func (d *Dataplane) Stats() (stats Stats, err error) {
	err = d.handle.use(func(dataplane *C.portolan_dataplane) error {
		var c C.portolan_stats
		c.struct_size = C.uint32_t(unsafe.Sizeof(c))
		if err := check(C.portolan_stats_read(dataplane, &c), nil); err != nil {
			return err
		}
		stats = Stats{
			Passed: uint64(c.passed), Forwarded: uint64(c.forwarded), Replied: uint64(c.replied),
			Dropped: uint64(c.dropped), Bytes: uint64(c.bytes), Related: uint64(c.related),
			AffinitiesNotKept: uint64(c.affinities_not_kept),
			OpenedIPv4:        uint64(c.opened_ipv4), OpenedIPv6: uint64(c.opened_ipv6),
			EvictedIPv4: uint64(c.evicted_ipv4), EvictedIPv6: uint64(c.evicted_ipv6),
			ConnectionsIPv4: uint64(c.connections_ipv4), ConnectionsIPv6: uint64(c.connections_ipv6),
			Services: uint64(c.services), Frontends: uint64(c.frontends),
			Endpoints: uint64(c.endpoints), SourceRanges: uint64(c.source_ranges),
			HashBuckets: uint64(c.hash_buckets), Affinities: uint64(c.affinities), Fragments: uint64(c.fragments),
			EndedPackets: uint64(c.ended_packets), EndedBytes: uint64(c.ended_bytes),
		}
		for reason, count := range c.drops {
			stats.Drops[reason] = uint64(count)
		}
		return nil
	})
	return stats, err
}

// NewWorker makes a worker: one for each goroutine that moves packets. ErrLimit if Limits.Workers exist.
func (d *Dataplane) NewWorker() (*Worker, error) {
	var worker *Worker
	err := d.handle.use(func(dataplane *C.portolan_dataplane) error {
		var pointer *C.portolan_worker
		var said *C.portolan_error
		if err := check(C.portolan_worker_new(dataplane, &pointer, &said), said); err != nil {
			return err
		}
		free := func(pointer *C.portolan_worker) { C.portolan_worker_free(&pointer) }
		worker = &Worker{newHandle(pointer, free)}
		own(worker, worker.handle)
		return nil
	})
	return worker, err
}

// Close frees the dataplane; again has no effect. Its workers go on with the services that they have.
func (d *Dataplane) Close() error { return d.handle.close() }
