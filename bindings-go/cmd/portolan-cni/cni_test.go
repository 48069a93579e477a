package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/podnet"
	"github.com/portolan/portolan/bindings-go/kube/apiserver"
)

func TestTheProgramIsStatic(t *testing.T) {
	said, _ := exec.Command("ldd", built).CombinedOutput()
	if !strings.Contains(string(said), "not a dynamic executable") {
		t.Fatalf("ldd: %s", said)
	}
}

func TestInstallPutsTheProgramBesideOtherPlugins(t *testing.T) {
	directory := t.TempDir()
	for range 2 {
		if said, err := exec.Command(built, "install", directory).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	entries, err := os.ReadDir(directory)
	if err != nil || len(entries) != 1 || entries[0].Name() != "portolan-cni" {
		t.Fatalf("%v %v", entries, err)
	}
	said, err := exec.Command(directory + "/portolan-cni").CombinedOutput()
	if err == nil || !strings.Contains(string(said), "portolan-cni daemon") {
		t.Errorf("%v: %s", err, said)
	}
}

func TestVersionsSpoken(t *testing.T) {
	rig := &rig{T: t, directory: t.TempDir()}
	info, err := rig.cni().GetVersionInfo(t.Context(), "portolan-cni")
	if err != nil {
		t.Fatal(err)
	}
	versions := strings.Join(info.SupportedVersions(), " ")
	if !strings.Contains(versions, "1.0.0 1.1.0") {
		t.Errorf("versions: %s", versions)
	}
}

// cluster is a client and a server with a Service, and a daemon.
func cluster(t *testing.T, mode attachment.Mode) (rig *rig, client, server *testPod) {
	rig = newRig(t)
	rig.mode = mode
	client, server = rig.newPod("client"), rig.newPod("server")
	server.serve()
	client.serve()
	rig.service("web", 80, server)
	rig.service("own", 81, client)
	rig.start()
	return rig, client, server
}

const (
	web4, web6 = "http://10.96.0.80", "http://[fd00:96::80]"
	own4, own6 = "http://10.96.0.81", "http://[fd00:96::81]"
)

// inBothModes runs a test in parallel for each way into the dataplane.
func inBothModes(t *testing.T, test func(*testing.T, attachment.Mode)) {
	t.Parallel()
	for _, mode := range []attachment.Mode{attachment.ModeTUN, attachment.ModeWire} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

func TestAPodReachesServices(t *testing.T) { inBothModes(t, podReachesServices) }

func podReachesServices(t *testing.T, mode attachment.Mode) {
	_, client, server := cluster(t, mode)
	client.mustAdd()
	for url, address := range map[string]string{web4: client.ipv4, web6: client.ipv6} {
		for range 5 {
			said := client.mustCurl(url, "server")
			from, err := netip.ParseAddrPort(strings.TrimPrefix(said, "server saw "))
			if err != nil || from.Addr().String() != address || (from.Port() < 61000) != (mode == attachment.ModeWire) {
				t.Errorf("%s: %s; wanted the pod's own address and a port from 61000 on, by wire the client's", url, said)
			}
		}
	}
	t.Run("UDP, whole and in fragments there and back", func(t *testing.T) {
		long := strings.Repeat("in fragments ", 1500)
		for _, to := range []string{
			"10.96.0.80:53", "[fd00:96::80]:53", // others than Services lose none either
			server.ipv4 + ":5353", "[" + server.ipv6 + "]:5353",
		} {
			for _, text := range []string{"hello", long, "once more", long} {
				if said := client.ask(t, to, text); !strings.HasPrefix(said, "server saw ") || !strings.HasSuffix(said, ": "+text) {
					t.Errorf("%s: %d bytes sent, %d back: %.60q", to, len(text), len(said), said)
				}
			}
		}
	})
	t.Run("SCTP", func(t *testing.T) {
		associates(t, client, server, netip.MustParseAddr("10.96.0.80"))
		associates(t, client, server, netip.MustParseAddr("fd00:96::80"))
	})
	t.Run("itself, by its Service", func(t *testing.T) {
		client.mustCurl(own4, "client")
		client.mustCurl(own6, "client")
		if said := client.ask(t, "10.96.0.81:53", "hello"); !strings.HasPrefix(said, "client saw ") {
			t.Errorf("UDP: %q", said)
		}
	})
	t.Run("others, with a TUN past the dataplane", func(t *testing.T) {
		before := client.throughDevice()
		client.mustCurl("http://"+server.ipv4+":8080", "server")
		client.mustCurl("http://["+server.ipv6+"]:8080", "server")
		server.mustCurl("http://"+client.ipv4+":8080", "client")
		server.mustCurl("http://["+client.ipv6+"]:8080", "client")
		if after := client.throughDevice(); after != before && mode == attachment.ModeTUN {
			t.Errorf("packets through portolan0: %s, then %s", before, after)
		}
	})
	if mode == attachment.ModeWire {
		t.Run("Services at other addresses, past the load balancer", func(t *testing.T) {
			client.mustCurl("http://203.0.113.80", "server")
			client.mustCurl("http://[2001:db8::80]", "server")
		})
	}
	t.Run("an address that no Service has", func(t *testing.T) {
		if said, err := client.curlFor("2", "http://10.96.0.99"); err == nil {
			t.Errorf("answered: %s", said)
		}
	})
	t.Run("a closed port is told at once", func(t *testing.T) {
		for _, service := range []string{"10.96.0.80:9", "[fd00:96::80]:9"} {
			if err := client.refused(service); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: %v", service, err)
			}
		}
	})
	t.Run("a Service that changes", func(t *testing.T) {
		client.service("web", 80, client)
		client.eventually("the new endpoint", func() error {
			if said, err := client.curl(web4); err != nil || !strings.HasPrefix(said, "client") {
				return fmt.Errorf("%q %w", said, err)
			}
			return nil
		})
	})
}

// throughDevice counts the packets that the dataplane was given, once the last ones of earlier connections are through.
func (p *testPod) throughDevice() (counts string) {
	p.Helper()
	p.eventually("the device is silent", func() error {
		var links []struct {
			Stats64 json.RawMessage `json:"stats64"`
		}
		said := p.ip("-n", p.prefix+p.name, "-s", "-j", "link", "show", podnet.Device)
		if err := json.Unmarshal([]byte(said), &links); err != nil || len(links) != 1 || len(links[0].Stats64) == 0 {
			p.Fatalf("%v: %s", err, said)
		}
		before := counts
		if counts = string(links[0].Stats64); counts != before {
			return errors.New(counts)
		}
		return nil
	})
	return counts
}

// ask sends a datagram and gives what comes back.
func (p *testPod) ask(t *testing.T, to, text string) string {
	t.Helper()
	said := make([]byte, 1<<16)
	var size int
	p.inside(p.name, func() error {
		connection, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		defer connection.Close()
		_ = connection.SetDeadline(time.Now().Add(15 * time.Second))
		if _, err := connection.Write([]byte(text)); err != nil {
			return err
		}
		size, err = connection.Read(said)
		return err
	})
	return string(said[:size])
}

// refused is the error of a datagram that nobody takes.
func (p *testPod) refused(to string) (refusal error) {
	p.inside(p.name, func() error {
		connection, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		defer connection.Close()
		_ = connection.SetDeadline(time.Now().Add(15 * time.Second))
		_, _ = connection.Write([]byte("anybody?"))
		_, refusal = connection.Read(make([]byte, 16))
		return nil
	})
	return refusal
}

func TestEveryCommandTwiceOver(t *testing.T) { inBothModes(t, everyCommandTwiceOver) }

func everyCommandTwiceOver(t *testing.T, mode attachment.Mode) {
	rig, client, _ := cluster(t, mode)
	before := client.arrangement()
	for range 2 {
		var results []string
		for range 2 {
			result, err := client.add()
			if err != nil {
				t.Fatalf("ADD: %v", err)
			}
			full, err := current.GetResult(result)
			if err != nil || len(full.IPs) != 2 || full.Interfaces[0].Name != "eth0" {
				t.Errorf("ADD does not pass on what was: %v %v", result, err)
			}
			text, _ := json.Marshal(full)
			results = append(results, string(text))
			client.mustCurl(web4, "server")
		}
		if results[0] != results[1] {
			t.Errorf("ADD said %s, then %s", results[0], results[1])
		}
		for range 2 {
			if err := client.check(); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			if err := rig.cni().GetStatusNetworkList(t.Context(), rig.network(client)); err != nil {
				t.Errorf("STATUS: %v", err)
			}
			kept := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: "container-client", IfName: "eth0"}}}
			if err := rig.cni().GCNetworkList(t.Context(), rig.network(client), kept); err != nil {
				t.Errorf("GC: %v", err)
			}
			client.mustCurl(web6, "server")
		}
		for range 2 {
			if err := client.del(); err != nil {
				t.Errorf("DEL: %v", err)
			}
			if after := client.arrangement(); after != before {
				t.Fatalf("DEL left something behind: %s", differences(before, after))
			}
		}
		if left := rig.records(); left != 0 {
			t.Errorf("%d records are left", left)
		}
	}
	if err := client.check(); err == nil {
		t.Error("CHECK of what is not attached says nothing")
	}
}

