package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"

	portolan "github.com/portolan/portolan/bindings-go"
)

// Target is what a Follower feeds; a [portolan.Node] is one. Only the goroutine of Run calls it.
type Target interface {
	Reconfigure(description []byte) ([]portolan.Rejection, error)
	Apply(objects []byte) ([]portolan.Rejection, error)
	Delete(kind portolan.Kind, namespace, name string) error
	Synced(kind portolan.Kind) error
}

// RenderFunc brings the node's decisions to whatever executes them: a dataplane, a ruleset. It is called once after the
// first full lists and then after every batch of changes. If it fails, it is called again, later and later.
type RenderFunc func(ctx context.Context, batch Batch) error

// Batch is what one call of a RenderFunc brings into force.
type Batch struct {
	// Services and EndpointSlices count the objects that were applied or deleted.
	Services, EndpointSlices int
	// Queued is when the first of them arrived.
	Queued time.Time
	// Triggers are when what the EndpointSlices of a family tell of happened, as their
	// endpoints.kubernetes.io/last-change-trigger-time annotations say. What happened before Run began is left out: how
	// long that took says nothing of this process.
	Triggers map[corev1.IPFamily][]time.Time
}

// Intervals between attempts to render, doubled from the first to the last.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// required are the kinds that a node waits for before it decides anything.
var required = [...]portolan.Kind{portolan.KindService, portolan.KindEndpointSlice}

// Follower hands what informers say to a node, in batches. Its handlers may be called from any goroutine.
type Follower struct {
	target   Target
	render   RenderFunc
	logger   logr.Logger
	recorder events.EventRecorder
	pause    time.Duration

	wake  chan struct{}
	moved atomic.Bool // the description depends on something that is another now

	surroundings surroundings // Run's own
	began        time.Time    // Run did

	mutex   sync.Mutex
	pending map[key]runtime.Object // nil: deleted
	queued  time.Time
	listed  map[portolan.Kind]cache.InformerSynced
}

// key names one object.
type key struct {
	kind            portolan.Kind
	namespace, name string
}

// Option is a setting of NewFollower.
type Option func(*Follower)

// WithRender has render called whenever decisions may have changed. Without it the host asks the node itself.
func WithRender(render RenderFunc) Option { return func(f *Follower) { f.render = render } }

// WithLogger has rejections and failures logged. Without it nothing is.
func WithLogger(logger logr.Logger) Option { return func(f *Follower) { f.logger = logger } }

// WithRecorder has what cannot be served told as Events about the object.
func WithRecorder(recorder events.EventRecorder) Option {
	return func(f *Follower) { f.recorder = recorder }
}

// WithPause has changes wait, and be rendered together, until so much time has passed since the last ones were. Without it
// a change is rendered when it comes.
func WithPause(pause time.Duration) Option { return func(f *Follower) { f.pause = pause } }

// NewFollower makes a follower that feeds target.
func NewFollower(target Target, options ...Option) *Follower {
	follower := &Follower{
		target:       target,
		render:       func(context.Context, Batch) error { return nil },
		logger:       logr.Discard(),
		wake:         make(chan struct{}, 1),
		surroundings: surroundings{prefixes: map[string][]string{}},
		pending:      map[key]runtime.Object{},
		listed:       map[portolan.Kind]cache.InformerSynced{},
	}
	for _, option := range options {
		option(follower)
	}
	return follower
}

