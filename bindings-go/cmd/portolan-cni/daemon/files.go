package daemon

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// filePeriod is how often the directory is looked at.
const filePeriod = time.Second

// followFiles takes a directory of manifests for all there is, until ctx ends.
func followFiles(ctx context.Context, directory string, objects *objects) error {
	var known map[string][]byte
	ticks := time.NewTicker(filePeriod)
	defer ticks.Stop()
	for {
		found, err := readManifests(directory)
		switch {
		case err != nil && known == nil:
			return err
		case err != nil:
			// Half a directory is not the cluster: what is served stays.
			objects.log.Error("reading manifests", "directory", directory, "error", err)
		case known == nil || !maps.EqualFunc(known, found, bytes.Equal):
			rejections, err := objects.Replace(found)
			objects.report(rejections)
			if err == nil {
				err = objects.publish()
			}
			if err != nil {
				objects.log.Error("bringing manifests into force", "error", err)
				break // again at the next look
			}
			known = found
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

// readManifests reads every .yaml, .yml and .json file of a directory. Dot files are being written.
func readManifests(directory string) (map[string][]byte, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for _, entry := range entries {
		name := entry.Name()
		switch filepath.Ext(name) {
		case ".yaml", ".yml", ".json":
		default:
			continue
		}
		if strings.HasPrefix(name, ".") {
			continue
		}
		if found[name], err = os.ReadFile(filepath.Join(directory, name)); err != nil {
			return nil, err
		}
	}
	return found, nil
}
