//go:build cgo && linux

package portolan_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portolan/portolan/bindings-go"
)

func TestDNSAnswersForTheServices(t *testing.T) {
	node := synced(t)
	defer node.Close()
	dns, err := portolan.NewDNS(portolan.DNSConfig{
		TTL: 30, Readers: 1, ReverseZones: []string{"96.10.in-addr.arpa"},
		NameServers: []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd96::10")},
	})
	must(t, err)
	reader, err := dns.NewReader()
	must(t, err)
	if _, err := dns.NewReader(); !errors.Is(err, portolan.ErrLimit) {
		t.Error(err)
	}
	must(t, dns.Publish(node, 1))
	query := []byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01")
	reply := make([]byte, 512)
	size, outcome, err := reader.Answer(query, reply, false)
	must(t, err)
	if outcome != portolan.DNSReply || !bytes.HasSuffix(reply[:size], []byte{10, 96, 0, 80}) {
		t.Errorf("%d: % x", outcome, reply[:size])
	}
	if _, outcome, err = reader.Answer(query[:5], reply, true); err != nil || outcome != portolan.DNSSilent {
		t.Errorf("%d, %v", outcome, err)
	}
	answer := func() { _, _, _ = reader.Answer(query, reply, false) }
	if allocations := testing.AllocsPerRun(100, answer); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
	must(t, dns.Close())
	must(t, reader.Close())
	must(t, reader.Close())
	if _, _, err = reader.Answer(query, reply, false); !errors.Is(err, portolan.ErrClosed) {
		t.Error(err)
	}
	var said *portolan.Error
	if _, err := portolan.NewDNS(portolan.DNSConfig{TTL: 4000}); !errors.As(err, &said) || said.Field != "config.ttl" {
		t.Error(err)
	}
}

func TestRenderIsWhatTheNodeDecided(t *testing.T) {
	node := synced(t)
	defer node.Close()
	rendered, err := node.RenderNFT(portolan.NFTOptions{Table: "kube-proxy"})
	must(t, err)
	for _, words := range []string{"table ip kube-proxy", "table ip6 kube-proxy", "10.96.0.80", "10.200.2.7"} {
		if !strings.Contains(rendered, words) {
			t.Errorf("no %q", words)
		}
	}
	if strings.Contains(rendered, "masquerade to") {
		t.Error("ports that nobody asked for")
	}
	rendered, err = node.RenderNFT(portolan.NFTOptions{MasqueradePorts: portolan.PortRange{First: 40000}})
	must(t, err)
	if !strings.Contains(rendered, "masquerade to :40000-65535 fully-random") {
		t.Error("masquerades to other ports")
	}
	if _, err = node.RenderNFT(portolan.NFTOptions{Table: "a; flush ruleset"}); !errors.Is(err, portolan.ErrInvalid) {
		t.Error(err)
	}
}

// In a network namespace of the thread, which is not given back to other goroutines.
func TestNFTKeepsTheKernelAtTheDecisions(t *testing.T) {
	done := make(chan struct{})
	// Why it cannot run here. Only the test's own goroutine may skip it.
	var refused error
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if refused = syscall.Unshare(syscall.CLONE_NEWNET); refused != nil {
			return
		}
		socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_NETFILTER)
		if err != nil {
			t.Error(err)
			return
		}
		defer syscall.Close(socket)
		node := synced(t)
		defer node.Close()
		nft, err := portolan.OpenNFT(portolan.NFTOptions{Socket: &socket})
		if err != nil {
			refused = err
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		err = nft.Run(ctx, node, nil, func(err error) { t.Error(err) })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		list := func() string {
			listed, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, listed)
			}
			return string(listed)
		}
		if !strings.Contains(list(), "10.96.0.80") {
			t.Error("the kernel has no 10.96.0.80")
		}
		dumped, err := nft.Dump()
		rejections, also := nft.Rejections()
		if err != nil || also != nil || !strings.Contains(dumped, "10.200.2.7") || len(rejections) != 0 {
			t.Error(err, also, rejections)
		}
		if err := nft.Delete(); err != nil || strings.Contains(list(), "portolan") {
			t.Error("the tables are still there: ", err)
		}
		if err := nft.Close(); err != nil {
			t.Error(err)
		}
	}()
	<-done
	if refused != nil {
		t.Skip(refused)
	}
}
