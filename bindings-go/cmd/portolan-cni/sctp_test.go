package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Chunks of RFC 9260, 3.2.
const (
	chunkInit       = 1
	chunkInitAck    = 2
	chunkCookieEcho = 10
	chunkCookieAck  = 11
)

// sctpPacket is a packet of SCTP with one chunk. Kernels without SCTP carry it over raw sockets.
type sctpPacket struct {
	from, to uint16
	tag      uint32 // of whom it is for
	chunk    byte
	value    []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (p sctpPacket) bytes() []byte {
	text := binary.BigEndian.AppendUint16(nil, p.from)
	text = binary.BigEndian.AppendUint16(text, p.to)
	text = binary.BigEndian.AppendUint32(text, p.tag)
	text = append(text, 0, 0, 0, 0, p.chunk, 0)
	text = binary.BigEndian.AppendUint16(text, uint16(4+len(p.value)))
	text = append(text, p.value...)
	binary.LittleEndian.PutUint32(text[8:], crc32.Checksum(text, castagnoli))
	return text
}

// initValue is what INIT and INIT ACK say, with whose tag.
func initValue(tag uint32, parameters ...byte) []byte {
	value := binary.BigEndian.AppendUint32(nil, tag)
	return append(append(value, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1), parameters...)
}

// rawSCTP is a socket that sends and receives SCTP's packets as they are.
type rawSCTP struct{ descriptor int }

func (p *testPod) rawSCTP(ipv6 bool) (socket rawSCTP) {
	family := unix.AF_INET
	if ipv6 {
		family = unix.AF_INET6
	}
	p.inside(p.name, func() (err error) {
		socket.descriptor, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		if err != nil {
			return err
		}
		return unix.SetsockoptTimeval(socket.descriptor, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	})
	return socket
}

func (s rawSCTP) send(to netip.Addr, packet sctpPacket) error {
	if to.Is6() {
		return unix.Sendto(s.descriptor, packet.bytes(), 0, &unix.SockaddrInet6{Addr: to.As16()})
	}
	return unix.Sendto(s.descriptor, packet.bytes(), 0, &unix.SockaddrInet4{Addr: to.As4()})
}

// receive waits for a chunk of this kind to a port; what is for others, and what a kernel's own SCTP says, is passed over.
func (s rawSCTP) receive(kind byte, port uint16) (packet sctpPacket, from netip.Addr, err error) {
	buffer := make([]byte, 2048)
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); {
		size, sender, err := unix.Recvfrom(s.descriptor, buffer, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return packet, from, err
		}
		text := buffer[:size]
		switch sender := sender.(type) {
		case *unix.SockaddrInet4:
			from, text = netip.AddrFrom4(sender.Addr), text[4*int(text[0]&0xf):] // behind its IP header
		case *unix.SockaddrInet6:
			from = netip.AddrFrom16(sender.Addr)
		}
		if len(text) < 16 || text[12] != kind || binary.BigEndian.Uint16(text[2:]) != port {
			continue
		}
		packet = sctpPacket{
			binary.BigEndian.Uint16(text), port, binary.BigEndian.Uint32(text[4:]), text[12], text[16:],
		}
		if sum := binary.LittleEndian.Uint32(text[8:]); sum != binary.LittleEndian.Uint32(packet.bytes()[8:]) {
			return packet, from, errors.New("a wrong checksum")
		}
		return packet, from, nil
	}
	return packet, from, os.ErrDeadlineExceeded
}

// associates shakes hands with a Service's port 7, whose endpoint is the server's port 7007 (RFC 9260, 5.1).
func associates(t *testing.T, client, server *testPod, service netip.Addr) {
	t.Helper()
	const own, public, inner = 40007, 7, 7007
	const clientTag, serverTag = 0x11111111, 0x22222222
	cookie := []byte{0, 7, 0, 8, 'c', 'o', 'o', 'k'}
	here, there := client.rawSCTP(service.Is6()), server.rawSCTP(service.Is6())
	defer unix.Close(here.descriptor)
	defer unix.Close(there.descriptor)
	var seen sctpPacket // by the server
	var sender netip.Addr
	for _, step := range []struct {
		asked, answered byte
		tag             uint32
		say, answer     []byte
	}{
		{chunkInit, chunkInitAck, 0, initValue(clientTag), initValue(serverTag, cookie...)},
		{chunkCookieEcho, chunkCookieAck, serverTag, cookie[4:], nil},
	} {
		err := here.send(service, sctpPacket{own, public, step.tag, step.asked, step.say})
		if err == nil {
			seen, sender, err = there.receive(step.asked, inner)
		}
		if err != nil || string(seen.value) != string(step.say) {
			t.Fatalf("%s: chunk %d does not arrive: %+v %v", service, step.asked, seen, err)
		}
		if sender.String() != client.ipv4 && sender.String() != client.ipv6 {
			t.Errorf("%s: the endpoint sees %s", service, sender)
		}
		answered, from := sctpPacket{}, netip.Addr{}
		err = there.send(sender, sctpPacket{inner, seen.from, clientTag, step.answered, step.answer})
		if err == nil {
			answered, from, err = here.receive(step.answered, own)
		}
		if err != nil || from != service || answered.from != public || string(answered.value) != string(step.answer) {
			t.Fatalf("%s: chunk %d does not come back: %+v of %s: %v", service, step.answered, answered, from, err)
		}
	}
}
