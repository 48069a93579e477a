//go:build cgo && portolan_musl

package portolan

// With CC=musl-gcc, and -ldflags '-linkmode external -extldflags -static', the program is static. Rust's libunwind lies
// beside the archive that `cargo xtask install --target x86_64-unknown-linux-musl` installs: its lib directory goes
// into CGO_LDFLAGS as -L.

// #cgo CFLAGS: -I${SRCDIR}/../include
// #cgo LDFLAGS: -lportolan -lunwind
import "C"
