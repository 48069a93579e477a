package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/podnet"
)

// previousPlugin is the name by which libcni calls this test's own program: the plugin before ours in the chain.
const previousPlugin = "rig-interface"

// built is the static program under test, made once.
var built string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == previousPlugin {
		os.Exit(beInterface())
	}
	if os.Getenv(withoutRules) != "" {
		fmt.Fprintln(os.Stderr, beWithoutRules())
		os.Exit(1)
	}
	if os.Getenv(inSandbox) != "" {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", says("client")))
		os.Exit(1)
	}
	directory, err := os.MkdirTemp("", "portolan-cni-")
	if err != nil {
		panic(err)
	}
	built = filepath.Join(directory, "portolan-cni")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo", "-ldflags", "-linkmode external -extldflags -static",
		"-o", built, ".")
	said, err := build.CombinedOutput()
	if err == nil {
		err = os.Symlink(own(), filepath.Join(directory, previousPlugin))
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, said)
	}
	os.RemoveAll(directory)
	os.Exit(code)
}

func own() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// beInterface is a plugin whose interface is there already: it says which addresses that has.
func beInterface() int {
	stdin, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1
	}
	var conf struct {
		CNIVersion string   `json:"cniVersion"`
		Addresses  []string `json:"addresses"`
	}
	if err := json.Unmarshal(stdin, &conf); err != nil || os.Getenv("CNI_COMMAND") != "ADD" {
		return 0
	}
	var ips []map[string]any
	for _, address := range conf.Addresses {
		ips = append(ips, map[string]any{"address": address, "interface": 0})
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"cniVersion": conf.CNIVersion, "ips": ips,
		"interfaces": []map[string]any{{"name": os.Getenv("CNI_IFNAME"), "sandbox": os.Getenv("CNI_NETNS")}},
	})
	return 0
}

// rig is a node, its pods, and a daemon for them.
type rig struct {
	*testing.T
	prefix, directory string
	pods              int
	mode              attachment.Mode
	daemon            *exec.Cmd
	// deny has daemons run as on a kernel without routing rules, and refused counts those that were asked for.
	deny    bool
	refused *atomic.Int32
}

