//go:build cgo

package portolan

// #include <stdlib.h>
// #include "portolan.h"
import "C"

import (
	"net/netip"
	"unsafe"
)

// cMemory is memory of C for one call: a struct that C reads must not point to memory of Go.
type cMemory []unsafe.Pointer

// take is zeros, freed with all the rest.
func (m *cMemory) take(bytes int) unsafe.Pointer {
	pointer := C.calloc(1, C.size_t(bytes+1))
	*m = append(*m, pointer)
	return pointer
}

// optional is nil for an empty text.
func (m *cMemory) optional(text string) *C.char {
	if text == "" {
		return nil
	}
	pointer := C.CString(text)
	*m = append(*m, unsafe.Pointer(pointer))
	return pointer
}

func (m *cMemory) strings(texts []string) **C.char {
	list := (**C.char)(m.take(len(texts) * int(unsafe.Sizeof(uintptr(0)))))
	for i, text := range texts {
		pointer := C.CString(text)
		*m = append(*m, unsafe.Pointer(pointer))
		unsafe.Slice(list, len(texts))[i] = pointer
	}
	return list
}

// list is an array of C made of one of Go; nil of none.
func list[T, F any](m *cMemory, from []F, convert func(F) T) (*T, C.size_t) {
	if len(from) == 0 {
		return nil, 0
	}
	var one T
	first := (*T)(m.take(len(from) * int(unsafe.Sizeof(one))))
	to := unsafe.Slice(first, len(from))
	for i, each := range from {
		to[i] = convert(each)
	}
	return first, C.size_t(len(from))
}

func (m *cMemory) addresses(from []netip.Addr) (*C.portolan_address, C.size_t) {
	return list(m, from, fromAddr)
}

func (m *cMemory) prefixes(from []netip.Prefix) (*C.portolan_prefix, C.size_t) {
	return list(m, from, func(from netip.Prefix) C.portolan_prefix {
		return C.portolan_prefix{address: fromAddr(from.Addr()), length: C.uint8_t(from.Bits())}
	})
}

func (m *cMemory) free() {
	for _, pointer := range *m {
		C.free(pointer)
	}
}
