//go:build cgo

package proxy

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	portolan "github.com/portolan/portolan/bindings-go"
)

var localhost = netip.MustParseAddr("127.0.0.1")

// named is a server that says its name to whoever has said all there is to say.
func named(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() { // ends when it is closed
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			said, _ := io.ReadAll(client)
			_, _ = client.Write(append(said, name...))
			_ = client.Close()
		}
	}()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// served is a NodePort at 127.0.0.1 of a Service with these endpoints.
func served(t *testing.T, l *loopback, affinity time.Duration, endpoints ...netip.AddrPort) netip.AddrPort {
	t.Helper()
	at := free(t)
	l.know(types.NamespacedName{Namespace: "default", Name: "web"}, []corev1.ServicePort{{Name: "http", NodePort: int32(at.Port())}})
	decide(l, affinity, endpoints...)
	t.Cleanup(l.Close)
	return at
}

func free(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

func decide(l *loopback, affinity time.Duration, endpoints ...netip.AddrPort) {
	change := portolan.Change{
		Kind:    portolan.ChangePut,
		PortKey: portolan.PortKey{Namespace: "default", Name: "web", PortName: "http", Protocol: portolan.TCP},
		Service: &portolan.ServiceSpec{Affinity: affinity},
	}
	for _, each := range endpoints {
		change.Service.Endpoints = append(change.Service.Endpoints, portolan.Endpoint{Address: each, InCluster: true})
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.decided(change)
	l.listen()
}

// ask says a word, then that it was all, and gives the answer.
func ask(t *testing.T, at netip.AddrPort) string {
	t.Helper()
	connection, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err.Error()
	}
	defer connection.Close()
	_, _ = connection.Write([]byte("I ask "))
	_ = connection.CloseWrite()
	answer, err := io.ReadAll(connection)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

func TestAConnectionToLocalhostIsCopiedToTheEndpointUntilBothHaveEnded(t *testing.T) {
	l := newLoopback([]netip.Addr{localhost})
	at := served(t, l, 0, named(t, "a"))
	if said := ask(t, at); said != "I ask a" {
		t.Error(said)
	}
	decide(l, 0)
	if said := ask(t, at); said == "I ask a" {
		t.Error("served without endpoints")
	}
}

func TestAnEndpointThatRefusesIsPassedOver(t *testing.T) {
	l := newLoopback([]netip.Addr{localhost})
	at := served(t, l, 0, free(t), free(t), named(t, "a"))
	for range 10 {
		if said := ask(t, at); said != "I ask a" {
			t.Fatal(said)
		}
	}
}

func TestSessionAffinityKeepsLocalhostsEndpoint(t *testing.T) {
	l := newLoopback([]netip.Addr{localhost})
	a, b := named(t, "a"), named(t, "b")
	at := served(t, l, time.Hour, a, b)
	first := ask(t, at)
	for range 20 {
		if said := ask(t, at); said != first {
			t.Fatalf("%q after %q", said, first)
		}
	}
	// Another endpoint that comes or goes does not matter; without affinity, all are chosen.
	decide(l, time.Hour, a, b, named(t, "c"))
	if said := ask(t, at); said != first {
		t.Errorf("%q after %q", said, first)
	}
	decide(l, 0, a, b)
	seen := map[string]bool{}
	for range 100 {
		seen[ask(t, at)] = true
	}
	if !seen["I ask a"] || !seen["I ask b"] {
		t.Errorf("chosen: %v", seen)
	}
}

func TestANodePortThatAnotherProcessHasIsAskedForAgain(t *testing.T) {
	l := newLoopback([]netip.Addr{localhost})
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := other.Addr().(*net.TCPAddr).AddrPort()
	l.know(types.NamespacedName{Namespace: "default", Name: "web"}, []corev1.ServicePort{
		{Name: "http", NodePort: int32(at.Port())}, {Name: "dns", NodePort: 1, Protocol: corev1.ProtocolUDP},
	})
	defer l.Close()
	a := named(t, "a")
	decide(l, 0, a)
	if !l.changed || len(l.listening) != 0 {
		t.Fatalf("listening %v", l.listening)
	}
	_ = other.Close()
	decide(l, 0, a)
	if said := ask(t, at); said != "I ask a" || l.changed {
		t.Error(said)
	}
}

func TestANodePortThatIsKnownAfterItsEndpointsIsServed(t *testing.T) {
	l := newLoopback([]netip.Addr{localhost})
	defer l.Close()
	l.follow(portolan.Changes{})
	decide(l, 0, named(t, "a"))
	at, web := free(t), types.NamespacedName{Namespace: "default", Name: "web"}
	l.know(web, []corev1.ServicePort{{Name: "http", NodePort: int32(at.Port())}})
	if said := ask(t, at); said != "I ask a" {
		t.Error(said)
	}
	l.know(web, nil)
	if said := ask(t, at); said == "I ask a" {
		t.Error("served without a NodePort")
	}
}
