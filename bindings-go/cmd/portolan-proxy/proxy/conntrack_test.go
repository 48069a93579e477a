//go:build cgo

package proxy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/proxy"
)

func TestSysctlsOfZeroAreLeftAloneAndUnwritableOnesAreNoFailure(t *testing.T) {
	root := t.TempDir()
	directory := filepath.Join(root, "net/netfilter")
	if err := os.MkdirAll(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"max", "tcp_timeout_established", "tcp_timeout_close_wait", "udp_timeout_stream"} {
		if err := os.WriteFile(filepath.Join(directory, "nf_conntrack_"+name), []byte("5"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A directory in a file's place: nobody, not even root, writes it.
	if err := os.Mkdir(filepath.Join(directory, "nf_conntrack_tcp_be_liberal"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Parse([]byte(`
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpStreamTimeout: 3m, tcpBeLiberal: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	proxy.Sysctls{Root: root, Logger: logr.Discard()}.Apply(c)
	for name, value := range map[string]string{
		"max": "5", "tcp_timeout_established": "5", "tcp_timeout_close_wait": "5", "udp_timeout_stream": "180",
	} {
		text, err := os.ReadFile(filepath.Join(directory, "nf_conntrack_"+name))
		if err != nil || strings.TrimSpace(string(text)) != value {
			t.Errorf("%s is %q (%v), not %s", name, text, err, value)
		}
	}
}

func TestSysctlsAreRaisedAndNeverLowered(t *testing.T) {
	root := t.TempDir()
	directory := filepath.Join(root, "net/netfilter")
	if err := os.MkdirAll(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"max": "99999999\n", "tcp_timeout_established": "432000\n", "tcp_timeout_close_wait": "60\n", "udp_timeout": "30\n",
		"buckets": "5\n",
	} {
		if err := os.WriteFile(filepath.Join(directory, "nf_conntrack_"+name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &config.Configuration{}
	config.Default(c)
	perCore := int32(8 * 1024 * 1024 / runtime.NumCPU())
	c.Conntrack.MaxPerCore = &perCore
	proxy.Sysctls{Root: root, Logger: logr.Discard()}.Apply(c)
	for name, value := range map[string]string{
		"buckets": fmt.Sprint(int(perCore) * runtime.NumCPU() / 4),
		"max":     "99999999", "tcp_timeout_established": "86400", "tcp_timeout_close_wait": "3600", "udp_timeout": "30",
	} {
		text, err := os.ReadFile(filepath.Join(directory, "nf_conntrack_"+name))
		if err != nil || strings.TrimSpace(string(text)) != value {
			t.Errorf("%s is %q (%v), not %s", name, text, err, value)
		}
	}
}

func TestADataplaneInUserspaceKeepsToWhatTheKernelWouldBeTold(t *testing.T) {
	cores := uint32(runtime.NumCPU())
	for text, want := range map[string]portolan.Limits{
		"{}": {
			ConnectionsIPv4: max(cores<<15, 1<<17), ConnectionsIPv6: max(cores<<15, 1<<17),
			Timeouts: portolan.Timeouts{TCPEstablished: 24 * time.Hour, TCPCloseWait: time.Hour},
		},
		"{maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}": {},
		"{maxPerCore: 9, min: 7, tcpEstablishedTimeout: 2h, tcpCloseWaitTimeout: 3m, udpTimeout: 4s, udpStreamTimeout: 5s}": {
			ConnectionsIPv4: max(9*cores, 7), ConnectionsIPv6: max(9*cores, 7),
			Timeouts: portolan.Timeouts{
				TCPEstablished: 2 * time.Hour, TCPCloseWait: 3 * time.Minute, UDP: 4 * time.Second, UDPStream: 5 * time.Second,
			},
		},
	} {
		c, _, err := config.Parse([]byte("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nconntrack: " + text))
		if err != nil {
			t.Fatal(err)
		}
		limits := proxy.Limits(c)
		if limits != want {
			t.Errorf("%s: %+v", text, limits)
		}
		if _, err := limits.Memory(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
