package kube

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	portolan "github.com/portolan/portolan/bindings-go"
)

// Handler takes the events of one kind. Objects are kept as they are given and never written to; an update that changes
// nothing (a resync) costs a comparison.
func (f *Follower) Handler(kind portolan.Kind) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { f.changed(kind, object) },
		UpdateFunc: func(old, object any) { f.updated(kind, old, object) },
		DeleteFunc: func(object any) { f.deleted(kind, object) },
	}
}

func (f *Follower) updated(kind portolan.Kind, old, object any) {
	before, err := meta.Accessor(old)
	after, errAfter := meta.Accessor(object)
	same := err == nil && errAfter == nil && before.GetResourceVersion() == after.GetResourceVersion()
	if same && after.GetResourceVersion() != "" {
		return
	}
	f.changed(kind, object)
}

func (f *Follower) changed(kind portolan.Kind, object any) {
	typed, ok := object.(runtime.Object)
	if !ok {
		f.logger.Info("Not an object", "kind", kindName(kind), "object", object)
		return
	}
	if key, ok := f.keyOf(kind, typed); ok {
		f.put(key, typed)
	}
}

func (f *Follower) deleted(kind portolan.Kind, object any) {
	// The watch missed the deletion: what it last knew of is in the tombstone.
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		namespace, name, err := cache.SplitMetaNamespaceKey(unknown.Key)
		if err == nil {
			f.put(key{kind, namespace, name}, nil)
		}
		return
	}
	if key, ok := f.keyOf(kind, object); ok {
		f.put(key, nil)
	}
}

func (f *Follower) keyOf(kind portolan.Kind, object any) (key, bool) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		f.logger.Error(err, "An object without metadata", "kind", kindName(kind))
		return key{}, false
	}
	return key{kind, accessor.GetNamespace(), accessor.GetName()}, true
}

// trigger is when what an EndpointSlice tells of happened, if it says so.
func trigger(object runtime.Object) (family corev1.IPFamily, at time.Time, told bool) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return "", at, false
	}
	at, err := time.Parse(time.RFC3339Nano, slice.Annotations[corev1.EndpointsLastChangeTriggerTime])
	return corev1.IPFamily(slice.AddressType), at, err == nil
}
