//go:build cgo

package proxy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

func parsed(t *testing.T, text string) *config.Configuration {
	t.Helper()
	c, _, err := config.Parse([]byte("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n" + text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoopbackAddressesServeNodePortsWhereTheyAreNamedAndAsIPTablesDid(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "[127.0.0.1]",
		"mode: iptables\n": "[127.0.0.1]",
		"iptables: {localhostNodePorts: false}\n": "[]",
		"mode: ipvs\n":     "[]",
		"mode: nftables\n": "[]",
		"mode: nftables\nnodePortAddresses: [all]\n":                              "[]",
		"mode: nftables\nnodePortAddresses: [primary, localhost]\n":               "[127.0.0.1 ::1]",
		"mode: nftables\nnodePortAddresses: [127.0.0.0/8]\n":                      "[127.0.0.1]",
		"mode: nftables\nnodePortAddresses: [127.0.0.2/32, '::1/128']\n":          "[::1]",
		"mode: nftables\nnodePortAddresses: [0.0.0.0/0, '::/0']\n":                "[]",
		"nodePortAddresses: [0.0.0.0/0]\n":                                        "[127.0.0.1]",
		"nodePortAddresses: [192.168.0.0/16]\n":                                   "[]",
		"nodePortAddresses: ['fd00::/8']\n":                                       "[127.0.0.1]",
		"nodePortAddresses: [primary]\n":                                          "[]",
		"iptables: {localhostNodePorts: false}\nnodePortAddresses: [localhost]\n": "[127.0.0.1 ::1]",
	} {
		if got := fmt.Sprint(loopbackNodePorts(parsed(t, text))); got != want {
			t.Errorf("%q: %s, not %s", text, got, want)
		}
	}
}

func TestHealthChecksAreListenedForWhereNodePortsAreServed(t *testing.T) {
	identity := Identity{
		Addresses: []netip.Addr{
			netip.MustParseAddr("192.168.66.11"), netip.MustParseAddr("fd00::11"), netip.MustParseAddr("203.0.113.9"),
		},
		HostAddresses: []netip.Addr{netip.MustParseAddr("172.17.0.1")},
	}
	for text, want := range map[string]string{
		"":                 "[]", // everywhere
		"mode: nftables\n": "[192.168.66.11 fd00::11]",
		"mode: nftables\nnodePortAddresses: [primary, localhost]\n": "[192.168.66.11 fd00::11 127.0.0.1 ::1]",
		"nodePortAddresses: [172.16.0.0/12]\n":                      "[fd00::11 172.17.0.1]", // the other family: all of it
		"nodePortAddresses: [192.168.0.0/16, 'fd11::/16']\n":        "[192.168.66.11]",
		"mode: nftables\nbindAddress: 203.0.113.9\n":                "[203.0.113.9 fd00::11]",
	} {
		if got := fmt.Sprint(healthCheckAddresses(identity, parsed(t, text))); got != want {
			t.Errorf("%q: %s, not %s", text, got, want)
		}
	}
}
