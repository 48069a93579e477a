//go:build !cgo

package portolan_test

import (
	"errors"
	"testing"

	"github.com/portolan/portolan/bindings-go"
)

func TestWithoutTheEngineTheErrorNamesTheFix(t *testing.T) {
	if _, err := portolan.NewNode(nil); !errors.Is(err, portolan.ErrNoEngine) {
		t.Fatal(err)
	}
	if _, err := (&portolan.Dataplane{}).NewWorker(); !errors.Is(err, portolan.ErrNoEngine) {
		t.Fatal(err)
	}
}
