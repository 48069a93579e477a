//go:build !cgo

package portolan

import (
	"iter"
	"net/netip"
)

// Node is one node's view of the cluster's Services. Without the engine there is none.
type Node struct{}

// Dataplane is a Service dataplane. Without the engine there is none.
type Dataplane struct{}

// Worker moves packets. Without the engine there is none.
type Worker struct{}

// Frames are memory of the library. Without the engine there are none.
type Frames struct{}

// DNS answers queries for a node's Services. Without the engine there is none.
type DNS struct{}

// DNSReader answers queries. Without the engine there is none.
type DNSReader struct{}

// NewDNS returns ErrNoEngine.
func NewDNS(DNSConfig) (*DNS, error) { return nil, ErrNoEngine }

// Publish returns ErrNoEngine.
func (*DNS) Publish(*Node, uint32) error { return ErrNoEngine }

// NewReader returns ErrNoEngine.
func (*DNS) NewReader() (*DNSReader, error) { return nil, ErrNoEngine }

// Close does nothing.
func (*DNS) Close() error { return nil }

// Answer returns ErrNoEngine.
func (*DNSReader) Answer([]byte, []byte, bool) (int, DNSOutcome, error) { return 0, 0, ErrNoEngine }

// Close does nothing.
func (*DNSReader) Close() error { return nil }

func version() (string, error) { return "", ErrNoEngine }

func dropText(uint8) string { return "" }

// NewNode returns ErrNoEngine.
func NewNode([]byte) (*Node, error) { return nil, ErrNoEngine }

// Reconfigure returns ErrNoEngine.
func (*Node) Reconfigure([]byte) ([]Rejection, error) { return nil, ErrNoEngine }

// Apply returns ErrNoEngine.
func (*Node) Apply([]byte) ([]Rejection, error) { return nil, ErrNoEngine }

// Replace returns ErrNoEngine.
func (*Node) Replace(Kind, []byte) ([]Rejection, error) { return nil, ErrNoEngine }

// Delete returns ErrNoEngine.
func (*Node) Delete(Kind, string, string) error { return ErrNoEngine }

// Synced returns ErrNoEngine.
func (*Node) Synced(Kind) error { return ErrNoEngine }

// Generation returns ErrNoEngine.
func (*Node) Generation() (uint64, error) { return 0, ErrNoEngine }

// Rejections returns ErrNoEngine.
func (*Node) Rejections() ([]Rejection, error) { return nil, ErrNoEngine }

// SetEndpointTags returns ErrNoEngine.
func (*Node) SetEndpointTags(map[netip.Addr]uint64) error { return ErrNoEngine }

// Commit returns ErrNoEngine.
func (*Node) Commit(*Batch) (uint64, []Rejection, error) { return 0, nil, ErrNoEngine }

// Changes returns ErrNoEngine.
func (*Node) Changes(uint64) (Changes, error) { return Changes{}, ErrNoEngine }

// Frontends yields nothing.
func (*Node) Frontends() iter.Seq[Frontend] { return func(func(Frontend) bool) {} }

// NewDataplane returns ErrNoEngine.
func NewDataplane(Limits, [16]byte) (*Dataplane, error) { return nil, ErrNoEngine }

// NewDataplane returns ErrNoEngine.
func (*Node) NewDataplane(Limits, [16]byte) (*Dataplane, error) { return nil, ErrNoEngine }

// Close does nothing.
func (*Node) Close() error { return nil }

// PutService returns ErrNoEngine.
func (*Dataplane) PutService(uint32, Protocol, ServiceSpec) error { return ErrNoEngine }

// RemoveService returns ErrNoEngine.
func (*Dataplane) RemoveService(uint32) error { return ErrNoEngine }

// SetNode returns ErrNoEngine.
func (*Dataplane) SetNode(NodeSpec) error { return ErrNoEngine }

// Publish returns ErrNoEngine.
func (*Dataplane) Publish() (uint64, []Rejection, error) { return 0, nil, ErrNoEngine }

// Poll returns ErrNoEngine.
func (*Dataplane) Poll(int64) (int64, error) { return 0, ErrNoEngine }

// Stats returns ErrNoEngine.
func (*Dataplane) Stats() (Stats, error) { return Stats{}, ErrNoEngine }

// Explain returns ErrNoEngine.
func (*Dataplane) Explain(int64, []byte, uint16) (Explanation, error) {
	return Explanation{}, ErrNoEngine
}

// Connections yields nothing.
func (*Dataplane) Connections(int64) iter.Seq[Connection] { return func(func(Connection) bool) {} }

// Services returns ErrNoEngine.
func (*Dataplane) Services() ([]ServiceStats, error) { return nil, ErrNoEngine }

// Memory returns ErrNoEngine.
func (Limits) Memory() (uint64, error) { return 0, ErrNoEngine }

// NewWorker returns ErrNoEngine.
func (*Dataplane) NewWorker() (*Worker, error) { return nil, ErrNoEngine }

// NewFrames returns ErrNoEngine.
func (*Dataplane) NewFrames(int, int) (*Frames, error) { return nil, ErrNoEngine }

// RegisterFrames returns ErrNoEngine.
func (*Dataplane) RegisterFrames([]byte, int) (*Frames, error) { return nil, ErrNoEngine }

// Close does nothing.
func (*Dataplane) Close() error { return nil }

// Process returns ErrNoEngine.
func (*Worker) Process(int64, *Frames, int) error { return ErrNoEngine }

// Close does nothing.
func (*Worker) Close() error { return nil }

// Len is 0.
func (*Frames) Len() int { return 0 }

// Frame is nil.
func (*Frames) Frame(int) []byte { return nil }

// Descriptors is nil.
func (*Frames) Descriptors() []Descriptor { return nil }

// Close does nothing.
func (*Frames) Close() error { return nil }
