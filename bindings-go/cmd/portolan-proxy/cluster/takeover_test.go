//go:build cgo

package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// kubeProxyTables are kube-proxy's for one Service with pod 0 for its endpoint, by its names and in its form: maps of
// verdicts, and a chain for each Service and each endpoint.
const kubeProxyTables = `table ip kube-proxy {
	comment "rules for kube-proxy"
	set cluster-ips { type ipv4_addr; elements = { 10.96.0.80 } }
	chain endpoint-K2MB4OZQ-default/web/tcp/__10.244.1.5/8080 {
		ip saddr 10.244.1.5 jump mark-for-masquerade
		meta l4proto tcp dnat to 10.244.1.5:8080
	}
	chain service-4AT6LBPK-default/web/tcp/ {
		ip daddr 10.96.0.80 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade
		numgen random mod 1 vmap { 0 : goto endpoint-K2MB4OZQ-default/web/tcp/__10.244.1.5/8080 }
	}
	map service-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 10.96.0.80 . tcp . 80 : goto service-4AT6LBPK-default/web/tcp/ }
	}
	chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
	chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
	chain masquerading {
		meta mark & 0x4000 == 0 return
		meta mark set meta mark xor 0x4000
		masquerade fully-random
	}
	chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
	chain nat-output { type nat hook output priority -100; jump services; }
	chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
}
table ip6 kube-proxy { chain nat-prerouting { type nat hook prerouting priority dstnat; }; }
`

