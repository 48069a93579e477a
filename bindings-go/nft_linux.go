//go:build cgo

package portolan

// #include "portolan.h"
import "C"

import (
	"context"
	"errors"
	"math"
	"time"
	"unsafe"
)

// NFT is the nftables tables of one network namespace, kept at one node's decisions. It is used by one goroutine at a
// time; another gets ErrBusy.
type NFT struct {
	handle *handle[*C.portolan_nft]
}

// toC is options in memory of C that lives as long as the memory.
func (o NFTOptions) toC(memory *cMemory) *C.portolan_nft_options {
	options := (*C.portolan_nft_options)(memory.take(int(unsafe.Sizeof(C.portolan_nft_options{}))))
	options.struct_size = C.uint32_t(unsafe.Sizeof(*options))
	options.affinity_clients = C.uint32_t(o.AffinityClients)
	options.masquerade_port_first = C.uint16_t(o.MasqueradePorts.First)
	options.masquerade_port_last = C.uint16_t(o.MasqueradePorts.Last)
	options.table = memory.optional(o.Table)
	options.command, options.command_count = memory.strings(o.Command), C.size_t(len(o.Command))
	if o.Socket != nil {
		socket := (*C.int)(memory.take(int(unsafe.Sizeof(C.int(0)))))
		*socket = C.int(*o.Socket)
		options.socket = socket
	}
	if p := o.Priorities; p != nil {
		options.own_priorities = 1
		options.dnat_priority, options.filter_priority = C.int32_t(p.DNAT), C.int32_t(p.Filter)
		options.snat_priority = C.int32_t(p.SNAT)
	}
	options.replaces, options.replaces_count = memory.strings(o.Replaces), C.size_t(len(o.Replaces))
	if o.Owned {
		options.owned = 1
	}
	if o.NFTOnly {
		options.nft_only = 1
	}
	return options
}

// OpenNFT gets hold of the kernel's nftables; changes nothing yet.
func OpenNFT(options NFTOptions) (*NFT, error) {
	var memory cMemory
	defer memory.free()
	var pointer *C.portolan_nft
	var said *C.portolan_error
	if err := check(C.portolan_nft_open(options.toC(&memory), &pointer, &said), said); err != nil {
		return nil, err
	}
	nft := &NFT{newHandle(pointer, func(pointer *C.portolan_nft) { C.portolan_nft_close(&pointer) })}
	own(nft, nft.handle)
	return nft, nil
}

// Sync brings the kernel's tables to the node's present decisions; nothing happens before it has any. now is a monotonic
// clock in nanoseconds. After an error nothing is lost: sync again.
func (t *NFT) Sync(node *Node, now int64) error {
	return t.handle.use(func(nft *C.portolan_nft) error {
		return node.handle.use(func(node *C.portolan_node) error {
			var said *C.portolan_error
			return check(C.portolan_nft_sync(nft, node, C.uint64_t(now), &said), said)
		})
	})
}

// Poll deletes what nobody asks for any more, and repairs what somebody else changed. It says when it wants to be called
// again; math.MaxInt64: never.
func (t *NFT) Poll(now int64) (next int64, err error) {
	err = t.handle.use(func(nft *C.portolan_nft) error {
		var at C.uint64_t
		var said *C.portolan_error
		err := check(C.portolan_nft_poll(nft, C.uint64_t(now), &at, &said), said)
		next = int64(min(uint64(at), math.MaxInt64))
		return err
	})
	return next, err
}

// Run syncs for each value from changed, and polls, until the context ends. Errors are given to failed, and it goes on:
// what the kernel had is in force. While it runs, nobody else uses the tables; the node is used for a moment at a time.
func (t *NFT) Run(ctx context.Context, node *Node, changed <-chan struct{}, failed func(error)) error {
	start := time.Now()
	now := func() int64 { return int64(time.Since(start)) }
	timer := time.NewTimer(0)
	defer timer.Stop()
	try := func(err error) {
		if err != nil && !errors.Is(err, ErrBusy) {
			failed(err)
		}
	}
	for {
		try(t.Sync(node, now()))
		next, err := t.Poll(now())
		try(err)
		wait := time.Second // after an error, or where nothing is due
		if err == nil && next < math.MaxInt64 {
			wait = max(time.Duration(next-now()), time.Millisecond)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-timer.C:
		}
	}
}

// Dump is both tables as they should be, as text for nft: what was sent over netlink, too.
func (t *NFT) Dump() (dumped string, err error) {
	err = t.handle.use(func(nft *C.portolan_nft) error {
		dumped, err = grown(func(to *C.char, capacity C.size_t, needed *C.size_t) error {
			return check(C.portolan_nft_dump(nft, to, capacity, needed), nil)
		})
		return err
	})
	return dumped, err
}

// RenderNFT is both tables of the node as text for nft, without a kernel: for hosts that apply it themselves.
func (n *Node) RenderNFT(options NFTOptions) (rendered string, err error) {
	var memory cMemory
	defer memory.free()
	wanted := options.toC(&memory)
	err = n.handle.use(func(node *C.portolan_node) error {
		rendered, err = grown(func(to *C.char, capacity C.size_t, needed *C.size_t) error {
			var said *C.portolan_error
			return check(C.portolan_nft_render(node, wanted, to, capacity, needed, &said), said)
		})
		return err
	})
	return rendered, err
}

// Rejections lists what nftables cannot serve as things stand, and what it serves otherwise than asked.
func (t *NFT) Rejections() (rejections []Rejection, err error) {
	err = t.handle.use(func(nft *C.portolan_nft) error {
		var list *C.portolan_rejections
		err := check(C.portolan_nft_rejections(nft, &list), nil)
		rejections = taken(list)
		return err
	})
	return rejections, err
}

// Stats reads the counts.
func (t *NFT) Stats() (stats NFTStats, err error) {
	err = t.handle.use(func(nft *C.portolan_nft) error {
		var c C.portolan_nft_stats
		c.struct_size = C.uint32_t(unsafe.Sizeof(c))
		if err := check(C.portolan_nft_stats_read(nft, &c), nil); err != nil {
			return err
		}
		stats = NFTStats{
			Transactions: uint64(c.transactions), Operations: uint64(c.operations), Repairs: uint64(c.repairs),
			FlowReadsIPv4: uint64(c.flow_reads_ipv4), FlowReadsIPv6: uint64(c.flow_reads_ipv6),
			StaleFlowsIPv4: uint64(c.stale_flows_ipv4), StaleFlowsIPv6: uint64(c.stale_flows_ipv6),
		}
		return nil
	})
	return stats, err
}

// Delete deletes both tables and closes: no packet is translated any more.
func (t *NFT) Delete() error {
	h := t.handle
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.pointer == nil {
		return ErrClosed
	}
	var said *C.portolan_error
	return check(C.portolan_nft_delete(&h.pointer, &said), said)
}

// Close gives the handle up; again has no effect. The tables stay in force.
func (t *NFT) Close() error { return t.handle.close() }
