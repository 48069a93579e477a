//go:build cgo

package cluster

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// anotherAddress is one that the node has and the cluster does not know of.
const anotherAddress = "198.51.100.11"

func (c *cluster) addAnotherAddress(t *testing.T) {
	t.Helper()
	c.node.ip(t, "addr add "+anotherAddress+"/32 dev lo")
	c.client.ip(t, "route add "+anotherAddress+" via "+nodeIPv4)
}

func TestNodePortsAreServedAtEveryAddressAndLocalhostAsInKubeProxysDefaultMode(t *testing.T) {
	c := newCluster(t)
	c.server.Put(service("web", 80))
	c.put("web", c.pods[0])
	c.start("syncPeriod: 0s", "syncPeriod: 1h") // what changes is noticed, not found
	c.ready()
	c.addAnotherAddress(t)
	const elsewhere, localhost = "http://" + anotherAddress + ":30080", "http://127.0.0.1:30080"
	isServed := func(from host, url string) func() bool {
		return func() bool { return strings.HasPrefix(from.curl(url), "pod0 for ") }
	}
	eventually(t, "an address that came later", isServed(c.client, elsewhere))
	eventually(t, "localhost", isServed(c.node, localhost))
	if said := c.node.curl("http://[::1]:30080"); said != refused {
		t.Errorf("::1, which mode iptables does not serve: %s", said)
	}
	if said := c.client.curl("http://" + anotherAddress + ":30081"); said != refused {
		t.Errorf("another port: %s", said)
	}
	c.put("web")
	eventually(t, "nobody at localhost", answers(c.node, localhost, refused))
	c.put("web", c.pods[0])
	eventually(t, "somebody at localhost again", isServed(c.node, localhost))
	if served := c.metric(`kubeproxy_nftables_localhost_nodeport_listeners{ip_family="IPv4"}`); served != 1 {
		t.Errorf("%v listeners", served)
	}
	c.server.Delete(service("web", 80))
	eventually(t, "no Service", answers(c.node, localhost, refused))
}

func TestNodePortsAreServedAtPrimaryAddressesAndWhereElseTheConfigurationSays(t *testing.T) {
	c := newCluster(t)
	c.addAnotherAddress(t)
	local := service("web", 80)
	local.Spec.ExternalTrafficPolicy, local.Spec.HealthCheckNodePort = corev1.ServiceExternalTrafficPolicyLocal, 32080
	c.server.Put(local)
	c.put("web", c.pods[0])
	c.start(`mode: ""`, "mode: nftables", "nodePortAddresses: null", "nodePortAddresses: [primary, localhost]")
	c.ready()
	for _, url := range []string{
		"http://127.0.0.1:30080", "http://[::1]:30080", "http://" + nodeIPv4 + ":30080", "http://[" + nodeIPv6 + "]:30080",
	} {
		eventually(t, url, func() bool { return strings.HasPrefix(c.node.curl(url), "pod0 for ") })
	}
	if said := c.client.curl("http://" + anotherAddress + ":30080"); said != refused {
		t.Errorf("an address that is not primary: %s", said)
	}
	// Balancers ask where NodePorts are served, and nowhere else.
	for _, url := range []string{"http://127.0.0.1:32080", "http://" + nodeIPv4 + ":32080", "http://[" + nodeIPv6 + "]:32080"} {
		eventually(t, url, func() bool { code, _ := c.node.get(url); return code == 200 })
	}
	if said := c.client.curl("http://" + anotherAddress + ":32080"); said != refused {
		t.Errorf("a health check at an address that is not primary: %s", said)
	}
}
