// Package podnet arranges a pod's network namespace: settings, routes and rules that lead packets to Services into the
// dataplane's device, and replies back into it.
package podnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ErrGone: the namespace is not there any more, or another one is.
var ErrGone = errors.New("the network namespace is gone")

// Inode is what tells the namespace at a path from others.
func Inode(path string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.Join(ErrGone, err)
		}
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return stat.Ino, nil
}

// In runs body in the namespace at a path, if it still is the one of this inode. What body starts in C stays there.
func In(path string, inode uint64, body func() error) error {
	namespace, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, ErrGone)
	}
	if err != nil {
		return err
	}
	defer namespace.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(namespace.Fd()), &stat); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if stat.Ino != inode {
		return fmt.Errorf("%s: %w: another is in its place", path, ErrGone)
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: a thread that was in another namespace ends with its goroutine and serves no other.
		runtime.LockOSThread()
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering %s: %w", path, err)
			return
		}
		done <- body()
	}()
	return <-done
}
