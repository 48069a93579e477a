//go:build !linux

package proxy

import (
	"context"
	"errors"
)

// addressNotices are Linux's.
func addressNotices(context.Context) (<-chan struct{}, error) { return nil, errors.ErrUnsupported }
