package proxy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/metrics"
)

// loopback serves NodePorts of TCP at loopback addresses, whose packets never leave the host and are never translated:
// each has a socket that listens while the Service has endpoints, and whose connections are copied to one of them
// (KEP-6032). They end with the process.
type loopback struct {
	addresses []netip.Addr

	mutex     sync.Mutex
	nodePorts map[types.NamespacedName][]nodePort
	endpoints map[portolan.PortKey]reached
	listening map[netip.AddrPort]listening
	changed   bool
	begun     bool // something has been decided
}

// listening is a socket, and whose connections it takes.
type listening struct {
	net.Listener
	of portolan.PortKey
}

type nodePort struct {
	name   string
	number uint16
}

// reached is where a ServicePort's connections go.
type reached struct {
	endpoints []netip.AddrPort
	affinity  time.Duration
	last      netip.AddrPort // to which the last went
	lastAt    time.Time
}

func newLoopback(addresses []netip.Addr) *loopback {
	return &loopback{
		addresses: addresses, nodePorts: map[types.NamespacedName][]nodePort{}, endpoints: map[portolan.PortKey]reached{},
		listening: map[netip.AddrPort]listening{},
	}
}

// handler follows the NodePorts of Services.
func (l *loopback) handler() cache.ResourceEventHandler {
	return serviceHandler(func(name types.NamespacedName, spec *corev1.ServiceSpec) { l.know(name, spec.Ports) })
}

func (l *loopback) know(service types.NamespacedName, ports []corev1.ServicePort) {
	var found []nodePort
	for _, port := range ports {
		if port.NodePort != 0 && (port.Protocol == corev1.ProtocolTCP || port.Protocol == "") {
			found = append(found, nodePort{port.Name, uint16(port.NodePort)})
		}
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if slices.Equal(l.nodePorts[service], found) {
		return
	}
	l.changed = true
	if found == nil {
		delete(l.nodePorts, service)
	} else {
		l.nodePorts[service] = found
	}
	if l.begun { // the decisions about it may have been followed before it was known
		l.listen()
	}
}

// follow takes in what the node decided since the last time, and listens accordingly.
func (l *loopback) follow(changes portolan.Changes) {
	if len(l.addresses) == 0 {
		return
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.begun = true
	if changes.Full {
		clear(l.endpoints)
		l.changed = true
	}
	for change := range changes.All() {
		if change.Kind != portolan.ChangeNode && change.Protocol == portolan.TCP {
			l.changed = true
			l.decided(change)
		}
	}
	if l.changed {
		l.listen()
	}
}

func (l *loopback) decided(change portolan.Change) {
	var to reached
	if change.Kind == portolan.ChangePut && change.Service != nil {
		to.affinity = change.Service.Affinity
		// The node itself reaches the whole cluster's endpoints by NodePorts, whatever the policy.
		for _, endpoint := range change.Service.Endpoints {
			if endpoint.InCluster {
				to.endpoints = append(to.endpoints, endpoint.Address)
			}
		}
	}
	if to.endpoints == nil {
		delete(l.endpoints, change.PortKey)
		return
	}
	before := l.endpoints[change.PortKey]
	to.last, to.lastAt = before.last, before.lastAt
	l.endpoints[change.PortKey] = to
}

// listen listens where there is something to reach, and nowhere else. What another process has is asked for again at the
// next change. Called with the mutex held.
func (l *loopback) listen() {
	wanted := map[netip.AddrPort]portolan.PortKey{}
	for service, ports := range l.nodePorts {
		for _, port := range ports {
			for _, address := range l.addresses {
				key := portolan.PortKey{
					Namespace: service.Namespace, Name: service.Name, PortName: port.name,
					Protocol: portolan.TCP, IPv6: address.Is6(),
				}
				if _, some := l.endpoints[key]; some {
					wanted[netip.AddrPortFrom(address, port.number)] = key
				}
			}
		}
	}
	l.changed = false
	for at, open := range l.listening {
		if _, still := wanted[at]; !still {
			_ = open.Close()
			delete(l.listening, at)
		}
	}
	for at, key := range wanted {
		open, is := l.listening[at]
		if !is {
			listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
			if err != nil {
				klog.Background().Error(err, "NodePort not served at a loopback address", "service", klog.KRef(key.Namespace, key.Name))
				metrics.LoopbackFailed(at.Addr().Is6())
				l.changed = true
				continue
			}
			open.Listener = listener
			go l.accept(listener, at) // ends when the listener is closed
		}
		open.of = key
		l.listening[at] = open
	}
	metrics.Loopback(l.countListening())
}

func (l *loopback) countListening() (ipv4, ipv6 int) {
	for at := range l.listening {
		if at.Addr().Is6() {
			ipv6++
		} else {
			ipv4++
		}
	}
	return ipv4, ipv6
}

// Close ends every listener; connections go on while the process does.
func (l *loopback) Close() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for at, open := range l.listening {
		_ = open.Close()
		delete(l.listening, at)
	}
}

func (l *loopback) accept(listener net.Listener, at netip.AddrPort) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(acceptPause) // no descriptors, for instance
			continue
		}
		metrics.LoopbackAccepted(at.Addr().Is6())
		go l.serve(client, at) // ends with the connection
	}
}

const (
	acceptPause = 100 * time.Millisecond
	dialTimeout = 5 * time.Second
	dialMost    = 3 // endpoints are tried
)

// serve copies between a client and one endpoint until both have said all they have to say.
func (l *loopback) serve(client net.Conn, at netip.AddrPort) {
	defer client.Close()
	for _, endpoint := range l.choose(at) {
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		server, err := new(net.Dialer).DialContext(ctx, "tcp", endpoint.String())
		cancel()
		if err != nil {
			klog.Background().V(2).Info("Endpoint not reached", "endpoint", endpoint, "error", err)
			continue
		}
		defer server.Close()
		splice(client.(*net.TCPConn), server.(*net.TCPConn))
		return
	}
	_ = client.(*net.TCPConn).SetLinger(0) // a reset: nobody is there
}

// splice copies both ways, and hands on each side's end by itself.
func splice(client, server *net.TCPConn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		_ = server.CloseWrite()
	}()
	_, _ = io.Copy(client, server)
	_ = client.CloseWrite()
	<-done
}

// choose gives endpoints in the order in which to try them: any order, but for session affinity, whose client is always the
// same here.
func (l *loopback) choose(at netip.AddrPort) []netip.AddrPort {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	key := l.listening[at].of
	to, some := l.endpoints[key]
	if !some {
		return nil
	}
	chosen := slices.Clone(to.endpoints)
	rand.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	if kept := slices.Index(chosen, to.last); kept > 0 && time.Since(to.lastAt) < to.affinity {
		chosen[0], chosen[kept] = chosen[kept], chosen[0]
	}
	to.last, to.lastAt = chosen[0], time.Now()
	l.endpoints[key] = to
	return chosen[:min(dialMost, len(chosen))]
}
