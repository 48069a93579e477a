package proxy

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"
)

// ErrFileChanged ends a proxy whose configuration file was written or replaced.
var ErrFileChanged = errors.New("the configuration file changed: start again")

// fileLook is how often the file is looked at. A mounted ConfigMap is exchanged by a symbolic link, which notifications
// of the file itself do not tell of; its content does.
const fileLook = time.Second

// WatchFile ends with ctx, or calls changed with ErrFileChanged once the file's content is another.
func WatchFile(ctx context.Context, path string, changed context.CancelCauseFunc) {
	before, _ := os.ReadFile(path)
	ticker := time.NewTicker(fileLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// A file that is gone for a moment is on its way.
		if now, err := os.ReadFile(path); err == nil && !bytes.Equal(now, before) {
			changed(ErrFileChanged)
			return
		}
	}
}
