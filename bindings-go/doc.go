// Package portolan is Kubernetes Services as a library: a Service dataplane inside your program.
//
// A [Node] takes Kubernetes objects and decides what one node does with them. A [Dataplane], filled from a node,
// holds connections and tables; each goroutine that moves packets has a [Worker].
//
// The engine is the Rust library, linked statically by cgo. From a clean clone, one command builds and tests:
//
//	cargo build --release -p portolan-ffi && (cd bindings-go && go test ./...)
//
// Without cgo (CGO_ENABLED=0) everything compiles, and what needs the engine returns [ErrNoEngine].
//
// # Cost
//
// A call into C costs some 40 ns, whatever it does. [Worker.Process] makes one for a whole burst: at 32 packets
// that is about one nanosecond for each. Descriptors and frames lie in memory of the library ([Dataplane.NewFrames]),
// so nothing is copied, pinned or allocated.
package portolan