// kubeProxyChains are the same in mode iptables, beside a chain of kubelet's and one of a CNI plugin's.
const kubeProxyChains = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-4AT6LBPK - [0:0]
:KUBE-SEP-K2MB4OZQ - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:CNI-HOSTPORT - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -j CNI-HOSTPORT
-A KUBE-SERVICES -d 10.96.0.80/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-4AT6LBPK
-A KUBE-SVC-4AT6LBPK -j KUBE-SEP-K2MB4OZQ
-A KUBE-SEP-K2MB4OZQ -p tcp -m tcp -j DNAT --to-destination 10.244.1.5:8080
COMMIT
`

// live is one connection to the Service, over which questions are asked.
type live struct {
	connection net.Conn
	reader     *bufio.Reader
}

// ask asks over the same connection and says whether pod 0 has answered.
func (l live) ask() error {
	_ = l.connection.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprint(l.connection, "GET / HTTP/1.1\r\nHost: web\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && !strings.HasPrefix(string(body), "pod0") {
		err = fmt.Errorf("answered by %s", body)
	}
	return err
}

// connections are that many, from a pod, each of which has asked once.
func connections(t *testing.T, from host, count int) []live {
	t.Helper()
	var all []live
	from.within(func() {
		for range count {
			connection, err := net.DialTimeout("tcp", "10.96.0.80:80", 5*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			all = append(all, live{connection, bufio.NewReader(connection)})
		}
	})
	t.Cleanup(func() {
		for _, each := range all {
			_ = each.connection.Close()
		}
	})
	for _, each := range all {
		if err := each.ask(); err != nil {
			t.Fatal("before: ", err)
		}
	}
	return all
}

// undisturbed does something under a thousand live connections, a datagram socket that goes on asking and a stream of new
// connections, and checks that none of them fails.
func (c *cluster) undisturbed(t *testing.T, do func()) {
	t.Helper()
	const count = 1000
	before := connections(t, c.pods[1].host, count)
	datagrams, err := c.pods[1].dial(context.Background(), "udp", "10.96.0.80:80")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	repeated := c.pods[2].synRetransmissions(t)
	var stop atomic.Bool
	var opened, failed atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			ctx, cancel := background()
			connection, err := c.pods[2].dial(ctx, "tcp", "10.96.0.80:80")
			cancel()
			opened.Add(1)
			if err != nil {
				failed.Add(1)
				continue
			}
			_ = connection.Close()
		}
	}()
	do()
	stop.Store(true)
	<-done
	broken := 0
	for _, each := range before {
		if err := each.ask(); err != nil {
			broken++
		}
	}
	again := c.pods[2].synRetransmissions(t) - repeated
	t.Logf("%d connections: %d broken; %d opened meanwhile: %d failed, %d SYNs were lost",
		count, broken, opened.Load(), failed.Load(), again)
	if broken != 0 || failed.Load() != 0 || again != 0 || opened.Load() == 0 {
		t.Errorf("%d of %d connections broke; of %d new ones %d failed and %d waited for a second SYN",
			broken, count, opened.Load(), failed.Load(), again)
	}
	if words, err := askOver(datagrams); err != nil || !strings.HasPrefix(words, "pod0") {
		t.Errorf("datagrams: %q, %v", words, err)
	}
}

// synRetransmissions counts the SYNs that a host had to send again: a packet that met no rules is lost, and the next one a
// second later is not.
func (h host) synRetransmissions(t *testing.T) (count int) {
	t.Helper()
	var names []string
	for line := range strings.Lines(run(t, "", h.command("cat", "/proc/net/netstat")...)) {
		fields := strings.Fields(line)
		if at := slices.Index(names, "TCPSynRetrans"); at >= 0 && fields[0] == "TcpExt:" {
			if _, err := fmt.Sscan(fields[at], &count); err != nil {
				t.Fatal(err)
			}
			return count
		}
		names = fields
	}
	t.Fatal("the kernel does not count SYNs that are sent again")
	return count
}

// condemned is when whatever was put out of force is deleted, too.
const condemned = 2 * time.Second

// takeOver starts a proxy where another has left its rules.
func (c *cluster) takeOver(t *testing.T) (proxy *proxied) {
	t.Helper()
	c.undisturbed(t, func() {
		proxy = c.start()
		c.ready()
		time.Sleep(condemned)
	})
	c.doors(t)
	return proxy
}

func TestKubeProxysTablesAreTakenOverUnderConnections(t *testing.T) {
	c := newCluster(t)
	c.server.Put(service("web", 80))
	c.put("web", c.pods[0])
	run(t, kubeProxyTables, c.node.command("nft", "-f", "-")...)
	c.takeOver(t)
	if left := run(t, "", c.node.command("nft", "list", "ruleset")...); strings.Contains(left, "4AT6LBPK") {
		t.Errorf("kube-proxy's chains are still there:\n%s", left)
	}
}

func TestKubeProxysIptablesChainsAreTakenOverUnderConnections(t *testing.T) {
	c := newCluster(t)
	c.server.Put(service("web", 80))
	c.put("web", c.pods[0])
	run(t, kubeProxyChains, c.node.command("iptables-restore")...)
	proxy := c.takeOver(t)
	left := run(t, "", c.node.command("iptables-save", "-t", "nat")...)
	if strings.Contains(left, "KUBE-S") || !strings.Contains(left, "CNI-HOSTPORT") || !strings.Contains(left, "KUBE-KUBELET-CANARY") {
		t.Errorf("left of iptables:\n%s", left)
	}
	if said := proxy.said(); !strings.Contains(said, "KUBE-SVC-4AT6LBPK") {
		t.Errorf("not told of: %s", said)
	}
}

func TestCleanUpRemovesKubeProxysTablesAndChainsToo(t *testing.T) {
	node := newHost(t, "node")
	run(t, kubeProxyTables, node.command("nft", "-f", "-")...)
	for _, tool := range []string{"iptables", "ip6tables"} {
		chains := strings.NewReplacer("10.96.0.80/32", "", "10.244.1.5:8080", "", "-d ", "", "--to-destination ", "--to-destination :8080")
		text := kubeProxyChains
		if tool == "ip6tables" {
			text = chains.Replace(text)
		}
		run(t, text, node.command(tool+"-restore")...)
	}
	run(t, "table ip someone { chain own { accept; }; }", node.command("nft", "-f", "-")...)
	said := run(t, "", node.command("env", "HOME=/nonexistent", program, "--cleanup")...)
	for _, told := range []string{`"ip kube-proxy"`, `"ip6 kube-proxy"`, `tool="iptables"`, `tool="ip6tables"`, "KUBE-SEP-K2MB4OZQ"} {
		if !strings.Contains(said, told) {
			t.Errorf("%s is not told of:\n%s", told, said)
		}
	}
	left := run(t, "", node.command("nft", "list", "ruleset")...)
	if strings.Contains(left, "kube-proxy") || strings.Contains(left, "KUBE-S") || !strings.Contains(left, "table ip someone") {
		t.Errorf("left:\n%s", left)
	}
	if again := run(t, "", node.command(program, "--cleanup")...); strings.Contains(again, "Removed") {
		t.Errorf("removed twice: %s", again)
	}
}
