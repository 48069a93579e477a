package apiserver

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bookmarkEvery is how often a silent watch is told how far it has come.
const bookmarkEvery = 200 * time.Millisecond

// watch streams what happens after the version asked for, as client-go's reflector asks for it.
func (s *Server) watch(of resource, matches selectors, w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	seen, _ := strconv.ParseUint(query.Get("resourceVersion"), 10, 64)
	stream := stream{writer: w, of: of, matches: matches}
	s.mutex.Lock()
	cut := s.cut
	if query.Get("sendInitialEvents") == "true" {
		s.lists++
		for _, object := range s.objects[of] {
			stream.pending = append(stream.pending, event{s.version, of, nil, object})
		}
		seen = s.version
	} else if s.forgot(seen) {
		s.mutex.Unlock()
		status(w, http.StatusGone, metav1.StatusReasonExpired, "too old resource version")
		return
	}
	s.mutex.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if query.Get("sendInitialEvents") == "true" {
		stream.send()
		stream.bookmark(seen, map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	stream.flush()
	for {
		s.mutex.Lock()
		changed, delay := s.changed, s.delay
		if s.forgot(seen) {
			s.mutex.Unlock()
			stream.write("ERROR", failure(http.StatusGone, metav1.StatusReasonExpired, "too old resource version"))
			return
		}
		for _, event := range s.log {
			if event.version > seen && event.of == of {
				stream.pending = append(stream.pending, event)
			}
		}
		seen = s.version
		s.mutex.Unlock()
		time.Sleep(delay)
		stream.send()
		select {
		case <-changed:
		case <-time.After(bookmarkEvery):
			stream.bookmark(seen, nil)
		case <-cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// forgot is called with the mutex held: has something happened after `seen` that is no longer known?
func (s *Server) forgot(seen uint64) bool {
	if len(s.log) == 0 {
		return seen < s.version
	}
	return seen+1 < s.log[0].version
}

// stream is one watch's answer.
type stream struct {
	writer  http.ResponseWriter
	of      resource
	matches selectors
	pending []event
}

// send writes what is pending, as it looks through the selectors: an object that ceases to match is deleted.
func (s *stream) send() {
	for _, event := range s.pending {
		before := event.before != nil && s.matches.match(event.before)
		after := event.after != nil && s.matches.match(event.after)
		switch {
		case before && after:
			s.write("MODIFIED", encode(s.of, event.after))
		case after:
			s.write("ADDED", encode(s.of, event.after))
		case before:
			s.write("DELETED", encode(s.of, event.before))
		}
	}
	s.pending = nil
	s.flush()
}

func (s *stream) bookmark(version uint64, annotations map[string]string) {
	s.write("BOOKMARK", map[string]any{
		"apiVersion": s.of.version, "kind": s.of.kind, "metadata": map[string]any{
			"resourceVersion": strconv.FormatUint(version, 10), "annotations": annotations,
		},
	})
	s.flush()
}

func (s *stream) write(change string, object any) {
	_ = json.NewEncoder(s.writer).Encode(map[string]any{"type": change, "object": object})
}

func (s *stream) flush() { s.writer.(http.Flusher).Flush() }
