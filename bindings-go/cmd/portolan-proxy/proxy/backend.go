package proxy

import (
	"context"
	"fmt"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

// Backend executes a node's decisions.
type Backend interface {
	// Sync brings what the node decides now into force. The node is not changed meanwhile.
	Sync(ctx context.Context) error
	// Run does timed work until ctx ends.
	Run(ctx context.Context) error
	// Close lets go and leaves in force what is.
	Close() error
}

// OpenFunc makes the backend of a configuration for a node.
type OpenFunc func(ctx context.Context, node *portolan.Node, c *config.Configuration) (Backend, error)

// Open makes the backend that the configuration's mode names.
func Open(ctx context.Context, node *portolan.Node, c *config.Configuration) (Backend, error) {
	var backend Backend
	var err error
	if config.InKernel(c.Mode) {
		backend, err = openKernel(ctx, node)
	} else {
		backend, err = openUserspace(ctx, node, Limits(c))
	}
	if err != nil {
		return nil, fmt.Errorf("mode %s: %w", servedMode(c), err)
	}
	return backend, nil
}
