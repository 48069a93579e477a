//go:build cgo

package portolan

// #include <stdlib.h>
// #include "portolan.h"
import "C"

import (
	"fmt"
	"math"
	"unsafe"
)

// Dataplane holds tables and connections. It is used by one goroutine at a time; another gets ErrBusy. Workers run
// beside it.
type Dataplane struct {
	handle *handle[*C.portolan_dataplane]
	node   *Node
}

// NewDataplane makes a dataplane that this node fills, and takes all its memory. The seed is the key of every hash:
// take it from crypto/rand and keep it secret.
func (n *Node) NewDataplane(limits Limits, seed [16]byte) (*Dataplane, error) {
	var wanted C.portolan_limits
	if err := check(C.portolan_limits_init(&wanted, C.uint32_t(unsafe.Sizeof(wanted))), nil); err != nil {
		return nil, err
	}
	for _, limit := range []struct {
		to   *C.uint32_t
		from uint32
	}{
		{&wanted.connections_ipv4, limits.ConnectionsIPv4},
		{&wanted.connections_ipv6, limits.ConnectionsIPv6},
		{&wanted.services, limits.Services},
		{&wanted.frontends, limits.Frontends},
		{&wanted.endpoints, limits.Endpoints},
		{&wanted.source_ranges, limits.SourceRanges},
		{&wanted.affinities, limits.Affinities},
		{&wanted.fragments, limits.Fragments},
		{&wanted.workers, limits.Workers},
	} {
		if limit.from != 0 {
			*limit.to = C.uint32_t(limit.from)
		}
	}
	var pointer *C.portolan_dataplane
	var said *C.portolan_error
	key := (*C.uint8_t)(unsafe.Pointer(&seed))
	if err := check(C.portolan_dataplane_new(&wanted, key, &pointer, &said), said); err != nil {
		return nil, err
	}
	free := func(pointer *C.portolan_dataplane) { C.portolan_dataplane_free(&pointer) }
	dataplane := &Dataplane{newHandle(pointer, free), n}
	own(dataplane, dataplane.handle)
	return dataplane, nil
}

// Publish makes everything that changed in the node visible to packets at once, and says the generation. What the
// limits have no room for is returned; all else takes effect.
func (d *Dataplane) Publish() (generation uint64, rejections []Rejection, err error) {
	err = d.handle.use(func(dataplane *C.portolan_dataplane) error {
		return d.node.handle.use(func(node *C.portolan_node) error {
			var number C.uint64_t
			var list *C.portolan_rejections
			var said *C.portolan_error
			err := check(C.portolan_dataplane_publish(dataplane, node, &number, &list, &said), said)
			generation, rejections = uint64(number), taken(list)
			return err
		})
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
		}
		for reason, count := range c.drops {
			stats.Drops[reason] = uint64(count)
		}
		return nil
	})
	return stats, err
}

// Explain says in lines of text what would become of a packet, and why. It changes nothing.
func (d *Dataplane) Explain(now int64, packet []byte) (words string, err error) {
	err = d.handle.use(func(dataplane *C.portolan_dataplane) error {
		for room := 1024; ; {
			written := make([]byte, room)
			var needed C.size_t
			var said *C.portolan_error
			bytes := (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(packet)))
			to, capacity := text(written)
			err := check(C.portolan_dataplane_explain_text(dataplane, C.uint64_t(now), bytes, C.size_t(len(packet)),
				to, capacity, &needed, &said), said)
			if err != nil {
				return err
			}
			if int(needed) <= room {
				words = string(written[:needed-1])
				return nil
			}
			room = int(needed)
		}
	})
	return words, err
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

// Worker moves bursts of packets. It is used by one goroutine at a time; another gets ErrBusy.
type Worker struct {
	handle *handle[*C.portolan_worker]
}

// Process moves the first count packets of frames: each descriptor gets a verdict, each packet to be forwarded or
// answered is rewritten in place. now is a monotonic clock in nanoseconds. It allocates nothing.
func (w *Worker) Process(now int64, frames *Frames, count int) error {
	h := w.handle
	h.mutex.RLock()
	defer h.mutex.RUnlock()
	f := frames.handle
	f.mutex.RLock()
	defer f.mutex.RUnlock()
	if h.pointer == nil || f.pointer == nil {
		return ErrClosed
	}
	if count < 0 || count > frames.count {
		return fmt.Errorf("%w: count: %d of %d frames", ErrInvalid, count, frames.count)
	}
	base := unsafe.Pointer(f.pointer)
	status := C.portolan_worker_process(h.pointer, C.uint64_t(now), (*C.uint8_t)(base),
		C.size_t(frames.bytes), (*C.portolan_descriptor)(unsafe.Add(base, frames.bytes)),
		C.uint32_t(unsafe.Sizeof(Descriptor{})), C.uint32_t(count))
	if status == C.PORTOLAN_STATUS_OK {
		return nil
	}
	return check(status, nil)
}

// Close frees the worker's place; again has no effect.
func (w *Worker) Close() error { return w.handle.close() }

// Frames are packets and their descriptors in memory that Go does not move or scan.
type Frames struct {
	handle             *handle[*byte]
	count, size, bytes int
}

// NewFrames takes memory for count packets of size bytes each, and sets each descriptor's Offset and Capacity.
func (d *Dataplane) NewFrames(count, size int) (*Frames, error) {
	if count <= 0 || size <= 0 || size > math.MaxUint32/count-8 {
		return nil, fmt.Errorf("%w: %d frames of %d bytes", ErrInvalid, count, size)
	}
	bytes := (count*size + 7) &^ 7 // descriptors stand behind, aligned
	all := bytes + count*int(unsafe.Sizeof(Descriptor{}))
	pointer := (*byte)(C.calloc(1, C.size_t(all)))
	frames := &Frames{
		newHandle(pointer, func(pointer *byte) { C.free(unsafe.Pointer(pointer)) }), count, size, bytes,
	}
	own(frames, frames.handle)
	for i := range frames.Descriptors() {
		descriptor := &frames.Descriptors()[i]
		descriptor.Offset, descriptor.Capacity = uint32(i*size), uint32(size)
	}
	return frames, nil
}

// Frame is the memory of packet i; not to be used after Close.
func (f *Frames) Frame(i int) []byte {
	return unsafe.Slice(f.handle.pointer, f.bytes)[i*f.size : (i+1)*f.size : (i+1)*f.size]
}

// Descriptors are those of all packets; not to be used after Close.
func (f *Frames) Descriptors() []Descriptor {
	return unsafe.Slice((*Descriptor)(unsafe.Add(unsafe.Pointer(f.handle.pointer), f.bytes)), f.count)
}

// Close frees the memory; again has no effect.
func (f *Frames) Close() error { return f.handle.close() }
