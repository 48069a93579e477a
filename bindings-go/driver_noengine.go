//go:build !cgo || !linux

package portolan

// Driver moves the packets of a device; on Linux, with the engine.
type Driver struct{}

// StartTUN returns ErrNoEngine.
func (*Dataplane) StartTUN(TUNOptions) (*Driver, error) { return nil, ErrNoEngine }

// StartAFPacket returns ErrNoEngine.
func (*Dataplane) StartAFPacket(AFPacketOptions) (*Driver, error) { return nil, ErrNoEngine }

// Name is empty.
func (*Driver) Name() string { return "" }

// Losses is nil.
func (*Driver) Losses() []string { return nil }

// Stats returns ErrNoEngine.
func (*Driver) Stats() ([]DriverStats, error) { return nil, ErrNoEngine }

// Close does nothing.
func (*Driver) Close() error { return nil }

// DriverNow is 0.
func DriverNow() int64 { return 0 }