// newRig makes a node: a namespace that forwards. What cannot run here says why.
func newRig(t *testing.T) *rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip(err)
	}
	rig := &rig{T: t, prefix: fmt.Sprintf("ptlcni-%d-%d-", os.Getpid(), time.Now().UnixNano()%1e6), directory: t.TempDir()}
	if said, err := exec.Command("ip", "netns", "add", rig.prefix+"node").CombinedOutput(); err != nil {
		t.Skipf("no network namespace: %s", said)
	}
	t.Cleanup(func() { rig.delete("node") })
	rig.ip("-n", rig.prefix+"node", "link", "set", "lo", "up")
	rig.inside("node", func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	})
	for _, name := range []string{"objects", "cache"} {
		if err := os.Mkdir(filepath.Join(rig.directory, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return rig
}

func (r *rig) delete(name string) {
	if said, err := exec.Command("ip", "netns", "del", r.prefix+name).CombinedOutput(); err != nil {
		r.Errorf("deleting namespace %s: %s", name, said)
	}
}

func (r *rig) ip(arguments ...string) string {
	r.Helper()
	said, err := exec.Command("ip", arguments...).CombinedOutput()
	if err != nil {
		r.Fatalf("ip %s: %v: %s", strings.Join(arguments, " "), err, said)
	}
	return string(said)
}

func (r *rig) path(name string) string { return "/run/netns/" + r.prefix + name }

// inside runs body in a namespace.
func (r *rig) inside(name string, body func() error) {
	r.Helper()
	inode, err := podnet.Inode(r.path(name))
	if err == nil {
		err = podnet.In(r.path(name), inode, body)
	}
	if err != nil {
		r.Fatalf("in namespace %s: %v", name, err)
	}
}

// pod is a namespace with an interface that a plugin before ours has made.
type testPod struct {
	*rig
	name       string
	ipv4, ipv6 string
}

// newPod gives a pod an interface, addresses of both families and a way out.
func (r *rig) newPod(name string) *testPod {
	r.Helper()
	r.pods++
	pod := &testPod{r, name, fmt.Sprintf("10.244.%d.10", r.pods), fmt.Sprintf("fd00:244:%d::10", r.pods)}
	r.ip("netns", "add", r.prefix+name)
	r.Cleanup(func() {
		if _, err := os.Stat(r.path(name)); err == nil {
			r.delete(name)
		}
	})
	namespace, node, link := r.prefix+name, r.prefix+"node", fmt.Sprintf("to%d", r.pods)
	r.ip("-n", node, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
	for _, each := range []struct{ namespace, link, ipv4, ipv6 string }{
		{node, link, fmt.Sprintf("10.244.%d.1/24", r.pods), fmt.Sprintf("fd00:244:%d::1/64", r.pods)},
		{namespace, "eth0", pod.ipv4 + "/24", pod.ipv6 + "/64"},
	} {
		r.ip("-n", each.namespace, "addr", "add", each.ipv4, "dev", each.link)
		r.ip("-n", each.namespace, "addr", "add", each.ipv6, "dev", each.link, "nodad")
		r.ip("-n", each.namespace, "link", "set", each.link, "up")
	}
	r.ip("-n", namespace, "link", "set", "lo", "up")
	r.ip("-n", namespace, "route", "add", "default", "via", fmt.Sprintf("10.244.%d.1", r.pods))
	r.ip("-n", namespace, "route", "add", "default", "via", fmt.Sprintf("fd00:244:%d::1", r.pods))
	return pod
}

// says answers requests with a name and the client's address.
func says(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(w, "%s saw %s\n", name, request.RemoteAddr)
	})
}

// serve answers HTTP on port 8080 with the pod's name and the client's address, and echoes UDP on 5353.
func (p *testPod) serve() {
	p.Helper()
	var web net.Listener
	var echo *net.UDPConn
	p.inside(p.name, func() (err error) {
		if web, err = net.Listen("tcp", ":8080"); err != nil {
			return err
		}
		echo, err = net.ListenUDP("udp", &net.UDPAddr{Port: 5353})
		return err
	})
	server := &http.Server{Handler: says(p.name)}
	go server.Serve(web)
	go func() {
		packet := make([]byte, 1<<16)
		for {
			size, from, err := echo.ReadFromUDP(packet)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(fmt.Appendf(nil, "%s saw %v: %s", p.name, from, packet[:size]), from)
		}
	}()
	p.Cleanup(func() { server.Close(); echo.Close() })
}

// curl is what true curl in the pod prints, and its error.
func (p *testPod) curl(url string) (string, error) { return p.curlFor("15", url) }

// curlFor gives up after so many seconds.
func (p *testPod) curlFor(seconds, url string) (string, error) {
	said, err := exec.Command("ip", "netns", "exec", p.prefix+p.name, "curl", "-sS", "--max-time", seconds, "--noproxy", "*",
		url).CombinedOutput()
	return strings.TrimSuffix(string(said), "\n"), err
}

// mustCurl wants an answer of a server.
func (p *testPod) mustCurl(url, server string) string {
	p.Helper()
	said, err := p.curl(url)
	if err != nil || !strings.HasPrefix(said, server+" saw ") {
		p.Fatalf("%s: curl %s: %v: %q; wanted %s", p.name, url, err, said, server)
	}
	return said
}

// service writes the manifests of a Service of both families.
func (r *rig) service(name string, number int, pods ...*testPod) {
	r.Helper()
	text := fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {namespace: default, name: %s},
 spec: {clusterIP: 10.96.0.%[2]d, clusterIPs: [10.96.0.%[2]d, 'fd00:96::%[2]d'], ipFamilies: [IPv4, IPv6],
  externalIPs: [203.0.113.%[2]d, '2001:db8::%[2]d'], ipFamilyPolicy: RequireDualStack, ports: [{name: web, port: 80, targetPort: 8080},
  {name: echo, port: 53, protocol: UDP, targetPort: 5353}, {name: closed, port: 9, protocol: UDP, targetPort: 9},
  {name: signals, port: 7, protocol: SCTP, targetPort: 7007}]}}
`, name, number)
	for _, family := range []string{"IPv4", "IPv6"} {
		var endpoints []string
		for _, pod := range pods {
			address := map[string]string{"IPv4": pod.ipv4, "IPv6": pod.ipv6}[family]
			endpoints = append(endpoints, fmt.Sprintf("{addresses: ['%s'], conditions: {ready: true}}", address))
		}
		text += fmt.Sprintf(`---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: %s, metadata: {namespace: default,
 name: %s-%s, labels: {kubernetes.io/service-name: %[2]s}}, endpoints: [%[4]s],
 ports: [{name: web, port: 8080}, {name: echo, port: 5353, protocol: UDP}, {name: closed, port: 9, protocol: UDP},
  {name: signals, port: 7007, protocol: SCTP}]}