// Follow takes a kind's objects from an informer, which the host runs. To be called before Run.
func (f *Follower) Follow(kind portolan.Kind, informer cache.SharedInformer) error {
	registration, err := informer.AddEventHandler(f.Handler(kind))
	if err != nil {
		return fmt.Errorf("following %s: %w", kindName(kind), err)
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.listed[kind] = registration.HasSynced
	return nil
}

// Listed says that all objects of a kind have been given to its Handler: for events that come from no informer.
func (f *Follower) Listed(kind portolan.Kind) {
	f.mutex.Lock()
	f.listed[kind] = func() bool { return true }
	f.mutex.Unlock()
	f.rouse()
}

// Run feeds the node until ctx ends, and then returns nil. Nothing is applied before the first full lists.
func (f *Follower) Run(ctx context.Context) error {
	f.began = time.Now()
	if !cache.WaitForCacheSync(ctx.Done(), f.haveListed) {
		return nil
	}
	batch, _, err := f.drain()
	if err != nil {
		return err
	}
	for _, kind := range f.kinds() {
		if err := f.target.Synced(kind); err != nil {
			return fmt.Errorf("all of %s: %w", kindName(kind), err)
		}
	}
	for anything := true; ; {
		if anything {
			if err := f.bringIntoForce(ctx, batch); err != nil {
				return err
			}
			if !wait(ctx, f.pause) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
		if batch, anything, err = f.drain(); err != nil {
			return err
		}
	}
}

// bringIntoForce renders until it succeeds, taking what changes meanwhile into the same batch.
func (f *Follower) bringIntoForce(ctx context.Context, batch Batch) error {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := f.render(ctx, batch)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		// A worker that still reads an older generation is no failure.
		if !errors.Is(err, portolan.ErrAgain) {
			f.logger.Error(err, "Not rendered; trying again", "after", retry)
		}
		if !wait(ctx, retry) {
			return nil
		}
		later, _, err := f.drain()
		if err != nil {
			return err
		}
		batch = batch.and(later)
	}
}

// wait lets time pass, and says whether ctx goes on.
func wait(ctx context.Context, pause time.Duration) bool {
	if pause <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// haveListed: has every kind that is awaited been given in full?
func (f *Follower) haveListed() bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, kind := range required {
		if f.listed[kind] == nil {
			return false
		}
	}
	for _, listed := range f.listed {
		if !listed() {
			return false
		}
	}
	return true
}

// kinds are those listed that the node knows.
func (f *Follower) kinds() []portolan.Kind {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	var kinds []portolan.Kind
	for kind := range f.listed {
		if kind != KindServiceCIDR {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// put remembers an object's last state, nil if it is gone.
func (f *Follower) put(key key, object runtime.Object) {
	f.mutex.Lock()
	if len(f.pending) == 0 {
		f.queued = time.Now()
	}
	f.pending[key] = object
	f.mutex.Unlock()
	f.rouse()
}

// DescribeAgain has the node described anew, if [WithDescription] says how: what the description depends on beside the
// cluster's objects may be another now.
func (f *Follower) DescribeAgain() {
	f.moved.Store(true)
	f.rouse()
}

func (f *Follower) rouse() {
	select {
	case f.wake <- struct{}{}:
	default: // Run has been told and has not looked yet.
	}
}

// drain applies everything that is pending, if there is anything: what is gone first, since what is new may take its
// addresses.
func (f *Follower) drain() (batch Batch, anything bool, err error) {
	f.mutex.Lock()
	pending := f.pending
	batch = Batch{Queued: f.queued, Triggers: map[corev1.IPFamily][]time.Time{}}
	f.pending = map[key]runtime.Object{}
	f.mutex.Unlock()
	moved := f.moved.Swap(false)
	f.surroundings.changed = f.surroundings.changed || moved && f.surroundings.describe != nil

	var list []any
	for key, object := range pending {
		if f.surroundings.take(key, object) {
			continue
		}
		batch.count(key.kind)
		if object != nil {
			list = append(list, slim(object))
			if family, at, told := trigger(object); told && at.After(f.began) {
				batch.Triggers[family] = append(batch.Triggers[family], at)
			}
			continue
		}
		if err := f.target.Delete(key.kind, key.namespace, key.name); err != nil {
			return batch, true, fmt.Errorf("deleting %s: %w", key, err)
		}
	}
	if err := f.describe(); err != nil {
		return batch, true, err
	}
	for objects := range slices.Chunk(list, applyAtOnce) {
		if err := f.apply(pending, objects); err != nil {
			return batch, true, err
		}
	}
	return batch, moved || len(pending) > 0, nil
}

// applyAtOnce bounds how many objects stand in memory as text.
const applyAtOnce = 500

func (f *Follower) apply(pending map[key]runtime.Object, objects []any) error {
	text, err := encode(objects)
	if err != nil {
		return err
	}
	rejections, err := f.target.Apply(text)
	if err != nil {
		return fmt.Errorf("applying %d objects: %w", len(objects), err)
	}
	for _, rejection := range rejections {
		f.report(pending, rejection)
	}
	return nil
}

// describe describes the node anew if what surrounds it gives another description.
func (f *Follower) describe() error {
	description, isNew, err := f.surroundings.description()
	if err != nil {
		f.logger.Error(err, "Not described anew")
	}
	if !isNew {
		return nil
	}
	if _, err := f.target.Reconfigure(description); err != nil {
		return fmt.Errorf("describing the node: %w", err)
	}
	return nil
}

func (b *Batch) count(kind portolan.Kind) {
	switch kind {
	case portolan.KindService:
		b.Services++
	case portolan.KindEndpointSlice, portolan.KindEndpoints:
		b.EndpointSlices++
	}
}

// and is b and a later batch in one.
func (b Batch) and(later Batch) Batch {
	b.Services += later.Services
	b.EndpointSlices += later.EndpointSlices
	for family, triggers := range later.Triggers {
		b.Triggers[family] = append(b.Triggers[family], triggers...)
	}
	return b
}

func (k key) String() string {
	if k.namespace == "" {
		return kindName(k.kind) + " " + k.name
	}
	return kindName(k.kind) + " " + k.namespace + "/" + k.name
}
