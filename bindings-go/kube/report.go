package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	portolan "github.com/portolan/portolan/bindings-go"
)

// Reason and action of the Events about objects that cannot be served as they are.
const (
	rejectedReason = "NotServed"
	rejectedAction = "Serve"
)

// report tells of one thing that is left out: in the log, and as an Event about the object.
func (f *Follower) report(pending map[key]runtime.Object, rejection portolan.Rejection) {
	f.logger.Info("Left out", "object", rejection.Object, "field", rejection.Field, "rule", rejection.Rule)
	if f.recorder == nil {
		return
	}
	note := rejection.Rule
	if rejection.Field != "" {
		note = rejection.Field + ": " + note
	}
	f.recorder.Eventf(regarding(pending, rejection.Object), nil, corev1.EventTypeWarning,
		rejectedReason, rejectedAction, "%s", note)
}

// regarding is the object that a rejection names, with its UID if it is one of those just applied.
func regarding(pending map[key]runtime.Object, named string) runtime.Object {
	kind, path, _ := strings.Cut(named, " ")
	namespace, name, namespaced := strings.Cut(path, "/")
	if !namespaced {
		namespace, name = "", path
	}
	for key, object := range pending {
		if object != nil && kindName(key.kind) == kind && key.namespace == namespace && key.name == name {
			return object
		}
	}
	return &corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name}
}

// EventScheme is what an events.EventRecorder needs to know of the kinds that a Follower reports on.
func EventScheme() *runtime.Scheme {
	known := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(known))
	utilruntime.Must(discoveryv1.AddToScheme(known))
	return known
}
