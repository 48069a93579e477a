//go:build cgo && linux

package portolan_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/portolan/portolan/bindings-go"
)

// One burst of an established connection. benches/c/burst.c does the same without Go; `cargo xtask bench go` runs both.
func BenchmarkProcess(b *testing.B) {
	for _, count := range []int{1, 32, 256} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			_, worker, frames := rig(b, count)
			packets := append([]byte{}, unsafe.Slice(&frames.Frame(0)[0], count*len(frames.Frame(0)))...)
			descriptors := append([]portolan.Descriptor{}, frames.Descriptors()...)
			base := unsafe.Slice(&frames.Frame(0)[0], len(packets))
			burst := func() {
				copy(base, packets)
				copy(frames.Descriptors(), descriptors)
				if err := worker.Process(1, frames, count); err != nil {
					b.Fatal(err)
				}
			}
			burst()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			began := threadTime()
			for b.Loop() {
				burst()
			}
			b.ReportMetric(float64(threadTime()-began)/float64(b.N*count), "cpu-ns/packet")
			if verdict := frames.Descriptors()[0].Verdict; verdict != portolan.Forward {
				b.Error(verdict)
			}
		})
	}
}

// threadTime is the CPU time of this thread, in nanoseconds: whatever else runs here does not count.
func threadTime() int64 {
	var now syscall.Timespec
	const threadClock = 3 // CLOCK_THREAD_CPUTIME_ID
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, threadClock, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}
