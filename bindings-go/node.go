//go:build cgo

package portolan

// #include <stdlib.h>
// #include "portolan.h"
import "C"

import (
	"iter"
	"net/netip"
	"unsafe"
)

// Node is one node's view of the cluster's Services: objects in, decisions out. It is used by one goroutine at a
// time; another gets ErrBusy.
type Node struct {
	handle *handle[*C.portolan_node]
}

// NewNode makes a node from its description, YAML or JSON: nodeName, ips, zone, podCIDRs, clusterCIDRs, ...
func NewNode(config []byte) (*Node, error) {
	var pointer *C.portolan_node
	var said *C.portolan_error
	bytes, size := text(config)
	if err := check(C.portolan_node_new(bytes, size, &pointer, &said), said); err != nil {
		return nil, err
	}
	node := &Node{newHandle(pointer, func(pointer *C.portolan_node) { C.portolan_node_free(&pointer) })}
	own(node, node.handle)
	return node, nil
}

// Reconfigure takes another description of the node, as NewNode does; everything is decided anew.
func (n *Node) Reconfigure(config []byte) (rejections []Rejection, err error) {
	err = n.handle.use(func(node *C.portolan_node) error {
		var list *C.portolan_rejections
		var said *C.portolan_error
		bytes, size := text(config)
		err := check(C.portolan_node_reconfigure(node, bytes, size, &list, &said), said)
		rejections = taken(list)
		return err
	})
	return rejections, err
}

// Apply creates or replaces objects: JSON or YAML, one, a list or several documents.
func (n *Node) Apply(objects []byte) (rejections []Rejection, err error) {
	err = n.handle.use(func(node *C.portolan_node) error {
		var list *C.portolan_rejections
		var said *C.portolan_error
		bytes, size := text(objects)
		err := check(C.portolan_node_apply(node, bytes, size, &list, &said), said)
		rejections = taken(list)
		return err
	})
	return rejections, err
}

// Replace takes objects for all there are of a kind, as after listing anew; the kind is synced then.
func (n *Node) Replace(kind Kind, objects []byte) (rejections []Rejection, err error) {
	err = n.handle.use(func(node *C.portolan_node) error {
		var list *C.portolan_rejections
		var said *C.portolan_error
		bytes, size := text(objects)
		err := check(C.portolan_node_replace(node, C.uint32_t(kind), bytes, size, &list, &said), said)
		rejections = taken(list)
		return err
	})
	return rejections, err
}

// Delete forgets an object; no effect if it is not known.
func (n *Node) Delete(kind Kind, namespace, name string) error {
	return n.handle.use(func(node *C.portolan_node) error {
		var said *C.portolan_error
		space, called := C.CString(namespace), C.CString(name)
		defer C.free(unsafe.Pointer(space))
		defer C.free(unsafe.Pointer(called))
		return check(C.portolan_node_delete(node, C.uint32_t(kind), space, called, &said), said)
	})
}

// Synced says that all objects of a kind have been given. Nothing is decided before this was said of Services and
// EndpointSlices.
func (n *Node) Synced(kind Kind) error {
	return n.handle.use(func(node *C.portolan_node) error {
		var said *C.portolan_error
		return check(C.portolan_node_synced(node, C.uint32_t(kind), &said), said)
	})
}

// Generation counts changes of the decisions; 0 before there are any.
func (n *Node) Generation() (generation uint64, err error) {
	err = n.handle.use(func(node *C.portolan_node) error {
		var number C.uint64_t
		err := check(C.portolan_node_generation(node, &number), nil)
		generation = uint64(number)
		return err
	})
	return generation, err
}

// Rejections lists what cannot be served as things stand.
func (n *Node) Rejections() (rejections []Rejection, err error) {
	err = n.handle.use(func(node *C.portolan_node) error {
		var list *C.portolan_rejections
		err := check(C.portolan_node_rejections(node, &list), nil)
		rejections = taken(list)
		return err
	})
	return rejections, err
}

// SetEndpointTags gives endpoints at these addresses the host's own tags, as one generation: a descriptor of a packet to
// or from such an endpoint carries its tag. Tags stay whatever objects come and go; 0 takes one back.
func (n *Node) SetEndpointTags(tags map[netip.Addr]uint64) error {
	return n.handle.use(func(node *C.portolan_node) error {
		given := make([]C.portolan_endpoint_tag, 0, len(tags))
		for address, tag := range tags {
			given = append(given, C.portolan_endpoint_tag{address: fromAddr(address), tag: C.uint64_t(tag)})
		}
		var said *C.portolan_error
		return check(C.portolan_node_set_endpoint_tags(node, unsafe.SliceData(given), C.size_t(len(given)), &said), said)
	})
}

