package attachment

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Record is an attachment as it is kept.
type Record struct {
	Attachment
	// Inode tells the namespace from a later one of the same path.
	Inode uint64 `json:"inode"`
	// Settings are the kernel's that were changed in it, by path, as they were before.
	Settings map[string]string `json:"settings,omitempty"`
	// Wire is the pod's interface as it was found, where all of its packets pass the dataplane; nil: a TUN is used.
	Wire *Wire `json:"wire,omitempty"`
}

// Store keeps a file for each attachment in a directory, which one process at a time owns.
type Store struct {
	directory string
	lock      *os.File
}

// ErrOwned: another process has the store open.
var ErrOwned = errors.New("is in use by another process")

// ErrUnreadable: a record is no record. What it was about cannot be undone any more.
var ErrUnreadable = errors.New("is not an attachment's record")

const suffix = ".json"

// Open takes the directory, and makes it if it is not there.
func Open(directory string) (*Store, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(directory, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrOwned
		}
		return nil, fmt.Errorf("%s: %w", directory, err)
	}
	return &Store{directory, lock}, nil
}

// Close lets others have it.
func (s *Store) Close() error { return s.lock.Close() }

func (s *Store) path(id ID) string {
	return filepath.Join(s.directory, id.ContainerID+"@"+id.IfName+suffix)
}

// Put writes a record, whole or not at all, and returns when it is on the disk.
func (s *Store) Put(record *Record) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	path := s.path(record.ID)
	beside := path + "~"
	if err := writeSynced(beside, text); err != nil {
		return err
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	return s.sync()
}

// Remove forgets an attachment; no effect if it is not known.
func (s *Store) Remove(id ID) error {
	if err := os.Remove(s.path(id)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return s.sync()
}

// Get reads a record; nil if there is none.
func (s *Store) Get(id ID) (*Record, error) {
	record, err := read(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return record, err
}

// All reads every record. What cannot be read costs no other anything, and is told of in the error.
func (s *Store) All() (records []*Record, err error) {
	entries, err := os.ReadDir(s.directory)
	if err != nil {
		return nil, err
	}
	var unread []error
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), suffix) {
			continue
		}
		record, err := read(filepath.Join(s.directory, entry.Name()))
		if err != nil {
			unread = append(unread, err)
			continue
		}
		records = append(records, record)
	}
	return records, errors.Join(unread...)
}

func read(path string) (*Record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	record := new(Record)
	if err = json.Unmarshal(text, record); err == nil {
		err = record.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("%s %w: %w", path, ErrUnreadable, err)
	}
	return record, nil
}

func writeSynced(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Sync(), file.Close())
}

// sync makes names durable.
func (s *Store) sync() error {
	directory, err := os.Open(s.directory)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
