package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// install puts this program into a directory of CNI plugins, in one step: the container runtime may be calling it.
func install(directory string) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(own)
	if err != nil {
		return err
	}
	defer from.Close()
	beside, err := os.CreateTemp(directory, ".portolan-cni-")
	if err != nil {
		return err
	}
	defer os.Remove(beside.Name()) // no effect once it is renamed
	_, err = io.Copy(beside, from)
	if err = errors.Join(err, beside.Chmod(0o755), beside.Sync(), beside.Close()); err != nil {
		return err
	}
	return os.Rename(beside.Name(), filepath.Join(directory, "portolan-cni"))
}
