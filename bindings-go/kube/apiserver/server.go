// Package apiserver is an HTTP server of the Kubernetes API's shape for tests: lists, watches from a resource version,
// bookmarks, selectors, and the faults that clients meet: watches cut, versions forgotten (410 Gone), slowness.
package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// Object is anything with metadata.
type Object = metav1.Object

// resource is one collection: where it is served, and what its list is called.
type resource struct{ path, version, kind string }

var (
	services  = resource{"/api/v1/services", "v1", "Service"}
	nodes     = resource{"/api/v1/nodes", "v1", "Node"}
	slicesOf  = resource{"/apis/discovery.k8s.io/v1/endpointslices", "discovery.k8s.io/v1", "EndpointSlice"}
	cidrs     = resource{"/apis/networking.k8s.io/v1/servicecidrs", "networking.k8s.io/v1", "ServiceCIDR"}
	resources = []resource{services, nodes, slicesOf, cidrs}
)

// event is one change, with the object as it was before and is after; nil where there is none.
type event struct {
	version       uint64
	of            resource
	before, after Object
}

// Server is the API server. All of its methods may be called from any goroutine.
type Server struct {
	http *httptest.Server

	mutex   sync.Mutex
	version uint64
	objects map[resource]map[types.NamespacedName]Object
	log     []event
	changed chan struct{} // closed and replaced at every change
	cut     chan struct{} // closed and replaced to end all watches
	closed  bool
	delay   time.Duration
	events  []map[string]any
	lists   int
	refuse  map[string]bool
	failing bool
}

// New starts a server on loopback. The caller closes it.
func New() *Server {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("apiserver: %v", err))
	}
	return NewAt(socket)
}

// NewAt starts a server at a socket, which may be of another network namespace. The caller closes the server, which
// closes the socket.
func NewAt(socket net.Listener) *Server {
	server := &Server{
		version: 1,
		objects: map[resource]map[types.NamespacedName]Object{},
		changed: make(chan struct{}),
		cut:     make(chan struct{}),
		refuse:  map[string]bool{},
	}
	mux := http.NewServeMux()
	for _, of := range resources {
		server.objects[of] = map[types.NamespacedName]Object{}
		mux.HandleFunc("GET "+of.path, func(w http.ResponseWriter, r *http.Request) { server.serve(of, w, r) })
	}
	mux.HandleFunc("GET /api/v1/nodes/{name}", server.getNode)
	mux.HandleFunc("POST /apis/events.k8s.io/v1/namespaces/{namespace}/events", server.takeEvent)
	server.http = &httptest.Server{Listener: socket, Config: &http.Server{Handler: mux}}
	server.http.Start()
	return server
}

// Close ends the server and every watch, those that come while it closes too.
func (s *Server) Close() {
	s.mutex.Lock()
	close(s.cut)
	s.closed = true
	s.mutex.Unlock()
	s.http.CloseClientConnections()
	s.http.Close()
}

// Config is how client-go reaches the server, which speaks JSON only.
func (s *Server) Config() *rest.Config {
	return &rest.Config{
		Host: s.http.URL, QPS: 10000, Burst: 10000,
		ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON},
	}
}

// Put creates or replaces an object: a Service, an EndpointSlice, a Node or a ServiceCIDR.
func (s *Server) Put(object Object) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	of, name := resourceOf(object), nameOf(object)
	before := s.objects[of][name]
	s.version++
	object.SetResourceVersion(strconv.FormatUint(s.version, 10))
	s.objects[of][name] = object
	s.publish(event{s.version, of, before, object})
}

// Delete removes an object; no effect if it is not there.
func (s *Server) Delete(object Object) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	of, name := resourceOf(object), nameOf(object)
	before := s.objects[of][name]
	if before == nil {
		return
	}
	delete(s.objects[of], name)
	s.version++
	s.publish(event{s.version, of, before, nil})
}

// Cut ends all watches in the middle of their stream.
func (s *Server) Cut() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.closed {
		close(s.cut)
		s.cut = make(chan struct{})
	}
}

// Forget drops the history: whoever watches from an older version is answered 410 Gone and must list again.
func (s *Server) Forget() {
	s.mutex.Lock()
	s.log = nil
	s.mutex.Unlock()
	s.Cut()
}

