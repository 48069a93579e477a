package daemon

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/podnet"
)

// maxRequest is the longest request that is read, in bytes: GC names every container of a node.
const maxRequest = 4 << 20

// handler answers the plugin: what it asks for is an attachment, or a collection.
func handler(attachments *attachments) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /attach", answer(func(wanted attachment.Attachment) error {
		if !attachments.objects.ready() {
			return attachment.ErrNotReady
		}
		return attachments.attach(wanted)
	}))
	mux.HandleFunc("POST /check", answer(attachments.check))
	mux.HandleFunc("POST /detach", answer(attachments.detach))
	mux.HandleFunc("POST /collect", answer(func(valid attachment.Valid) error {
		return attachments.collect(valid.Network, valid.Attachments)
	}))
	mux.HandleFunc("POST /status", answer(func(struct{}) error {
		if !attachments.objects.ready() {
			return attachment.ErrNotReady
		}
		return nil
	}))
	return mux
}

// answer decodes what is asked, and says what came of it by status and text.
func answer[T any](do func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		var asked T
		if err := json.NewDecoder(http.MaxBytesReader(w, request.Body, maxRequest)).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		err := do(asked)
		switch {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, attachment.ErrNotReady):
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case errors.Is(err, podnet.ErrGone):
			http.Error(w, err.Error(), http.StatusGone)
		default:
			http.Error(w, err.Error(), http.StatusConflict)
		}
	}
}

// listen opens the socket, which only its owner may use. The store is ours, so a socket that is there is a dead one's.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}