func TestCheckSeesWhatIsMissing(t *testing.T) { inBothModes(t, checkSeesWhatIsMissing) }

func checkSeesWhatIsMissing(t *testing.T, mode attachment.Mode) {
	_, client, _ := cluster(t, mode)
	before := client.arrangement()
	damages := map[attachment.Mode][][]string{
		attachment.ModeTUN: {
			{"link", "del", "portolan0"},
			{"route", "del", "10.96.0.0/16"},
			{"-6", "rule", "del", "pref", "11"},
			{"rule", "del", "pref", "13"},
		},
		attachment.ModeWire: {
			{"link", "del", "portolan0"}, // and with it what the pod takes for its interface
			{"link", "set", "portolan1", "down"},
		},
	}
	for _, damage := range damages[mode] {
		// The daemon may have mended it before CHECK asks, but not every time.
		seen := false
		for try := 0; try < 3 && !seen; try++ {
			client.mustAdd()
			client.ip(append([]string{"-n", client.prefix + client.name}, damage...)...)
			seen = client.check() != nil
		}
		if !seen {
			t.Errorf("CHECK does not see: ip %s", strings.Join(damage, " "))
		}
		client.eventually("the daemon mends it by itself", client.check)
		client.mustCurl(web4, "server")
		client.mustCurl(web6, "server")
	}
	if err := client.del(); err != nil || client.arrangement() != before {
		t.Errorf("DEL left something behind: %v %s", err, differences(before, client.arrangement()))
	}
}

