//go:build cgo

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// serveUDP answers every datagram to the port with the host's own words and where it came from.
func (h host) serveUDP(t testing.TB, port int, words string) {
	t.Helper()
	for _, network := range []string{"udp4", "udp6"} {
		var socket net.PacketConn
		var err error
		h.within(func() { socket, err = net.ListenPacket(network, fmt.Sprint(":", port)) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = socket.Close() })
		go func() { // ends when the socket is closed
			buffer := make([]byte, 64)
			for {
				_, from, err := socket.ReadFrom(buffer)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil {
					host, _, _ := net.SplitHostPort(from.String())
					_, _ = socket.WriteTo([]byte(words+" for "+host), from)
				}
			}
		}()
	}
}

// askOver asks once more by a connected UDP socket, five times if need be.
func askOver(socket net.Conn) (string, error) {
	buffer := make([]byte, 64)
	var last error
	for range 5 {
		if _, last = socket.Write([]byte("who?")); last != nil {
			return "", last
		}
		_ = socket.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
		var count int
		if count, last = socket.Read(buffer); last == nil {
			return string(buffer[:count]), nil
		}
		if errors.Is(last, syscall.ECONNREFUSED) {
			return "", last
		}
	}
	return "", last
}

func (h host) askUDP(address netip.AddrPort) (string, error) {
	ctx, cancel := background()
	defer cancel()
	socket, err := h.dial(ctx, "udp", address.String())
	if err != nil {
		return "", err
	}
	defer socket.Close()
	return askOver(socket)
}

// askedBy asks by a transport other than TCP, and gives the answer's words, or the error's.
func (h host) askedBy(transport corev1.Protocol, address string) string {
	ask := h.askUDP
	if transport == corev1.ProtocolSCTP {
		ask = h.askSCTP
	}
	words, err := ask(netip.MustParseAddrPort(address))
	if err != nil {
		return err.Error()
	}
	return words
}

// otherTransports asks the same Service as doors does, by UDP and SCTP.
func (c *cluster) otherTransports(t *testing.T) {
	t.Helper()
	for _, transport := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolSCTP} {
		for _, door := range []struct {
			what    string
			from    host
			address string
			want    string
		}{
			{"a pod to a ClusterIP", c.pods[1].host, "10.96.0.80:80", "pod0 for 10.244.1.6"},
			{"a pod to a ClusterIP, IPv6", c.pods[1].host, "[fd00:96::50]:80", "pod0 for fd00:244:0:1::6"},
			{"the node to a ClusterIP", c.node, "10.96.0.80:80", "pod0 for " + nodeIPv4},
			{"outside to a NodePort", c.client, nodeIPv4 + ":30080", "pod0 for " + nodeIPv4},
			{"outside to a NodePort, IPv6", c.client, "[" + nodeIPv6 + "]:30080", "pod0 for " + nodeIPv6},
			{"outside to a load balancer's address", c.client, "203.0.113.80:80", "pod0 for " + nodeIPv4},
		} {
			eventually(t, fmt.Sprint(transport, ", ", door.what, " (", door.want, ")"), func() bool {
				return door.from.askedBy(transport, door.address) == door.want
			})
		}
	}
	c.heldDatagrams(t)
}

// heldDatagrams: a socket that goes on sending is answered by whoever serves, and told when nobody does.
func (c *cluster) heldDatagrams(t *testing.T) {
	t.Helper()
	for _, address := range []string{"10.96.0.80:80", "[fd00:96::50]:80"} {
		socket, err := c.pods[2].dial(context.Background(), "udp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		says := func(want string) func() bool {
			return func() bool {
				words, err := askOver(socket)
				return err == nil && len(words) >= len(want) && words[:len(want)] == want
			}
		}
		eventually(t, "datagrams to "+address, says("pod0"))
		c.put("web", c.pods[1])
		eventually(t, "datagrams to another endpoint of "+address, says("pod1"))
		c.put("web")
		eventually(t, "datagrams to nobody at "+address, func() bool {
			_, err := askOver(socket)
			return errors.Is(err, syscall.ECONNREFUSED)
		})
		c.put("web", c.pods[0])
		eventually(t, "datagrams again to "+address, says("pod0"))
	}
}
