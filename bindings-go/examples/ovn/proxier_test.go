//go:build cgo

package ovn_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/examples/ovn"
)

func node(t *testing.T) *portolan.Node {
	t.Helper()
	node, err := portolan.NewNode([]byte("{nodeName: n1, ips: [192.168.66.11, 'fd66::11'], clusterCIDRs: [10.200.0.0/16]}"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() })
	return node
}

// commit makes changes. What is left out of them, no rendering shows.
func commit(t *testing.T, node *portolan.Node, change func(*portolan.Batch)) {
	t.Helper()
	var batch portolan.Batch
	change(&batch)
	if _, _, err := node.Commit(&batch); err != nil {
		t.Fatal(err)
	}
}

func sync(t *testing.T, proxier *ovn.Proxier) [][]string {
	t.Helper()
	commands, err := proxier.Sync()
	if err != nil {
		t.Fatal(err)
	}
	return commands
}

// written is commands as somebody would type them.
func written(commands [][]string) string {
	var text strings.Builder
	for _, command := range commands {
		for i, word := range command {
			if i > 0 {
				text.WriteByte(' ')
			}
			if word == "" {
				word = `""`
			}
			text.WriteString(word)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

const web = `
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.80
  externalTrafficPolicy: Local
  healthCheckNodePort: 30081
  sessionAffinity: ClientIP
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.80}]}}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: silent}
spec: {clusterIP: 10.96.0.9, ports: [{port: 9, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: guarded}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  loadBalancerSourceRanges: [198.51.100.0/24]
  allocateLoadBalancerNodePorts: false
  ports: [{port: 443, protocol: SCTP}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.10}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.200.1.7], nodeName: n1}, {addresses: [10.200.2.7], nodeName: n2}]
ports: [{name: http, port: 8080}]
`

const fewer = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.200.2.7], nodeName: n2}]
ports: [{name: http, port: 8080}]
`

func TestCommandsAreAsWritten(t *testing.T) {
	node := node(t)
	proxier := ovn.New(node, "n1", "GR_n1")
	if commands := sync(t, proxier); len(commands) != 0 {
		t.Errorf("before the first full lists: %v", commands)
	}
	var text strings.Builder
	step := func(title string, change func(*portolan.Batch)) {
		commit(t, node, change)
		fmt.Fprintf(&text, "# %s\n%s", title, written(sync(t, proxier)))
	}
	step("everything there is", func(batch *portolan.Batch) {
		batch.Apply([]byte(web))
		batch.Replace(portolan.KindService)
		batch.Replace(portolan.KindEndpointSlice)
	})
	step("the same again", func(batch *portolan.Batch) { batch.Apply([]byte(web)) })
	step("no endpoint on this node any more", func(batch *portolan.Batch) { batch.Apply([]byte(fewer)) })
	step("none at all", func(batch *portolan.Batch) { batch.Delete(portolan.KindEndpointSlice, "default", "web-1") })
	step("the Service is gone", func(batch *portolan.Batch) { batch.Delete(portolan.KindService, "default", "web") })
	for _, each := range proxier.Unserved() {
		fmt.Fprintf(&text, "# left out: %s\n", each)
	}
	golden, err := os.ReadFile("testdata/commands.txt")
	if err != nil || string(golden) != text.String() {
		t.Errorf("testdata/commands.txt differs (%v); this is:\n%s", err, text.String())
	}
}

// northbound is as much of OVN's northbound database as the commands write.
type northbound map[string]map[string]string

// run does what ovn-nbctl would.
func (n northbound) run(t *testing.T, commands [][]string) {
	t.Helper()
	for _, command := range commands {
		command = slices.DeleteFunc(slices.Clone(command), func(word string) bool { return strings.HasPrefix(word, "--") })
		switch verb, rest := command[0], command[1:]; {
		case verb == "lb-add":
			if n[rest[0]] == nil {
				n[rest[0]] = map[string]string{}
			}
			n[rest[0]]["vip "+rest[1]] = rest[2] + " " + rest[3]
		case verb == "lb-del" && len(rest) == 1:
			delete(n, rest[0])
		case verb == "lb-del":
			delete(n[rest[0]], "vip "+rest[1])
		case n[rest[1]] == nil:
			t.Fatalf("%v: there is no such load balancer", command)
		case verb == "set":
			n[rest[1]]["options"] = rest[2]
		case verb == "ls-lb-add" || verb == "lr-lb-add":
			n[rest[1]]["of"] = rest[0]
		default:
			t.Fatalf("%v is no command", command)
		}
	}
}

func TestCommandsOfManyChangesLeadWhereAFreshRenderLeads(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	node := node(t)
	commit(t, node, func(batch *portolan.Batch) {
		batch.Replace(portolan.KindService)
		batch.Replace(portolan.KindEndpointSlice)
	})
	proxier := ovn.New(node, "n1", "GR_n1")
	followed := northbound{}
	for round := range 500 {
		commit(t, node, func(batch *portolan.Batch) {
			for range 1 + random.IntN(4) {
				change(random, batch)
			}
		})
		if random.IntN(3) == 0 {
			continue // several generations at once
		}
		followed.run(t, sync(t, proxier))
		afresh := northbound{}
		afresh.run(t, sync(t, ovn.New(node, "n1", "GR_n1")))
		if !maps.EqualFunc(followed, afresh, maps.Equal) {
			t.Fatalf("seed %d, round %d: followed:\n%v\nafresh:\n%v", seed, round, followed, afresh)
		}
	}
	if len(followed) < 10 {
		t.Errorf("only %d load balancers at the end: the changes show nothing", len(followed))
	}
}

// change is one random change of one of a few Services.
func change(random *rand.Rand, batch *portolan.Batch) {
	number := random.IntN(12)
	name := fmt.Sprintf("s%d", number)
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	switch random.IntN(7) {
	case 0:
		batch.Delete(portolan.KindService, "default", name)
	case 1:
		batch.Delete(portolan.KindEndpointSlice, "default", name)
	case 2, 3:
		batch.Apply(fmt.Appendf(nil, `{apiVersion: v1, kind: Service, metadata: {namespace: default, name: %s},
 spec: {type: NodePort, clusterIP: 10.96.0.%d, externalTrafficPolicy: %s, internalTrafficPolicy: %s, sessionAffinity: %s,
  externalIPs: [203.0.113.%d], ports: [{port: 80, protocol: %s, nodePort: %d}]}}`, name, 10+number, pick("Cluster", "Local"),
			pick("Cluster", "Local"), pick("None", "ClientIP"), 1+random.IntN(20), pick("TCP", "UDP", "SCTP"), 30000+number))
	default:
		var endpoints []string
		for range random.IntN(5) {
			endpoints = append(endpoints, fmt.Sprintf("{addresses: [10.200.%[1]d.%[2]d], nodeName: n%[1]d, conditions: {ready: %[3]s}}",
				1+random.IntN(2), 1+random.IntN(9), pick("true", "true", "false")))
		}
		batch.Apply(fmt.Appendf(nil, `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
 metadata: {namespace: default, name: %[1]s, labels: {kubernetes.io/service-name: %[1]s}}, endpoints: [%s],
 ports: [{port: 8080}, {port: 8080, protocol: UDP, name: u}]}`, name, strings.Join(endpoints, ", ")))
	}
}
