package portolan

import "unsafe"

// Descriptors are read and written by the library where they lie: the layouts must be one.
const (
	_ = uint(unsafe.Sizeof(Descriptor{}) - 48)
	_ = uint(48 - unsafe.Sizeof(Descriptor{}))
)

// Version says which library is linked, or ErrNoEngine.
func Version() (string, error) { return version() }

// DropText says in one sentence why a packet was dropped; empty without the engine, and for 0.
func DropText(reason uint8) string { return dropText(reason) }