// Delay has every watch event, and every answer to a list, come so late.
func (s *Server) Delay(delay time.Duration) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.delay = delay
}

// Fail has every request answered 503 Service Unavailable, and ends all watches, until it is told otherwise.
func (s *Server) Fail(fail bool) {
	s.mutex.Lock()
	s.failing = fail
	s.mutex.Unlock()
	s.Cut()
}

// Forbid has every request for this path answered 403 Forbidden.
func (s *Server) Forbid(path string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.refuse[path] = true
}

// Lists counts the lists that were asked for.
func (s *Server) Lists() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.lists
}

// Events are the events.k8s.io/v1 Events that clients created.
func (s *Server) Events() []map[string]any {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.events)
}

// publish is called with the mutex held.
func (s *Server) publish(event event) {
	s.log = append(s.log, event)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) serve(of resource, w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	refused, failing := s.refuse[of.path], s.failing
	s.mutex.Unlock()
	if failing {
		status(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "not now")
		return
	}
	if refused {
		status(w, http.StatusForbidden, metav1.StatusReasonForbidden, "not for you")
		return
	}
	matches, err := parseSelectors(r)
	if err != nil {
		status(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	if r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1" {
		s.watch(of, matches, w, r)
		return
	}
	s.mutex.Lock()
	s.lists++
	delay := s.delay
	items := []json.RawMessage{}
	for _, object := range s.objects[of] {
		if matches.match(object) {
			items = append(items, encode(of, object))
		}
	}
	version := s.version
	s.mutex.Unlock()
	time.Sleep(delay)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": of.version, "kind": of.kind + "List", "items": items,
		"metadata": map[string]string{"resourceVersion": strconv.FormatUint(version, 10)},
	})
}

func (s *Server) getNode(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	node := s.objects[nodes][types.NamespacedName{Name: r.PathValue("name")}]
	if node == nil {
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, "no such node")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encode(nodes, node))
}

func (s *Server) takeEvent(w http.ResponseWriter, r *http.Request) {
	event, err := readEvent(r.Body)
	if err != nil {
		status(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	s.mutex.Lock()
	s.events = append(s.events, event)
	s.mutex.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(event)
}

// readEvent reads an Event, in JSON or protobuf, as JSON has it.
func readEvent(body io.Reader) (event map[string]any, err error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
	if err != nil {
		return nil, err
	}
	if text, err = json.Marshal(object); err != nil {
		return nil, err
	}
	return event, json.Unmarshal(text, &event)
}

func resourceOf(object Object) resource {
	switch object.(type) {
	case *corev1.Service:
		return services
	case *corev1.Node:
		return nodes
	case *discoveryv1.EndpointSlice:
		return slicesOf
	case *networkingv1.ServiceCIDR:
		return cidrs
	}
	panic(fmt.Sprintf("apiserver: %T is not served", object))
}

func nameOf(object Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}

// encode writes an object with its kind, which typed objects leave out.
func encode(of resource, object Object) json.RawMessage {
	text, err := json.Marshal(object)
	if err != nil {
		panic(fmt.Sprintf("apiserver: %v", err))
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		panic(fmt.Sprintf("apiserver: %v", err))
	}
	maps.Copy(fields, map[string]json.RawMessage{
		"apiVersion": json.RawMessage(strconv.Quote(of.version)), "kind": json.RawMessage(strconv.Quote(of.kind)),
	})
	text, _ = json.Marshal(fields)
	return text
}

// selectors are what a request asks for.
type selectors struct {
	labels labels.Selector
	fields fields.Selector
}

func parseSelectors(r *http.Request) (selectors, error) {
	query := r.URL.Query()
	byLabel, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		return selectors{}, err
	}
	byField, err := fields.ParseSelector(query.Get("fieldSelector"))
	return selectors{byLabel, byField}, err
}

func (s selectors) match(object Object) bool {
	named := fields.Set{"metadata.name": object.GetName(), "metadata.namespace": object.GetNamespace()}
	if service, ok := object.(*corev1.Service); ok {
		named["spec.clusterIP"] = service.Spec.ClusterIP
	}
	return s.labels.Matches(labels.Set(object.GetLabels())) && s.fields.Matches(named)
}

func status(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(failure(code, reason, message))
}

func failure(code int, reason metav1.StatusReason, message string) metav1.Status {
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: strings.ToLower(message),
	}
}
