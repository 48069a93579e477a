package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	portolan "github.com/portolan/portolan/bindings-go"
)

// objects are what the cluster says, and what is decided about it: once for all pods, whose dataplanes follow. It is the
// [kube.Target] of the daemon's informers.
type objects struct {
	mutex  sync.Mutex
	node   *portolan.Node
	synced map[portolan.Kind]bool
	pods   map[*pod]bool
	log    *slog.Logger
}

// all are the kinds without which nothing is served.
var all = []portolan.Kind{portolan.KindService, portolan.KindEndpointSlice}

// newObjects is a node of this name, and without addresses: who masquerades, and as whom, is each pod's own.
func newObjects(nodeName string, log *slog.Logger) (*objects, error) {
	description, err := json.Marshal(map[string]string{"nodeName": nodeName, "detectLocal": "None"})
	if err != nil {
		return nil, err
	}
	node, err := portolan.NewNode(description)
	if err != nil {
		return nil, err
	}
	return &objects{node: node, synced: map[portolan.Kind]bool{}, pods: map[*pod]bool{}, log: log}, nil
}

// Reconfigure is for followers that describe the node; here nothing but its name counts.
func (o *objects) Reconfigure([]byte) ([]portolan.Rejection, error) { return nil, nil }

// Apply takes a v1 List of objects that are new or different.
func (o *objects) Apply(list []byte) ([]portolan.Rejection, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.node.Apply(list)
}

// Delete forgets an object.
func (o *objects) Delete(kind portolan.Kind, namespace, name string) error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.node.Delete(kind, namespace, name)
}

// Synced says that all objects of a kind have been given.
func (o *objects) Synced(kind portolan.Kind) error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.synced[kind] = true
	return o.node.Synced(kind)
}

// Replace takes files for all there is.
func (o *objects) Replace(files map[string][]byte) ([]portolan.Rejection, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	var batch portolan.Batch
	for _, text := range files {
		batch.Apply(text)
	}
	for _, kind := range all {
		batch.Replace(kind)
		o.synced[kind] = true
	}
	_, rejections, err := o.node.Commit(&batch)
	return rejections, err
}

// publish brings what was decided into force in every pod. What fails for one costs no other anything.
func (o *objects) publish() error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	var failed []error
	for pod := range o.pods {
		if err := pod.follow(o.node); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", pod.record.ID, err))
		}
	}
	return errors.Join(failed...)
}

// join gives a pod everything there is now and everything that comes.
func (o *objects) join(pod *pod) error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if err := pod.follow(o.node); err != nil {
		return err
	}
	o.pods[pod] = true
	return nil
}

// leave takes a pod out.
func (o *objects) leave(pod *pod) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	delete(o.pods, pod)
}

// ready: have Services and EndpointSlices been given in full?
func (o *objects) ready() bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return !slices.ContainsFunc(all, func(kind portolan.Kind) bool { return !o.synced[kind] })
}

// report logs what cannot be served.
func (o *objects) report(rejections []portolan.Rejection) {
	for _, each := range rejections {
		o.log.Warn("left out", "object", each.Object, "field", each.Field, "rule", each.Rule)
	}
}
