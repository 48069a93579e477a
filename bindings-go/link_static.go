//go:build cgo && !portolan_system && !portolan_musl

package portolan

// Directories of CGO_LDFLAGS come first: with -L in it, another archive than the release build's is linked.

// #cgo CFLAGS: -I${SRCDIR}/../include
// #cgo linux LDFLAGS: -L${SRCDIR}/../target/release -l:libportolan.a -lm -lpthread -ldl
// #cgo !linux LDFLAGS: ${SRCDIR}/../target/release/libportolan.a -lm -lpthread -ldl
import "C"