// Commit makes all changes of a batch, as one generation, and says which. The batch is empty afterwards. What cannot be
// served as written is returned, and costs nothing else anything. A value that is not allowed in what was put by hand is
// an error, which names the field; node and batch are as they were then.
func (n *Node) Commit(batch *Batch) (generation uint64, rejections []Rejection, err error) {
	err = n.handle.use(func(node *C.portolan_node) error {
		var txn *C.portolan_txn
		if err := check(C.portolan_txn_begin(&txn), nil); err != nil {
			return err
		}
		defer C.portolan_txn_free(&txn)
		for _, change := range batch.changes {
			if err := change.add(txn); err != nil {
				return err
			}
		}
		var number C.uint64_t
		var list *C.portolan_rejections
		var said *C.portolan_error
		err := check(C.portolan_txn_commit(&txn, node, &number, &list, &said), said)
		generation, rejections = uint64(number), taken(list)
		if err == nil {
			batch.changes = nil
		}
		return err
	})
	return generation, rejections, err
}

// add adds a change to a transaction.
func (c *batched) add(txn *C.portolan_txn) error {
	var said *C.portolan_error
	var memory cMemory
	defer memory.free()
	switch put := c.put.(type) {
	case *Service:
		service := memory.service(put)
		return check(C.portolan_txn_put_service(txn, &service, &said), said)
	case *EndpointSlice:
		slice := memory.slice(put)
		return check(C.portolan_txn_put_slice(txn, &slice, &said), said)
	}
	switch {
	case c.objects != nil:
		bytes, size := text(c.objects)
		return check(C.portolan_txn_apply(txn, bytes, size, &said), said)
	case c.all:
		return check(C.portolan_txn_replace(txn, C.uint32_t(c.kind), &said), said)
	default:
		space, called := C.CString(c.namespace), C.CString(c.name)
		defer C.free(unsafe.Pointer(space))
		defer C.free(unsafe.Pointer(called))
		return check(C.portolan_txn_delete(txn, C.uint32_t(c.kind), space, called, &said), said)
	}
}

// Changes says what became different since a generation: a new reader begins with 0 and goes on from Changes.To. However
// often something changed in between, it stands there once, as it is now.
func (n *Node) Changes(since uint64) (changes Changes, err error) {
	err = n.handle.use(func(node *C.portolan_node) error {
		var list *C.portolan_changes
		if err := check(C.portolan_node_changes(node, C.uint64_t(since), &list), nil); err != nil {
			return err
		}
		defer C.portolan_changes_free(&list)
		changes.To = uint64(C.portolan_changes_generation(list))
		changes.Full = C.portolan_changes_full(list) != 0
		var each C.portolan_change
		each.struct_size = C.uint32_t(unsafe.Sizeof(each))
		for C.portolan_changes_next(list, &each) == C.PORTOLAN_STATUS_OK {
			changes.list = append(changes.list, toChange(&each))
		}
		return nil
	})
	return changes, err
}

// Frontends yields what the node serves at the moment iteration begins; nothing of a closed or busy node.
func (n *Node) Frontends() iter.Seq[Frontend] {
	return func(yield func(Frontend) bool) {
		var list *C.portolan_frontends
		_ = n.handle.use(func(node *C.portolan_node) error {
			return check(C.portolan_node_frontends(node, &list), nil)
		})
		if list == nil {
			return
		}
		defer C.portolan_frontends_free(&list)
		var each C.portolan_served
		each.struct_size = C.uint32_t(unsafe.Sizeof(each))
		for C.portolan_frontends_next(list, &each) == C.PORTOLAN_STATUS_OK {
			frontend := Frontend{
				Namespace:        C.GoString(each.name_space),
				Name:             C.GoString(each.name),
				PortName:         C.GoString(each.port_name),
				Protocol:         Protocol(each.protocol),
				Address:          netip.AddrPortFrom(toAddr(each.address), uint16(each.port)),
				Kind:             FrontendKind(each.kind),
				ClusterEndpoints: int(each.cluster_endpoints),
				LocalEndpoints:   int(each.local_endpoints),
				HealthCheckPort:  uint16(each.health_check_port),
			}
			if !yield(frontend) {
				return
			}
		}
	}
}

// Close frees the node; again has no effect. A dataplane made from it goes on with what was published.
func (n *Node) Close() error { return n.handle.close() }
