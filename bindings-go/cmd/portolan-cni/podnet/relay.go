package podnet

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Relay hands ICMP errors that the pod's interface receives to the device as well: there they are translated, if they are
// about a translated packet. The kernel gets them too and finds no socket. A rule could not do this: it does not see ICMP
// types, and neighbour discovery must not be forwarded (RFC 4861, 7.1.1).
type Relay struct {
	from *os.File
	done chan struct{}
}

// longest is as much of an error as is relayed: IPv6's minimum MTU (RFC 4443, 2.4).
const longest = 1280

// NewRelay starts relaying from an interface to the device. It is run inside the namespace.
func NewRelay(ifName string) (*Relay, error) {
	from, err := net.InterfaceByName(ifName)
	if err != nil {
		return nil, err
	}
	to, err := net.InterfaceByName(Device)
	if err != nil {
		return nil, err
	}
	socket, err := packetSocket(from.Index)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	relay := &Relay{socket, make(chan struct{})}
	go relay.run(to.Index)
	return relay, nil
}

// packetSocket receives ICMP errors from an interface, from the IP header on.
func packetSocket(index int) (*os.File, error) {
	// No protocol yet: nothing is received before the filter is in place.
	descriptor, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	socket := os.NewFile(uintptr(descriptor), "packets")
	program, err := errorsOnly()
	if err == nil {
		err = unix.SetsockoptSockFprog(descriptor, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program)
	}
	if err == nil {
		err = unix.Bind(descriptor, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: index})
	}
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return socket, nil
}

// errorsOnly accepts ICMP destination unreachable, time exceeded and parameter problem, and ICMPv6 errors, which are the
// types below 128; as they are addressed to this host, in one piece, without options or extension headers.
func errorsOnly() (*unix.SockFprog, error) {
	const (
		accept = 19
		reject = 20
	)
	to := func(at, from int) uint8 { return uint8(at - from - 1) }
	raw, err := bpf.Assemble([]bpf.Instruction{
		0:  bpf.LoadExtension{Num: bpf.ExtType},
		1:  bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_HOST, SkipFalse: to(reject, 1)},
		2:  bpf.LoadAbsolute{Off: 0, Size: 1},
		3:  bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x45, SkipFalse: to(13, 3)},
		4:  bpf.LoadAbsolute{Off: 9, Size: 1},
		5:  bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMP, SkipFalse: to(reject, 5)},
		6:  bpf.LoadAbsolute{Off: 6, Size: 2},
		7:  bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: to(reject, 7)},
		8:  bpf.LoadAbsolute{Off: 20, Size: 1},
		9:  bpf.JumpIf{Cond: bpf.JumpEqual, Val: 3, SkipTrue: to(accept, 9)},
		10: bpf.JumpIf{Cond: bpf.JumpEqual, Val: 11, SkipTrue: to(accept, 10)},
		11: bpf.JumpIf{Cond: bpf.JumpEqual, Val: 12, SkipTrue: to(accept, 11)},
		12: bpf.Jump{Skip: uint32(to(reject, 12))},
		13: bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
		14: bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x60, SkipFalse: to(reject, 14)},
		15: bpf.LoadAbsolute{Off: 6, Size: 1},
		16: bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMPV6, SkipFalse: to(reject, 16)},
		17: bpf.LoadAbsolute{Off: 40, Size: 1},
		18: bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: 128, SkipTrue: to(reject, 18)},
		19: bpf.RetConstant{Val: longest},
		20: bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, err
	}
	filters := make([]unix.SockFilter, len(raw))
	for i, each := range raw {
		filters[i] = unix.SockFilter{Code: each.Op, Jt: each.Jt, Jf: each.Jf, K: each.K}
	}
	return &unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}, nil
}

// run relays until the relay is closed.
func (r *Relay) run(device int) {
	defer close(r.done)
	raw, err := r.from.SyscallConn()
	if err != nil {
		return
	}
	packet := make([]byte, longest)
	for {
		size, err := r.from.Read(packet)
		if errors.Is(err, unix.ENETDOWN) {
			continue // told once when the interface goes down
		}
		if err != nil || size == 0 {
			return
		}
		protocol := uint16(unix.ETH_P_IP)
		if packet[0]>>4 == 6 {
			protocol = unix.ETH_P_IPV6
		}
		to := unix.SockaddrLinklayer{Protocol: bigEndian(protocol), Ifindex: device}
		// What the device does not take is lost, as errors may be.
		_ = raw.Control(func(descriptor uintptr) { _ = unix.Sendto(int(descriptor), packet[:size], 0, &to) })
	}
}

// Close stops relaying; again has no effect.
func (r *Relay) Close() error {
	err := r.from.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	<-r.done
	return err
}

// bigEndian is a number as it stands in packets.
func bigEndian(number uint16) uint16 { return number<<8 | number>>8 }
