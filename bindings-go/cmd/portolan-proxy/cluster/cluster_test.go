//go:build cgo

// Package cluster tests portolan-proxy as a cluster meets it: the program, started as kubeadm starts kube-proxy, on a node
// made of a network namespace, with pods and an outside client around it, an API server over HTTP before it, and curl
// through the Services that it programs. As root.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/portolan/portolan/bindings-go/kube/apiserver"
)

// patience bounds every wait of these tests.
const patience = 15 * time.Second

const (
	nodeName = "node-1"
	nodeIPv4 = "192.168.66.11"
	nodeIPv6 = "fd00:66::11"
	metrics  = "http://127.0.0.1:10249"
	healthz  = "http://" + nodeIPv4 + ":10256"
)

// program is the proxy, built once for all tests.
var program string

func TestMain(m *testing.M) {
	directory, err := os.MkdirTemp("", "portolan-proxy-")
	if err == nil {
		program = filepath.Join(directory, "portolan-proxy")
		build := exec.Command("go", "build", "-o", program, "..")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building portolan-proxy:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(directory)
	os.Exit(code)
}

// pod is an endpoint with an address of each family.
type pod struct {
	host
	ipv4, ipv6 string
	words      string // with which it answers
}

// cluster is one node, its pods, a client outside and an API server that the node reaches at its loopback.
type cluster struct {
	t       testing.TB
	server  *apiserver.Server
	address string // the API server's
	node    host
	client  host
	pods    []pod
	proxy   *proxied // the last that was started
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, node: newHost(t, "node"), client: newHost(t, "client")}
	c.node.sysctl(t, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0",
		"net.ipv4.conf.default.rp_filter=0",
		"net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0") // every refusal is told of, however often a test asks
	c.node.ip(t,
		"link add uplink type veth peer name eth0 netns "+c.client.name,
		"addr add "+nodeIPv4+"/24 dev uplink", "addr add "+nodeIPv6+"/64 dev uplink nodad", "link set uplink up",
		"route add default via 192.168.66.10", "route add default via fd00:66::10")
	c.client.ip(t,
		"addr add 192.168.66.10/24 dev eth0", "addr add fd00:66::10/64 dev eth0 nodad", "link set eth0 up",
		"route add 203.0.113.0/24 via "+nodeIPv4)
	for index := range 3 {
		c.addPod(index)
	}
	socket := c.node.listen(t, "127.0.0.1:0")
	c.address = socket.Addr().String()
	c.server = apiserver.NewAt(socket)
	t.Cleanup(c.server.Close)
	c.server.Put(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName},
		Spec:       corev1.NodeSpec{PodCIDRs: []string{"10.244.1.0/24", "fd00:244:0:1::/64"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: nodeIPv4}, {Type: corev1.NodeInternalIP, Address: nodeIPv6},
		}},
	})
	c.server.Put(&networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16", "fd00:96::/112"}},
	})
	return c
}

// addPod adds a pod with a veth of its own and the same gateway as every pod (docs/routing.md).
func (c *cluster) addPod(index int) {
	c.t.Helper()
	words := fmt.Sprint("pod", index)
	p := pod{newHost(c.t, words), fmt.Sprint("10.244.1.", index+5), fmt.Sprint("fd00:244:0:1::", index+5), words}
	veth := fmt.Sprint("veth", index)
	c.node.ip(c.t,
		"link add "+veth+" type veth peer name eth0 netns "+p.name,
		"addr add 169.254.1.1/32 dev "+veth+" scope link", "link set "+veth+" up", "route add "+p.ipv4+" dev "+veth)
	c.node.ip6(c.t, "addr add fe80::1/64 dev "+veth+" nodad", "route add "+p.ipv6+" dev "+veth)
	p.ip(c.t, "addr add "+p.ipv4+"/32 dev eth0", "link set eth0 up",
		"route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1")
	p.ip6(c.t, "addr add "+p.ipv6+"/128 dev eth0 nodad", "route add default via fe80::1 dev eth0")
	p.serve(c.t, 8080, p.words)
	p.serveUDP(c.t, 8080, p.words)
	p.serveSCTP(c.t, 8080, p.words)
	c.pods = append(c.pods, p)
}

// proxied is a proxy that runs.
type proxied struct {
	t       testing.TB
	command *exec.Cmd
	config  string
	ended   chan error

	mutex  sync.Mutex
	output bytes.Buffer
}

// Write takes what the proxy logs.
func (p *proxied) Write(text []byte) (int, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.output.Write(text)
}

func (p *proxied) said() string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.output.String()
}

// asKubeadm starts kube-proxy as the container of kubeadm's DaemonSet does: the same paths, the same arguments.
const asKubeadm = `set -e
mount -t tmpfs none /var/lib; mkdir /var/lib/kube-proxy; mount --bind "$1" /var/lib/kube-proxy
mount -t tmpfs none /usr/local/bin; touch /usr/local/bin/kube-proxy; mount --bind "$2" /usr/local/bin/kube-proxy; shift 2
exec /usr/local/bin/kube-proxy --config=/var/lib/kube-proxy/config.conf --hostname-override=node-1 "$@"`

