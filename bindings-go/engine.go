//go:build cgo

package portolan

/*
#cgo noescape portolan_worker_process
#cgo nocallback portolan_worker_process
#include <stdlib.h>
#include "portolan.h"
*/
import "C"

import (
	"runtime"
	"sync"
	"unsafe"
)

// handle is a pointer of the library, freed once: by close, or with its owner.
type handle[P comparable] struct {
	mutex   sync.RWMutex
	pointer P // zero: closed
	free    func(P)
}

func newHandle[P comparable](pointer P, free func(P)) *handle[P] {
	return &handle[P]{pointer: pointer, free: free}
}

// use runs body with the pointer, which lives as long as body runs. Of two at a time, the library tells the second
// that the handle is busy.
func (h *handle[P]) use(body func(P) error) error {
	h.mutex.RLock()
	defer h.mutex.RUnlock()
	if h.isClosed() {
		return ErrClosed
	}
	return body(h.pointer)
}

func (h *handle[P]) isClosed() bool {
	var none P
	return h.pointer == none
}

// close frees the pointer if it was not, after the calls that are running.
func (h *handle[P]) close() error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if !h.isClosed() {
		h.free(h.pointer)
		var none P
		h.pointer = none
	}
	return nil
}

// own frees the handle when its owner is unreachable, if nobody closed it.
func own[O any, P comparable](owner *O, h *handle[P]) {
	runtime.AddCleanup(owner, func(h *handle[P]) { _ = h.close() }, h)
}

// check turns a status and what is said of it into an error.
func check(status C.portolan_status, said *C.portolan_error) error {
	if status == C.PORTOLAN_STATUS_OK {
		return nil
	}
	kind := map[C.portolan_status]error{
		C.PORTOLAN_STATUS_AGAIN:    ErrAgain,
		C.PORTOLAN_STATUS_STATE:    ErrState,
		C.PORTOLAN_STATUS_LIMIT:    ErrLimit,
		C.PORTOLAN_STATUS_MEMORY:   ErrMemory,
		C.PORTOLAN_STATUS_SYSTEM:   ErrSystem,
		C.PORTOLAN_STATUS_BUSY:     ErrBusy,
		C.PORTOLAN_STATUS_POISONED: ErrPoisoned,
		C.PORTOLAN_STATUS_PANICKED: ErrPoisoned,
	}[status]
	if kind == nil {
		kind = ErrInvalid
	}
	if said == nil {
		return kind
	}
	defer C.portolan_error_free(&said)
	return &Error{
		Object:  C.GoString(C.portolan_error_object(said)),
		Field:   C.GoString(C.portolan_error_field(said)),
		Message: C.GoString(C.portolan_error_message(said)),
		kind:    kind,
	}
}

// taken copies a list of rejections and frees it.
func taken(list *C.portolan_rejections) []Rejection {
	defer C.portolan_rejections_free(&list)
	var rejections []Rejection
	var each C.portolan_rejection
	each.struct_size = C.uint32_t(unsafe.Sizeof(each))
	for index := C.size_t(0); C.portolan_rejections_at(list, index, &each) == C.PORTOLAN_STATUS_OK; index++ {
		rejections = append(rejections, Rejection{
			Object: C.GoString(each.object),
			Field:  C.GoString(each.field),
			Rule:   C.GoString(each.rule),
		})
	}
	return rejections
}

// text gives bytes of Go to C for one call.
func text(bytes []byte) (*C.char, C.size_t) {
	return (*C.char)(unsafe.Pointer(unsafe.SliceData(bytes))), C.size_t(len(bytes))
}

// grown is text that the library writes, in a buffer that is made as large as it says.
func grown(write func(to *C.char, capacity C.size_t, needed *C.size_t) error) (string, error) {
	for room := 1024; ; {
		written := make([]byte, room)
		var needed C.size_t
		to, capacity := text(written)
		if err := write(to, capacity, &needed); err != nil {
			return "", err
		}
		if int(needed) <= room {
			return string(written[:needed-1]), nil
		}
		room = int(needed)
	}
}

func version() (string, error) { return C.GoString(C.portolan_version_string()), nil }

func dropText(reason uint8) string { return C.GoString(C.portolan_strdrop(C.uint8_t(reason))) }
