package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/podnet"
)

// attachments are the pods of this node: those on disk are those that are served.
type attachments struct {
	limits  portolan.Limits
	objects *objects
	store   *attachment.Store
	log     *slog.Logger

	mutex sync.Mutex
	pods  map[attachment.ID]*pod
}

// attach serves an attachment; again has no effect.
func (a *attachments) attach(wanted attachment.Attachment) error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if err := wanted.Validate(); err != nil {
		return err
	}
	inode, err := podnet.Inode(wanted.Netns)
	if err != nil {
		return err
	}
	record, err := a.store.Get(wanted.ID)
	if err != nil && !errors.Is(err, attachment.ErrUnreadable) {
		return err
	}
	if record != nil && (record.Inode != inode || !same(record.Attachment, wanted)) {
		if err := a.detachLocked(wanted.ID); err != nil {
			return fmt.Errorf("replacing %s: %w", wanted.ID, err)
		}
		record = nil
	}
	for id, pod := range a.pods {
		if pod.record.Inode == inode && id != wanted.ID {
			return fmt.Errorf("%s: the namespace has Services by attachment %s", wanted.ID, id)
		}
	}
	if record != nil {
		return a.serve(record)
	}
	record = &attachment.Record{Attachment: wanted, Inode: inode}
	if wanted.Mode != attachment.ModeWire {
		err := a.serve(record)
		if wanted.Mode == attachment.ModeTUN || !errors.Is(err, podnet.ErrNoRules) {
			return err
		}
		a.log.Info("all of its packets will pass", "attachment", record.ID.String(), "because", err)
		record = &attachment.Record{Attachment: wanted, Inode: inode}
	}
	record.Wire = new(attachment.Wire)
	return a.serve(record)
}

// same: would the two be arranged alike?
func same(one, other attachment.Attachment) bool {
	return one.Netns == other.Netns && one.Ports == other.Ports && one.Mode == other.Mode &&
		slices.Equal(one.Addresses, other.Addresses) && slices.Equal(one.ServiceCIDRs, other.ServiceCIDRs)
}

// serve brings a record's pod into force: it is on disk before anything is changed, and gone again if that fails.
func (a *attachments) serve(record *attachment.Record) error {
	if running := a.pods[record.ID]; running != nil {
		if running.check() == nil {
			return nil
		}
		a.stop(running)
	}
	var mtu int
	err := podnet.In(record.Netns, record.Inode, func() (err error) {
		mtu, err = podnet.Survey(record)
		return err
	})
	if err != nil {
		return err
	}
	if err := a.store.Put(record); err != nil {
		return err
	}
	started, err := a.start(record, mtu)
	if err != nil {
		return errors.Join(err, Undo(a.store, record))
	}
	a.pods[record.ID] = started
	if record.Wire == nil || record.Wire.Laid {
		return nil
	}
	record.Wire.Laid = true
	if err := a.store.Put(record); err != nil {
		a.stop(started)
		return errors.Join(err, Undo(a.store, record))
	}
	return nil
}

// start makes a pod that has every Service before the first packet comes.
func (a *attachments) start(record *attachment.Record, mtu int) (*pod, error) {
	pod, err := newPod(a.limits, record, a.log)
	if err != nil {
		return nil, err
	}
	if err := a.objects.join(pod); err != nil {
		a.stop(pod)
		return nil, err
	}
	if err := pod.start(mtu); err != nil {
		a.stop(pod)
		return nil, err
	}
	return pod, nil
}

func (a *attachments) stop(pod *pod) {
	a.objects.leave(pod)
	delete(a.pods, pod.record.ID)
	if err := pod.close(); err != nil {
		pod.log.Error("closing", "error", err)
	}
}

// Undo leaves the namespace as it was found, if it is there, and forgets the attachment. The plugin does the same where
// no daemon runs.
func Undo(store *attachment.Store, record *attachment.Record) error {
	err := podnet.In(record.Netns, record.Inode, func() error { return podnet.Undo(record) })
	if err != nil && !errors.Is(err, podnet.ErrGone) {
		return fmt.Errorf("%s: %w", record.ID, err)
	}
	return store.Remove(record.ID)
}

// detach ends an attachment; no effect if it is not known.
func (a *attachments) detach(id attachment.ID) error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.detachLocked(id)
}

func (a *attachments) detachLocked(id attachment.ID) error {
	if running := a.pods[id]; running != nil {
		a.stop(running)
	}
	return Detach(a.store, id)
}

// Detach is Undo of an attachment by its name; no effect if it is not known. What cannot be read is forgotten: nobody
// would be helped by a pod that cannot be deleted.
func Detach(store *attachment.Store, id attachment.ID) error {
	record, err := store.Get(id)
	switch {
	case errors.Is(err, attachment.ErrUnreadable):
		return store.Remove(id)
	case err != nil || record == nil:
		return err
	}
	return Undo(store, record)
}

// check says what is wrong with an attachment.
func (a *attachments) check(wanted attachment.Attachment) error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	running := a.pods[wanted.ID]
	switch {
	case running == nil:
		return fmt.Errorf("%s is not attached", wanted.ID)
	case !same(running.record.Attachment, wanted):
		return fmt.Errorf("%s is attached otherwise: %+v", wanted.ID, running.record.Attachment)
	}
	return running.check()
}

// collect ends a network's attachments that are not among the valid.
func (a *attachments) collect(network string, valid []attachment.ID) error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	records, err := a.store.All()
	failed := []error{err}
	for _, record := range records {
		if record.Network == network && !slices.Contains(valid, record.ID) {
			failed = append(failed, a.detachLocked(record.ID))
		}
	}
	return errors.Join(failed...)
}

// tend brings what is on disk and what is served together: after a start, and when something in a namespace was lost.
// What belongs to a namespace that is gone goes too.
func (a *attachments) tend() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	records, err := a.store.All()
	if err != nil {
		a.log.Error("reading attachments", "error", err)
	}
	for _, record := range records {
		inode, err := podnet.Inode(record.Netns)
		if errors.Is(err, podnet.ErrGone) || err == nil && inode != record.Inode {
			a.log.Info("its namespace is gone", "attachment", record.ID.String())
			err = a.detachLocked(record.ID)
		} else if err == nil {
			err = a.serve(record)
		}
		if err != nil {
			a.log.Error("not served", "attachment", record.ID.String(), "error", err)
		}
	}
}

// closeAll stops moving packets. Attachments stay on disk, for the next daemon.
func (a *attachments) closeAll() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, pod := range a.pods {
		a.stop(pod)
	}
}