// kubeconfig is kubeadm's kubeconfig.conf, but for certificates and tokens.
const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "http://%s"}}]
contexts: [{name: default, context: {cluster: default, namespace: default, user: default}}]
current-context: default
users: [{name: default, user: {}}]
`

// start runs the proxy on the node with kubeadm's configuration, edited as sed would.
func (c *cluster) start(edits ...string) *proxied {
	c.t.Helper()
	kubeadm, err := os.ReadFile("../config/testdata/kubeadm.conf")
	if err != nil {
		c.t.Fatal(err)
	}
	configuration := strings.NewReplacer(edits...).Replace(string(kubeadm))
	p := &proxied{t: c.t, config: c.t.TempDir(), ended: make(chan error, 1)}
	for name, text := range map[string]string{
		"config.conf": configuration, "kubeconfig.conf": fmt.Sprintf(kubeconfig, c.address),
	} {
		if err := os.WriteFile(filepath.Join(p.config, name), []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	line := c.node.command("sh", "-c", asKubeadm, "sh", p.config, program, "--v=2")
	p.command = exec.Command(line[0], line[1:]...)
	p.command.Stdout, p.command.Stderr = p, p
	p.command.Env = append(os.Environ(), "NODE_NAME="+nodeName)
	if err := p.command.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { p.ended <- p.command.Wait() }()
	c.proxy = p
	c.t.Cleanup(func() {
		_ = p.command.Process.Kill()
		if c.t.Failed() {
			c.t.Logf("the proxy said:\n%s", p.said())
		}
	})
	return p
}

// stop asks the proxy to end, as kubelet does, and gives its exit status.
func (p *proxied) stop() int {
	p.t.Helper()
	_ = p.command.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

// wait waits until the proxy has ended by itself.
func (p *proxied) wait() int {
	p.t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		var status *exec.ExitError
		if errors.As(err, &status) {
			return status.ExitCode()
		}
		return 0
	case <-time.After(patience):
		p.t.Fatalf("the proxy does not end; it said:\n%s", p.said())
		return -1
	}
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// answers: does curl from there get this answer?
func answers(from host, url, want string) func() bool {
	return func() bool { return from.curl(url) == want }
}

// transports are the protocols that a Service's ports have, each at the same numbers.
var transports = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

// service is a Service of two families, of type LoadBalancer, with everything that makes doors.
func service(name string, index int) *corev1.Service {
	ipv4, ipv6 := fmt.Sprint("10.96.0.", index), fmt.Sprintf("fd00:96::%x", index)
	made := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ClusterIP: ipv4, ClusterIPs: []string{ipv4, ipv6},
			IPFamilies:     []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
			IPFamilyPolicy: ptr.To(corev1.IPFamilyPolicyRequireDualStack),
		},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{
			Ingress: []corev1.LoadBalancerIngress{{IP: fmt.Sprint("203.0.113.", index)}},
		}},
	}
	for _, transport := range transports {
		made.Spec.Ports = append(made.Spec.Ports, corev1.ServicePort{
			Name: strings.ToLower(string(transport)), Port: 80, Protocol: transport, NodePort: int32(30000 + index),
		})
	}
	return made
}

// put makes the Service's endpoints these pods, in both families, as an endpoint controller would at this moment.
func (c *cluster) put(service string, pods ...pod) {
	now := time.Now().Format(time.RFC3339Nano)
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "default", Name: service + "-" + strings.ToLower(string(family)),
				Labels:      map[string]string{discoveryv1.LabelServiceName: service},
				Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: now},
			},
			AddressType: family,
		}
		for _, transport := range transports {
			slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
				Name: ptr.To(strings.ToLower(string(transport))), Protocol: &transport, Port: ptr.To[int32](8080),
			})
		}
		for _, each := range pods {
			address := each.ipv4
			if family == discoveryv1.AddressTypeIPv6 {
				address = each.ipv6
			}
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{address}, NodeName: ptr.To(nodeName),
			})
		}
		c.server.Put(slice)
	}
}

// metric is the value of a line of /metrics that begins so; -1 if there is none.
func (c *cluster) metric(name string) float64 {
	_, text := c.node.get(metrics + "/metrics")
	value := -1.0
	if found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text); found != nil {
		_, _ = fmt.Sscan(found[1], &value)
	}
	return value
}

// ready waits until the proxy has brought the first lists into force.
func (c *cluster) ready() {
	c.t.Helper()
	eventually(c.t, "the first sync", func() bool {
		if len(c.proxy.ended) > 0 {
			c.t.Fatal("the proxy has ended")
		}
		return c.metric(`kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}`) > 0
	})
}

func background() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}
