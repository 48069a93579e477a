//go:build cgo

package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// doors asks a Service with one endpoint, pod 0, for what it has: curl from a pod, the node and outside, both families.
func (c *cluster) doors(t *testing.T) {
	t.Helper()
	pod1 := c.pods[1]
	for _, door := range []struct {
		what string
		from host
		url  string
		want string
	}{
		{"a pod to a ClusterIP", pod1.host, "http://10.96.0.80", "pod0 for 10.244.1.6"},
		{"a pod to a ClusterIP, IPv6", pod1.host, "http://[fd00:96::50]", "pod0 for fd00:244:0:1::6"},
		{"the pod to itself", c.pods[0].host, "http://10.96.0.80", "pod0 for " + nodeIPv4},
		{"the node to a ClusterIP", c.node, "http://10.96.0.80", "pod0 for " + nodeIPv4},
		{"outside to a NodePort", c.client, "http://" + nodeIPv4 + ":30080", "pod0 for " + nodeIPv4},
		{"outside to a NodePort, IPv6", c.client, "http://[" + nodeIPv6 + "]:30080", "pod0 for " + nodeIPv6},
		{"outside to a load balancer's address", c.client, "http://203.0.113.80", "pod0 for " + nodeIPv4},
		{"a pod to a NodePort", pod1.host, "http://" + nodeIPv4 + ":30080", "pod0 for " + nodeIPv4},
	} {
		eventually(t, door.what+" ("+door.want+")", answers(door.from, door.url, door.want))
	}
}

// comeAndGo has endpoints come and go under curl.
func (c *cluster) comeAndGo(t *testing.T) {
	t.Helper()
	from, url := c.pods[2].host, "http://10.96.0.80"
	c.put("web", c.pods[1])
	eventually(t, "another endpoint", answers(from, url, "pod1 for 10.244.1.7"))
	c.put("web")
	eventually(t, "no endpoint", answers(from, url, refused))
	c.put("web", c.pods[0])
	eventually(t, "an endpoint again", answers(from, url, "pod0 for 10.244.1.7"))
}

// convergesAfterFaults has the API server fail in every way, and something change meanwhile.
func (c *cluster) convergesAfterFaults(t *testing.T) {
	t.Helper()
	from, url := c.pods[2].host, "http://10.96.0.80"
	next := 1
	for _, fault := range []struct {
		what  string
		begin func()
		end   func()
	}{
		{"a watch that is cut", c.server.Cut, func() {}},
		{"410 Gone", c.server.Forget, func() {}},
		{"a slow server", func() { c.server.Delay(300 * time.Millisecond) }, func() { c.server.Delay(0) }},
		{"a server that is away", func() { c.server.Fail(true) }, func() { c.server.Fail(false) }},
	} {
		fault.begin()
		c.put("web", c.pods[next])
		if fault.what == "a server that is away" {
			time.Sleep(300 * time.Millisecond)
			if said := from.curl(url); !strings.HasPrefix(said, "pod") {
				t.Errorf("%s: Services are gone: %s", fault.what, said)
			}
			fault.end()
		}
		eventually(t, fault.what, answers(from, url, []string{"pod0", "pod1"}[next]+" for 10.244.1.7"))
		fault.end()
		next = 1 - next
	}
	c.put("web", c.pods[0])
	eventually(t, "the end of faults", answers(from, url, "pod0 for 10.244.1.7"))
}

// tables are the tables of nftables on the node.
func (c *cluster) tables(t *testing.T) string {
	t.Helper()
	return run(t, "", c.node.command("nft", "list", "tables")...)
}

