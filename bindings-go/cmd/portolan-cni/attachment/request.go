package attachment

import "errors"

// ErrNotReady: the daemon does not know all Services yet.
var ErrNotReady = errors.New("not all Services and EndpointSlices have been listed yet")

// Defaults of both sides.
const (
	DefaultSocket = "/run/portolan-cni/daemon.sock"
	DefaultState  = "/var/lib/portolan-cni"
)

// Valid says which attachments of a network there are; others are to be ended.
type Valid struct {
	Network     string `json:"network"`
	Attachments []ID   `json:"attachments"`
}
