//go:build cgo

package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// SCTP by raw sockets: a kernel that translates SCTP need not have its sockets. An association's first two packets, INIT
// and INIT ACK (RFC 9260, 3.3.2 and 3.3.3), are what a proxy decides about.
const (
	chunkInit    = 1
	chunkInitAck = 2
	stateCookie  = 7 // the parameter of an INIT ACK that its sender may fill as it likes
	sctpHeader   = 12
	initChunk    = 20
	initTag      = 0x706f7274
)

// rawSCTP is a socket that is given every SCTP packet of one family that reaches the host.
func (h host) rawSCTP(ipv6 bool) (socket int, err error) {
	family := unix.AF_INET
	if ipv6 {
		family = unix.AF_INET6
	}
	h.within(func() { socket, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP) })
	if err == nil {
		err = unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
	}
	return socket, err
}

// association is one SCTP packet with one chunk.
type association struct {
	from, to uint16 // ports
	tag      uint32 // whoever receives it has asked for this one
	chunk    byte
	cookie   string
}

func (a association) bytes() []byte {
	text := binary.BigEndian.AppendUint16(nil, a.from)
	text = binary.BigEndian.AppendUint16(text, a.to)
	text = binary.BigEndian.AppendUint32(text, a.tag)
	text = append(text, 0, 0, 0, 0) // the checksum
	padded := (len(a.cookie) + 3) / 4 * 4
	length := initChunk
	if a.cookie != "" {
		length += 4 + len(a.cookie)
	}
	text = append(text, a.chunk, 0, byte(length>>8), byte(length))
	text = binary.BigEndian.AppendUint32(text, initTag)
	text = binary.BigEndian.AppendUint32(text, 65536)      // window
	text = append(text, 0, 1, 0, 1)                        // streams out and in
	text = binary.BigEndian.AppendUint32(text, 0x01020304) // first sequence number
	if a.cookie != "" {
		text = append(text, 0, stateCookie, byte((4+len(a.cookie))>>8), byte(4+len(a.cookie)))
		text = append(text, a.cookie...)
		text = append(text, make([]byte, padded-len(a.cookie))...)
	}
	// CRC32c, the only field of SCTP that is little-endian (RFC 9260, appendix A).
	binary.LittleEndian.PutUint32(text[8:], crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))
	return text
}

func parseAssociation(text []byte) (parsed association, ok bool) {
	if len(text) < sctpHeader+initChunk {
		return parsed, false
	}
	sum := binary.LittleEndian.Uint32(text[8:])
	zeroed := bytes.Clone(text)
	clear(zeroed[8:12])
	if sum != crc32.Checksum(zeroed, crc32.MakeTable(crc32.Castagnoli)) {
		return parsed, false
	}
	parsed = association{
		from: binary.BigEndian.Uint16(text), to: binary.BigEndian.Uint16(text[2:]),
		tag: binary.BigEndian.Uint32(text[4:]), chunk: text[sctpHeader],
	}
	length := int(binary.BigEndian.Uint16(text[sctpHeader+2:]))
	if begin, end := sctpHeader+initChunk+4, sctpHeader+length; begin < end && end <= len(text) {
		parsed.cookie = string(text[begin:end])
	}
	return parsed, true
}

// receive waits for a packet for a fifth of a second.
func receive(socket int) (packet association, from netip.Addr, ok bool) {
	buffer := make([]byte, 2048)
	count, sender, err := unix.Recvfrom(socket, buffer, 0)
	if err != nil {
		return packet, from, false
	}
	text := buffer[:count]
	switch sender := sender.(type) {
	case *unix.SockaddrInet4:
		from = netip.AddrFrom4(sender.Addr)
		if count < 20 {
			return packet, from, false
		}
		text = text[int(text[0]&0xf)*4:] // a raw socket of IPv4 is given its header too
	case *unix.SockaddrInet6:
		from = netip.AddrFrom16(sender.Addr)
	}
	packet, ok = parseAssociation(text)
	return packet, from, ok
}

func send(socket int, packet association, to netip.Addr) error {
	var address unix.Sockaddr = &unix.SockaddrInet6{Addr: to.As16()}
	if to.Is4() {
		address = &unix.SockaddrInet4{Addr: to.As4()}
	}
	return unix.Sendto(socket, packet.bytes(), 0, address)
}

// serveSCTP answers every INIT to the port with the host's own words and where it came from.
func (h host) serveSCTP(t testing.TB, port uint16, words string) {
	t.Helper()
	for _, ipv6 := range []bool{false, true} {
		socket, err := h.rawSCTP(ipv6)
		if err != nil {
			t.Fatal(err)
		}
		var stop atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !stop.Load() {
				asked, from, ok := receive(socket)
				if ok && asked.chunk == chunkInit && asked.to == port {
					_ = send(socket, association{port, asked.from, initTag, chunkInitAck, words + " for " + from.String()}, from)
				}
			}
			_ = unix.Close(socket)
		}()
		t.Cleanup(func() {
			stop.Store(true)
			<-done
		})
	}
}

var errNoAnswer = errors.New("no answer")

// sctpPorts are given out from here on: a host's own, one for each association.
var sctpPorts atomic.Uint32

// askSCTP begins an association and gives the words of who accepts it.
func (h host) askSCTP(address netip.AddrPort) (string, error) {
	socket, err := h.rawSCTP(address.Addr().Is6())
	if err != nil {
		return "", err
	}
	defer unix.Close(socket)
	port := uint16(40000 + sctpPorts.Add(1)%20000)
	for range 5 {
		if err := send(socket, association{port, address.Port(), 0, chunkInit, ""}, address.Addr()); err != nil {
			return "", err
		}
		for deadline := time.Now().Add(400 * time.Millisecond); time.Now().Before(deadline); {
			answer, from, ok := receive(socket)
			if ok && answer.chunk == chunkInitAck && answer.to == port && answer.from == address.Port() &&
				from == address.Addr() && answer.tag == initTag {
				return answer.cookie, nil
			}
		}
	}
	return "", errNoAnswer
}
