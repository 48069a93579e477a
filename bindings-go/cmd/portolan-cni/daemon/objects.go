package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	portolan "github.com/portolan/portolan/bindings-go"
)

// objects are what the cluster says, kept as text for pods that come later, and handed to those that are here. It is
// the [kube.Target] of the daemon's informers.
type objects struct {
	mutex sync.Mutex
	// judge is a node without packets: it says once, not for each pod, what cannot be served.
	judge  *portolan.Node
	texts  map[source][]byte
	synced map[portolan.Kind]bool
	pods   map[*pod]bool
	log    *slog.Logger
}

// source is where a text comes from: an object, or a file.
type source struct {
	kind            portolan.Kind
	namespace, name string
	file            string
}

// all are the kinds without which nothing is served.
var all = []portolan.Kind{portolan.KindService, portolan.KindEndpointSlice}

func newObjects(description []byte, log *slog.Logger) (*objects, error) {
	judge, err := portolan.NewNode(description)
	if err != nil {
		return nil, err
	}
	return &objects{
		judge: judge, texts: map[source][]byte{}, synced: map[portolan.Kind]bool{}, pods: map[*pod]bool{}, log: log,
	}, nil
}

// Reconfigure is for followers that describe the node; a pod's node is described by its attachment.
func (o *objects) Reconfigure([]byte) ([]portolan.Rejection, error) { return nil, nil }

// Apply takes a v1 List of objects that are new or different.
func (o *objects) Apply(list []byte) ([]portolan.Rejection, error) {
	var read struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(list, &read); err != nil {
		return nil, err
	}
	texts := map[source][]byte{}
	for _, item := range read.Items {
		var header struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal(item, &header); err != nil {
			return nil, err
		}
		texts[source{kinds[header.Kind], header.Metadata.Namespace, header.Metadata.Name, ""}] = item
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	maps.Copy(o.texts, texts)
	return o.commit(func(batch *portolan.Batch) { batch.Apply(list) })
}

// kinds are those that are followed, as objects say them.
var kinds = map[string]portolan.Kind{
	"Service": portolan.KindService, "EndpointSlice": portolan.KindEndpointSlice,
	"Endpoints": portolan.KindEndpoints, "Node": portolan.KindNode,
}

// Delete forgets an object.
func (o *objects) Delete(kind portolan.Kind, namespace, name string) error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	delete(o.texts, source{kind, namespace, name, ""})
	_, err := o.commit(func(batch *portolan.Batch) { batch.Delete(kind, namespace, name) })
	return err
}

// Synced says that all objects of a kind have been given.
func (o *objects) Synced(kind portolan.Kind) error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.synced[kind] = true
	if err := o.judge.Synced(kind); err != nil {
		return err
	}
	return o.each(func(pod *pod) error { return pod.synced(kind) })
}

// Replace takes files for all there is.
func (o *objects) Replace(files map[string][]byte) ([]portolan.Rejection, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	clear(o.texts)
	for name, text := range files {
		o.texts[source{file: name}] = text
	}
	for _, kind := range all {
		o.synced[kind] = true
	}
	return o.commit(o.fill)
}

// fill makes a batch everything there is.
func (o *objects) fill(batch *portolan.Batch) {
	for _, text := range o.texts {
		batch.Apply(text)
	}
	for kind := range o.synced {
		batch.Replace(kind)
	}
}

// commit makes the same changes for the judge and for every pod.
func (o *objects) commit(change func(*portolan.Batch)) ([]portolan.Rejection, error) {
	var batch portolan.Batch
	change(&batch)
	_, rejections, err := o.judge.Commit(&batch)
	if err != nil {
		return nil, err
	}
	return rejections, o.each(func(pod *pod) error {
		var batch portolan.Batch
		change(&batch)
		return pod.commit(&batch)
	})
}

// each does something for every pod; what fails for one is told of, and costs no other anything.
func (o *objects) each(do func(*pod) error) error {
	var failed []error
	for pod := range o.pods {
		if err := do(pod); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", pod.record.ID, err))
		}
	}
	return errors.Join(failed...)
}

// publish brings what was committed into force in every pod.
func (o *objects) publish() error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.each((*pod).publish)
}

// join gives a pod everything there is now and everything that comes.
func (o *objects) join(pod *pod) error {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	var batch portolan.Batch
	o.fill(&batch)
	if err := pod.commit(&batch); err != nil {
		return err
	}
	o.pods[pod] = true
	return pod.publish()
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
