//go:build cgo

package portolan

// #include "portolan.h"
import "C"

import (
	"fmt"
	"math"
	"unsafe"
)

// Worker moves bursts of packets. It is used by one goroutine at a time; another gets ErrBusy.
type Worker struct {
	handle *handle[*C.portolan_worker]
}

// Process moves the first count packets of frames: each descriptor gets a verdict, each packet to be forwarded or
// answered is rewritten in place. now is a monotonic clock in nanoseconds. It allocates nothing.
func (w *Worker) Process(now int64, frames *Frames, count int) error {
	h := w.handle
	h.mutex.RLock()
	defer h.mutex.RUnlock()
	f := frames.handle
	f.mutex.RLock()
	defer f.mutex.RUnlock()
	if h.pointer == nil || f.pointer == nil {
		return ErrClosed
	}
	if count < 0 || count > frames.count {
		return fmt.Errorf("%w: count: %d of %d frames", ErrInvalid, count, frames.count)
	}
	status := C.portolan_worker_process(h.pointer, C.uint64_t(now), (*C.uint8_t)(frames.base),
		C.size_t(frames.bytes), (*C.portolan_descriptor)(frames.descriptors),
		C.uint32_t(unsafe.Sizeof(Descriptor{})), C.uint32_t(count))
	if status == C.PORTOLAN_STATUS_OK {
		return nil
	}
	return check(status, nil)
}

// Close frees the worker's place; again has no effect.
func (w *Worker) Close() error { return w.handle.close() }

// Frames are packets and their descriptors in memory that Go does not move or scan.
type Frames struct {
	handle       *handle[*C.portolan_frames]
	base         unsafe.Pointer
	bytes        int
	descriptors  unsafe.Pointer
	count, frame int
	host         []byte // memory of Go's that is registered lives as long
}

// NewFrames takes memory for count packets of size bytes each, and sets each descriptor's Offset and Capacity.
func (d *Dataplane) NewFrames(count, size int) (*Frames, error) {
	if count <= 0 || size <= 0 || count > math.MaxInt32 || size > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d frames of %d bytes", ErrInvalid, count, size)
	}
	var pointer *C.portolan_frames
	var said *C.portolan_error
	err := check(C.portolan_frames_new(C.uint32_t(count), C.uint32_t(size), &pointer, &said), said)
	if err != nil {
		return nil, err
	}
	return newFrames(pointer, nil)
}

// RegisterFrames makes frames of memory that the host has and that Go does not move: mapped (a UMEM, guest memory) or
// of C. As many of size bytes as fit. It must stay until the frames are closed.
func (d *Dataplane) RegisterFrames(memory []byte, size int) (*Frames, error) {
	if len(memory) == 0 || size <= 0 || size > math.MaxInt32 {
		return nil, fmt.Errorf("%w: frames of %d bytes in %d", ErrInvalid, size, len(memory))
	}
	var pointer *C.portolan_frames
	var said *C.portolan_error
	base := (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(memory)))
	err := check(C.portolan_frames_register(base, C.size_t(len(memory)), C.uint32_t(size), &pointer, &said), said)
	if err != nil {
		return nil, err
	}
	return newFrames(pointer, memory)
}

func newFrames(pointer *C.portolan_frames, host []byte) (*Frames, error) {
	free := func(pointer *C.portolan_frames) { C.portolan_frames_free(&pointer) }
	var layout C.portolan_frame_layout
	layout.struct_size = C.uint32_t(unsafe.Sizeof(layout))
	if err := check(C.portolan_frames_layout(pointer, &layout), nil); err != nil {
		free(pointer)
		return nil, err
	}
	frames := &Frames{
		newHandle(pointer, free), unsafe.Pointer(layout.base), int(layout.bytes),
		unsafe.Pointer(layout.descriptors), int(layout.count), int(layout.frame_size), host,
	}
	own(frames, frames.handle)
	return frames, nil
}

// Len is how many packets there is room for.
func (f *Frames) Len() int { return f.count }

// Frame is the memory of packet i; not to be used after Close.
func (f *Frames) Frame(i int) []byte {
	all := unsafe.Slice((*byte)(f.base), f.bytes)
	return all[i*f.frame : (i+1)*f.frame : (i+1)*f.frame]
}

// Descriptors are those of all packets; not to be used after Close.
func (f *Frames) Descriptors() []Descriptor {
	return unsafe.Slice((*Descriptor)(f.descriptors), f.count)
}

// Close frees the memory, or gives it back; again has no effect.
func (f *Frames) Close() error { return f.handle.close() }