`, family, name, strings.ToLower(family), strings.Join(endpoints, ", "))
	}
	if err := os.WriteFile(filepath.Join(r.directory, "objects", name+".yaml"), []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

// start runs the daemon, fed by the rig's manifests unless told otherwise, and waits until it would serve.
func (r *rig) start(from ...string) {
	r.Helper()
	if len(from) == 0 {
		from = []string{"--objects", r.directory + "/objects"}
	}
	r.daemon = exec.Command(built, append(from, "--socket", r.directory+"/sock", "--state", r.directory+"/state",
		"--node-name", "n1", "--connections-ipv4", "1024", "--connections-ipv6", "1024")...)
	r.daemon.Args = slices.Insert(r.daemon.Args, 1, "daemon")
	r.daemon.Stderr = os.Stderr
	started := func() {}
	if r.deny {
		r.refused, started = denyRules(r.T, r.daemon)
	}
	if err := r.daemon.Start(); err != nil {
		r.Fatal(err)
	}
	daemon := r.daemon
	r.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	started()
	r.eventually("the daemon is ready", func() error { return r.cni().GetStatusNetworkList(r.Context(), r.network(r.newest())) })
}

// kill is kill -9.
func (r *rig) kill() {
	r.Helper()
	if err := r.daemon.Process.Kill(); err != nil {
		r.Fatal(err)
	}
	_ = r.daemon.Wait()
}

func (r *rig) eventually(what string, try func() error) {
	r.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	r.Fatalf("%s: %v", what, err)
}

func (r *rig) newest() *testPod { return &testPod{rig: r, ipv4: "10.244.0.1", ipv6: "fd00::1"} }

func (r *rig) cni() *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir([]string{filepath.Dir(built)}, r.directory+"/cache", nil)
}

// network is the configuration that an operator would write, with what the interface's plugin is to say.
func (r *rig) network(pod *testPod) *libcni.NetworkConfigList {
	r.Helper()
	list, err := libcni.ConfListFromBytes(fmt.Appendf(nil, `{"cniVersion": "1.1.0", "name": "pods", "plugins": [
 {"type": %q, "addresses": ["%s/24", "%s/64"]},
 {"type": "portolan-cni", "serviceCIDRs": ["10.96.0.0/16", "fd00:96::/112"], "socket": "%s/sock", "state": "%[4]s/state",
  "mode": %[5]q}
]}`, previousPlugin, pod.ipv4, pod.ipv6, r.directory, cmp.Or(r.mode, attachment.ModeAuto)))
	if err != nil {
		r.Fatal(err)
	}
	return list
}

func (p *testPod) runtime() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: "container-" + p.name, NetNS: p.path(p.name), IfName: "eth0"}
}

func (p *testPod) add() (types.Result, error) {
	return p.cni().AddNetworkList(p.Context(), p.network(p), p.runtime())
}

func (p *testPod) mustAdd() {
	p.Helper()
	if _, err := p.add(); err != nil {
		p.Fatalf("ADD: %v", err)
	}
}

func (p *testPod) check() error {
	return p.cni().CheckNetworkList(p.Context(), p.network(p), p.runtime())
}

func (p *testPod) del() error {
	return p.cni().DelNetworkList(context.WithoutCancel(p.Context()), p.network(p), p.runtime())
}

// arrangement is what of a pod's namespace an attachment changes.
func (p *testPod) arrangement() string {
	p.Helper()
	var text strings.Builder
	for _, what := range [][]string{{"rule"}, {"-6", "rule"}, {"route", "show", "table", "all"},
		{"-6", "route", "show", "table", "all"}, {"-o", "link"}, {"-o", "addr"}} {
		said := p.ip(append([]string{"-n", p.prefix + p.name}, what...)...)
		for line := range strings.Lines(said) {
			// These come to be by themselves, a moment after the interface.
			if !strings.Contains(line, "fe80::") && !strings.Contains(line, "ff00::/8 dev eth0") {
				text.WriteString(line)
			}
		}
	}
	p.inside(p.name, func() error {
		return filepath.Walk("/proc/sys/net/ipv4", func(path string, entry os.FileInfo, err error) error {
			if err == nil && !entry.IsDir() && entry.Mode().Perm()&0o200 != 0 && strings.Contains(path, "/conf/") ||
				strings.HasSuffix(path, "ip_local_reserved_ports") {
				value, _ := os.ReadFile(path)
				fmt.Fprintf(&text, "%s %s", path, value)
			}
			return nil
		})
	})
	p.inside(p.name, func() error {
		for _, name := range []string{"all/forwarding", "eth0/forwarding", "eth0/accept_ra"} {
			value, _ := os.ReadFile("/proc/sys/net/ipv6/conf/" + name)
			fmt.Fprintf(&text, "%s %s", name, value)
		}
		return nil
	})
	// Routes of the local table come in any order.
	lines := strings.SplitAfter(text.String(), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// records counts the attachments on disk.
func (r *rig) records() int {
	r.Helper()
	found, err := filepath.Glob(r.directory + "/state/*.json*")
	if err != nil {
		r.Fatal(err)
	}
	return len(found)
}

// differences are the lines that one of two texts has more often.
func differences(before, after string) string {
	more := map[string]int{}
	for line := range strings.Lines(after) {
		more[line]++
	}
	for line := range strings.Lines(before) {
		more[line]--
	}
	var text strings.Builder
	for line, count := range more {
		if count != 0 {
			fmt.Fprintf(&text, "\n%+d times %s", count, strings.TrimSuffix(line, "\n"))
		}
	}
	return text.String()
}
