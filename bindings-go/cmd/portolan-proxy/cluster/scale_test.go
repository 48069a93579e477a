//go:build cgo

package cluster

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"golang.org/x/sys/unix"
)

// many puts Services of five endpoints each.
func (c *cluster) many(services int) {
	for index := range services {
		name, address := fmt.Sprint("s-", index), fmt.Sprintf("10.97.%d.%d", index/250, index%250+1)
		c.server.Put(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeClusterIP, ClusterIP: address, ClusterIPs: []string{address},
				Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
			},
		})
		c.server.Put(endpointsOf(name, index, 5))
	}
}

// endpointsOf is a slice with as many endpoints, changed at this moment.
func endpointsOf(service string, index, count int) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service},
			Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().Format(time.RFC3339Nano)},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: ptr.To[int32](8080)}},
	}
	for endpoint := range count {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 128+endpoint, index/250, index%250+1)}, NodeName: ptr.To("node-2"),
		})
	}
	return slice
}

// commits tells of every transaction of nftables in a namespace, when the kernel has committed it.
type commits struct{ socket int }

func watchCommits(t testing.TB, on host) (watched commits) {
	t.Helper()
	var err error
	on.within(func() {
		watched.socket, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
		if err == nil {
			err = unix.Bind(watched.socket, &unix.SockaddrNetlink{
				Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1),
			})
		}
	})
	if err == nil {
		err = unix.SetsockoptTimeval(watched.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(watched.socket) })
	return watched
}

// next waits for the end of a transaction: NFT_MSG_NEWGEN.
func (c commits) next(t testing.TB) {
	t.Helper()
	const newGeneration = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN
	buffer := make([]byte, 1<<16)
	for {
		size, err := unix.Read(c.socket, buffer)
		if err != nil && err != unix.ENOBUFS && err != unix.EINTR {
			t.Fatal("waiting for a commit: ", err)
		}
		for rest := buffer[:max(size, 0)]; len(rest) >= unix.NLMSG_HDRLEN; {
			length := int(binary.NativeEndian.Uint32(rest))
			if binary.NativeEndian.Uint16(rest[4:]) == newGeneration {
				return
			}
			rest = rest[min(max((length+3)&^3, unix.NLMSG_HDRLEN), len(rest)):]
		}
	}
}

// drain forgets what has been told so far.
func (c commits) drain() {
	buffer := make([]byte, 1<<16)
	for {
		if _, _, err := unix.Recvfrom(c.socket, buffer, unix.MSG_DONTWAIT); err == unix.EAGAIN {
			return
		}
	}
}

// residentMiB is what the proxy holds of memory, and what it held at most.
func (p *proxied) residentMiB(t testing.TB) (now, most int) {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(p.command.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); err == nil {
			now = kilobytes >> 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); err == nil {
			most = kilobytes >> 10
		}
	}
	return now, most
}

// elements counts the frontends in the kernel.
func (c *cluster) elements(t testing.TB) int {
	t.Helper()
	listed, err := exec.Command("ip", c.node.command("nft", "list", "map", "ip", "kube-proxy", "services")[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(listed), "10.97.")
}

// scale starts a proxy before so many Services and says how long it took from its first request to the last rule, and what
// memory it took; then how long a change takes from the API server's write to the kernel's commit.
func scale(t testing.TB, services, changes int) (load time.Duration, resident, most int, latencies []time.Duration) {
	t.Helper()
	c := newCluster(t)
	c.many(services)
	proxy := c.start()
	eventually(t, "the first list", func() bool { return c.server.Lists() > 0 })
	begun := time.Now()
	watched := watchCommits(t, c.node)
	c.ready()
	load = time.Since(begun)
	if found := c.elements(t); found != services {
		t.Fatalf("%d of %d Services are in the kernel", found, services)
	}
	time.Sleep(3 * time.Second) // the start's own work is over
	resident, most = proxy.residentMiB(t)
	for len(latencies) < changes {
		index := len(latencies) % services
		watched.drain()
		begun := time.Now()
		c.server.Put(endpointsOf(fmt.Sprint("s-", index), index, 4-len(latencies)/services%2))
		watched.next(t)
		latencies = append(latencies, time.Since(begun))
		time.Sleep(5 * time.Millisecond)
	}
	slices.Sort(latencies)
	return load, resident, most, latencies
}

func percentile(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}

func TestAChangeIsInTheKernelSoonAfterTheApiServerHasIt(t *testing.T) {
	load, resident, most, latencies := scale(t, 1000, 200)
	t.Logf("1000 Services in %v, %d MiB (at most %d); a change takes %v, p99 %v",
		load, resident, most, percentile(latencies, 50), percentile(latencies, 99))
	// Ten times what is measured on a quiet machine.
	if load > 5*time.Second || resident > 300 || percentile(latencies, 50) > 50*time.Millisecond {
		t.Error("too much")
	}
}

// BenchmarkTenThousandServices is what README tells: run it alone, with -benchtime=1x.
func BenchmarkTenThousandServices(b *testing.B) {
	for range b.N {
		load, resident, most, latencies := scale(b, 10_000, 1000)
		b.ReportMetric(load.Seconds(), "s/load")
		b.ReportMetric(float64(resident), "MiB")
		b.ReportMetric(float64(most), "MiB-most")
		b.ReportMetric(float64(percentile(latencies, 50).Microseconds()), "µs/change-p50")
		b.ReportMetric(float64(percentile(latencies, 99).Microseconds()), "µs/change-p99")
	}
}