func TestCurlReachesServicesThroughTheKernelAsKubeadmSetsItUp(t *testing.T) {
	c := newCluster(t)
	c.server.Put(service("web", 80))
	c.put("web", c.pods[0])
	proxy := c.start()
	c.ready()
	c.doors(t)
	c.otherTransports(t)
	c.comeAndGo(t)
	c.convergesAfterFaults(t)
	// The tables' name and an address that no Service has, as neighbours and clients know them of kube-proxy.
	if tables := c.tables(t); !strings.Contains(tables, "table ip kube-proxy") || !strings.Contains(tables, "table ip6 kube-proxy") {
		t.Errorf("tables %s", tables)
	}
	if said := c.pods[1].curl("http://10.96.99.99"); said != "exit status 28" {
		t.Errorf("an address that no Service has: %s", said)
	}
	if status := proxy.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
	// What was in force stays in force, and the next proxy goes on with it.
	c.doors(t)
	again := c.start()
	c.ready()
	c.comeAndGo(t)
	if err := os.WriteFile(filepath.Join(again.config, "config.conf"), []byte("edited"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status := again.wait(); status == 0 || !strings.Contains(again.said(), "configuration file changed") {
		t.Errorf("an edited configuration: ended with %d\n%s", status, again.said())
	}
	// What needs privilege can be set by itself, and changes no rule.
	ruleset := run(t, "", c.node.command("nft", "list", "ruleset")...)
	run(t, "", c.node.command(program, "--init-only", "--config="+written(t, "kind: KubeProxyConfiguration\n"+
		"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nconntrack: {tcpCloseWaitTimeout: 7m}\n"))...)
	timeout := run(t, "", c.node.command("sysctl", "-n", "net.netfilter.nf_conntrack_tcp_timeout_close_wait")...)
	if timeout != "420\n" || ruleset != run(t, "", c.node.command("nft", "list", "ruleset")...) {
		t.Errorf("--init-only left a timeout of %q, or other rules", timeout)
	}
	// Neither a kubeconfig nor a node's name is needed to clean up.
	said := run(t, "", c.node.command(program, "--cleanup")...)
	for _, table := range []string{`"ip kube-proxy"`, `"ip6 kube-proxy"`} {
		if !strings.Contains(said, table) {
			t.Errorf("%s is not told of: %s", table, said)
		}
	}
	if tables := c.tables(t); tables != "" {
		t.Errorf("left: %s", tables)
	}
	if said := c.pods[1].curl("http://10.96.0.80"); strings.HasPrefix(said, "pod") {
		t.Errorf("still served: %s", said)
	}
}

func TestCurlReachesServicesThroughTheDataplaneInTheProcess(t *testing.T) {
	c := newCluster(t)
	c.server.Put(service("web", 80))
	c.put("web", c.pods[0])
	c.node.sysctl(t, "net.ipv4.conf.default.accept_local=1", "net.ipv4.ip_early_demux=0")
	proxy := c.start(`mode: ""`, "mode: userspace")
	c.ready()
	c.divert(t)
	c.doors(t)
	c.otherTransports(t)
	c.comeAndGo(t)
	c.convergesAfterFaults(t)
	if _, mode := c.node.get(metrics + "/proxyMode"); mode != "userspace" {
		t.Errorf("mode %q", mode)
	}
	if status := proxy.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
}

// written is the path of a file with this text.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// divert routes through the TUN what enters the node or is sent by it to Services: docs/routing.md.
func (c *cluster) divert(t *testing.T) {
	t.Helper()
	const tun = "portolan0"
	for _, family := range []struct {
		ip             func(testing.TB, ...string)
		node, services string
	}{{c.node.ip, nodeIPv4, "10.96.0.0/16"}, {c.node.ip6, nodeIPv6, "fd00:96::/112"}} {
		family.ip(t,
			"route add default dev "+tun+" src "+family.node+" table 100",
			"route add "+family.services+" dev "+tun+" src "+family.node,
			"rule add pref 10 fwmark 0x706c lookup 100",
			"rule add pref 15 iif lo to "+family.node+" dport 30000-32767 lookup 100",
			"rule add pref 20 lookup local", "rule del pref 0")
	}
	run(t, `table inet portolan_routing { chain divert {
		type filter hook prerouting priority mangle
		iifname { lo, `+tun+` } return
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect } return
		meta l4proto { tcp, udp, sctp, icmp, icmpv6 } meta mark set 0x706c
	}; }`, c.node.command("nft", "-f", "-")...)
}

func TestPodsAreToldByTheInterfaceThatTheirPacketsEnterBy(t *testing.T) {
	c := newCluster(t)
	c.server.Put(service("web", 80))
	c.put("web", c.pods[0])
	c.client.ip(t, "route add 10.96.0.0/16 via "+nodeIPv4)
	for _, each := range []struct{ mode, field, name, pod2 string }{
		{"BridgeInterface", "bridgeInterface", "veth1", nodeIPv4}, // one pod's, as if it were a bridge
		{"InterfaceNamePrefix", "interfaceNamePrefix", "veth", "10.244.1.7"},
	} {
		proxy := c.start(`mode: ""`, "mode: nftables", `detectLocalMode: ""`, "detectLocalMode: "+each.mode,
			each.field+`: ""`, each.field+": "+each.name)
		c.ready()
		const url = "http://10.96.0.80"
		eventually(t, each.mode+", its own pod", answers(c.pods[1].host, url, "pod0 for 10.244.1.6"))
		eventually(t, each.mode+", another pod", answers(c.pods[2].host, url, "pod0 for "+each.pod2))
		eventually(t, each.mode+", outside", answers(c.client, url, "pod0 for "+nodeIPv4))
		proxy.stop()
	}
}

func TestAModeThatTheHostCannotDoIsAnErrorAtOnce(t *testing.T) {
	c := newCluster(t)
	line := c.node.command("env", "PATH=/nowhere", program, "--master=http://"+c.address, "--hostname-override="+nodeName,
		"--proxy-mode=nftables")
	said, err := try("", line...)
	if err == nil || !strings.Contains(said, "mode nftables") {
		t.Errorf("%v: %s", err, said)
	}
}

func TestABalancerAsksAtTheHealthCheckNodePort(t *testing.T) {
	c := newCluster(t)
	local := service("web", 80)
	local.Spec.ExternalTrafficPolicy, local.Spec.HealthCheckNodePort = corev1.ServiceExternalTrafficPolicyLocal, 32080
	c.server.Put(local)
	c.put("web", c.pods[0], c.pods[1])
	c.start()
	c.ready()
	const want = `{"service":{"namespace":"default","name":"web"},"localEndpoints":4,"serviceProxyHealthy":true}`
	eventually(t, "two pods of two families", answers(c.client, "http://"+nodeIPv4+":32080/", want))
	c.put("web")
	eventually(t, "none", func() bool { code, _ := c.client.get("http://" + nodeIPv4 + ":32080/"); return code == 503 })
	// Policy Local keeps the client's address.
	c.put("web", c.pods[0])
	eventually(t, "the client's address", answers(c.client, "http://203.0.113.80", "pod0 for 192.168.66.10"))
}