func TestWhatTheRuntimeForgotGoes(t *testing.T) {
	t.Parallel()
	rig, client, server := cluster(t, attachment.ModeAuto)
	before := server.arrangement()
	client.mustAdd()
	server.mustAdd()
	t.Run("by GC", func(t *testing.T) {
		// A cache without them: the runtime has lost what it knew.
		if err := os.RemoveAll(rig.directory + "/cache"); err != nil {
			t.Fatal(err)
		}
		kept := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: "container-client", IfName: "eth0"}}}
		for range 2 {
			if err := rig.cni().GCNetworkList(t.Context(), rig.network(client), kept); err != nil {
				t.Fatal(err)
			}
		}
		if after := server.arrangement(); after != before {
			t.Errorf("GC left something behind: %s", differences(before, after))
		}
		client.mustCurl(web4, "server")
	})
	t.Run("with its namespace", func(t *testing.T) {
		rig.delete("client")
		rig.eventually("the record goes", func() error {
			if left := rig.records(); left != 0 {
				return fmt.Errorf("%d records are left", left)
			}
			return nil
		})
	})
}

func TestServicesComeFromAnAPIServer(t *testing.T) {
	t.Parallel()
	rig := newRig(t)
	server := apiserver.New()
	defer server.Close()
	near, far := rig.newPod("near"), rig.newPod("far")
	near.serve()
	far.serve()
	server.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: "n1", Labels: map[string]string{corev1.LabelTopologyZone: "here"},
	}})
	server.Put(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.80", ClusterIPs: []string{"10.96.0.80"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Name: "web", Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	})
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr("web"), Port: ptr[int32](8080), Protocol: ptr(corev1.ProtocolTCP)}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{near.ipv4}, Hints: &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "here"}}}},
			{Addresses: []string{far.ipv4}, Hints: &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "there"}}}},
		},
	}
	server.Put(slice)
	path := rig.directory + "/kubeconfig"
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
 users: [{name: u}], clusters: [{name: c, cluster: {server: %q}}]}`, server.Config().Host)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rig.start("--kubeconfig", path)
	far.mustAdd()
	for range 5 {
		far.mustCurl(web4, "near") // the node's zone is "here"
	}
	server.Forget()
	server.Cut()
	slice = slice.DeepCopy()
	slice.Endpoints = slice.Endpoints[1:]
	server.Put(slice)
	rig.eventually("the change arrives after 410 Gone", func() error {
		if said, err := far.curl(web4); err != nil || !strings.HasPrefix(said, "far") {
			return fmt.Errorf("%q %w", said, err)
		}
		return nil
	})
}

func ptr[T any](value T) *T { return &value }
