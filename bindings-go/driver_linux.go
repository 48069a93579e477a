//go:build cgo

package portolan

// #include <stdlib.h>
// #include "portolan.h"
import "C"

import "unsafe"

// Driver moves the packets of a device through a dataplane, on threads of the library: Go touches none.
type Driver struct {
	handle *handle[*C.portolan_driver]
}

// StartTUN opens a TUN device and moves its packets, until Close or the device goes. Each queue takes a worker. Polling
// ([Dataplane.Poll], on the clock of [DriverNow]) and publishing stay the caller's.
func (d *Dataplane) StartTUN(options TUNOptions) (*Driver, error) {
	name := C.CString(options.Name)
	defer C.free(unsafe.Pointer(name))
	size := C.size_t(len(options.Descriptors)+1) * C.size_t(unsafe.Sizeof(C.int(0)))
	descriptors := (*C.int)(C.malloc(size)) // a pointer to Go's memory must not lie in a struct that C reads
	defer C.free(unsafe.Pointer(descriptors))
	copyInts(unsafe.Slice(descriptors, len(options.Descriptors)), options.Descriptors)
	wanted := C.portolan_tun_options{
		queues: C.uint32_t(options.Queues), name: name, mtu: C.uint32_t(options.MTU),
		descriptors: descriptors, descriptor_count: C.size_t(len(options.Descriptors)),
		up: choice(options.Up, 1, 0), no_offload: choice(options.NoOffload, 1, 0),
	}
	wanted.struct_size = C.uint32_t(unsafe.Sizeof(wanted))
	return d.start(func(dataplane *C.portolan_dataplane, pointer **C.portolan_driver, said **C.portolan_error) C.portolan_status {
		return C.portolan_driver_start(dataplane, &wanted, pointer, said)
	})
}

// StartAFPacket opens packet sockets and moves their packets, until Close or an interface goes; otherwise as
// [Dataplane.StartTUN]. On one interface it is a next hop: what other stations send to the interface goes back to them,
// translated, and they route it by its new destination. Between two it is a bump in the wire. Neither resolves
// neighbours. Takes CAP_NET_RAW.
func (d *Dataplane) StartAFPacket(options AFPacketOptions) (*Driver, error) {
	name := C.CString(options.Interface)
	defer C.free(unsafe.Pointer(name))
	wanted := C.portolan_af_packet_options{
		queues: C.uint32_t(options.Queues), name: name,
		up: choice(options.Up, 1, 0), software_offload: choice(options.SoftwareOffload, 1, 0),
	}
	if options.OtherSide != "" {
		wanted.other_side = C.CString(options.OtherSide)
		defer C.free(unsafe.Pointer(wanted.other_side))
	}
	wanted.struct_size = C.uint32_t(unsafe.Sizeof(wanted))
	return d.start(func(dataplane *C.portolan_dataplane, pointer **C.portolan_driver, said **C.portolan_error) C.portolan_status {
		return C.portolan_driver_start_af_packet(dataplane, &wanted, pointer, said)
	})
}

// start keeps the driver that begin starts on the dataplane.
func (d *Dataplane) start(
	begin func(*C.portolan_dataplane, **C.portolan_driver, **C.portolan_error) C.portolan_status,
) (driver *Driver, err error) {
	err = d.handle.use(func(dataplane *C.portolan_dataplane) error {
		var pointer *C.portolan_driver
		var said *C.portolan_error
		if err := check(begin(dataplane, &pointer, &said), said); err != nil {
			return err
		}
		free := func(pointer *C.portolan_driver) { C.portolan_driver_stop(&pointer, nil) }
		driver = &Driver{newHandle(pointer, free)}
		own(driver, driver.handle)
		return nil
	})
	return driver, err
}

func copyInts(to []C.int, from []int) {
	for i, each := range from {
		to[i] = C.int(each)
	}
}

// Name is the interface's, or both with a + between; empty of a closed driver.
func (d *Driver) Name() (name string) {
	_ = d.handle.use(func(driver *C.portolan_driver) error {
		name = C.GoString(C.portolan_driver_name(driver))
		return nil
	})
	return name
}

// Losses say what was asked for and not granted, and what each costs.
func (d *Driver) Losses() (losses []string) {
	_ = d.handle.use(func(driver *C.portolan_driver) error {
		for index := C.size_t(0); ; index++ {
			loss := C.portolan_driver_loss(driver, index)
			if loss == nil {
				return nil
			}
			losses = append(losses, C.GoString(loss))
		}
	})
	return losses
}

// Stats are the counts of each queue.
func (d *Driver) Stats() (queues []DriverStats, err error) {
	err = d.handle.use(func(driver *C.portolan_driver) error {
		var c C.portolan_driver_stats
		c.struct_size = C.uint32_t(unsafe.Sizeof(c))
		for queue := C.uint32_t(0); C.portolan_driver_stats_read(driver, queue, &c) == C.PORTOLAN_STATUS_OK; queue++ {
			queues = append(queues, DriverStats{
				ReceivedPackets: uint64(c.received_packets), ReceivedBytes: uint64(c.received_bytes),
				SentPackets: uint64(c.sent_packets), SentBytes: uint64(c.sent_bytes),
				Passed: uint64(c.passed), Forwarded: uint64(c.forwarded),
				Replied: uint64(c.replied), Dropped: uint64(c.dropped),
				Bursts: uint64(c.bursts), Waits: uint64(c.waits),
				Unreadable: uint64(c.unreadable), Unsegmentable: uint64(c.unsegmentable),
				RefusedWrites: uint64(c.refused_writes), ShortWrites: uint64(c.short_writes),
				FailedWrites: uint64(c.failed_writes), CPUNanos: uint64(c.cpu_nanos),
				OtherFrames: uint64(c.other_frames), MissedFrames: uint64(c.missed_frames),
			})
		}
		return nil
	})
	return queues, err
}

// Close stops the threads and waits for them; again has no effect. An error says why it had ended by itself.
func (d *Driver) Close() error {
	h := d.handle
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.pointer == nil {
		return nil
	}
	var said *C.portolan_error
	return check(C.portolan_driver_stop(&h.pointer, &said), said)
}

// DriverNow is the time on the clock that drivers use.
func DriverNow() int64 { return int64(C.portolan_driver_now()) }
