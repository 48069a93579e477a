//go:build cgo && portolan_system && !portolan_musl

package portolan

// #cgo pkg-config: portolan
import "C"
