//go:build cgo && !portolan_system && !portolan_musl

package portolan

// #cgo CFLAGS: -I${SRCDIR}/../include
// #cgo LDFLAGS: ${SRCDIR}/../target/release/libportolan.a -lm -lpthread -ldl
import "C"
