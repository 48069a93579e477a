//go:build cgo

package portolan

// #include <stdlib.h>
import "C"

import "unsafe"

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

func (m *cMemory) free() {
	for _, pointer := range *m {
		C.free(pointer)
	}
}
