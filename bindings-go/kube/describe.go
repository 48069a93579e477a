package kube

import (
	"bytes"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	portolan "github.com/portolan/portolan/bindings-go"
)

// KindServiceCIDR is followed beside portolan's kinds: the node learns of it through its description.
const KindServiceCIDR portolan.Kind = 1 << 16

// DescribeFunc writes a node's description, as [portolan.NewNode] takes it, from what the cluster says: the Node object,
// nil if there is none, and the prefixes of all ServiceCIDRs, sorted. An error leaves the node described as it is.
type DescribeFunc func(node *corev1.Node, serviceCIDRs []string) ([]byte, error)

// WithDescription has the node described anew whenever its Node object or the ServiceCIDRs give another description.
// Without it the Node object is given to the node as it is, and ServiceCIDRs are not read.
func WithDescription(describe DescribeFunc) Option {
	return func(f *Follower) { f.surroundings.describe = describe }
}

// surroundings are what a node's description is made from. They belong to the goroutine of Run.
type surroundings struct {
	describe DescribeFunc
	node     *corev1.Node
	prefixes map[string][]string // of each ServiceCIDR
	changed  bool
	given    []byte
}

// take: is this object read for the description, and not by the node itself?
func (s *surroundings) take(key key, object runtime.Object) bool {
	switch {
	case key.kind == KindServiceCIDR:
		if cidr, ok := object.(*networkingv1.ServiceCIDR); ok {
			s.prefixes[key.name] = cidr.Spec.CIDRs
		} else {
			delete(s.prefixes, key.name)
		}
	case key.kind == portolan.KindNode && s.describe != nil:
		s.node, _ = object.(*corev1.Node)
	default:
		return false
	}
	s.changed = s.describe != nil
	return true
}

// description is the present one, if it is another than the last.
func (s *surroundings) description() (described []byte, isNew bool, err error) {
	if !s.changed {
		return nil, false, nil
	}
	s.changed = false
	var prefixes []string
	for _, each := range s.prefixes {
		prefixes = append(prefixes, each...)
	}
	slices.Sort(prefixes)
	described, err = s.describe(s.node, slices.Compact(prefixes))
	if err != nil || bytes.Equal(described, s.given) {
		return nil, false, err
	}
	s.given = described
	return described, true, nil
}
