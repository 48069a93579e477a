//go:build cgo

package portolan_test

import (
	"errors"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"

	"github.com/portolan/portolan/bindings-go"
)

const config = `{nodeName: n1, ips: [192.168.66.11], clusterCIDRs: [10.200.0.0/16]}`

const objects = `
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec: {clusterIP: 10.96.0.80, ports: [{name: http, port: 80}, {name: alt, port: 70000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.200.2.7], nodeName: n1}]
ports: [{name: http, port: 8080}]
`

// A SYN from 10.200.1.9:40000 to 10.96.0.80:80; its transport checksum is left to hardware.
var syn = []byte{
	0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x24, 0x50, 10, 200, 1, 9, 10, 96, 0, 80,
	0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
}

var small = portolan.Limits{ConnectionsIPv4: 1 << 12, ConnectionsIPv6: 1 << 10, Workers: 2}

func synced(t testing.TB) *portolan.Node {
	t.Helper()
	node, err := portolan.NewNode([]byte(config))
	must(t, err)
	rejections, err := node.Apply([]byte(objects))
	must(t, err)
	if len(rejections) != 1 || rejections[0].Field != "spec.ports[1].port" {
		t.Fatalf("rejections: %v", rejections)
	}
	must(t, node.Synced(portolan.KindService))
	must(t, node.Synced(portolan.KindEndpointSlice))
	return node
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fill(frames *portolan.Frames, count int) {
	for i := range count {
		copy(frames.Frame(i), syn)
		descriptor := &frames.Descriptors()[i]
		descriptor.Len = uint32(len(syn))
		descriptor.Offload = portolan.Offload{Flags: portolan.OffloadPartial, ChecksumStart: 20, ChecksumOffset: 16}
	}
}

func rig(t testing.TB, count int) (*portolan.Dataplane, *portolan.Worker, *portolan.Frames) {
	t.Helper()
	dataplane, err := synced(t).NewDataplane(small, [16]byte{1})
	must(t, err)
	_, _, err = dataplane.Publish()
	must(t, err)
	worker, err := dataplane.NewWorker()
	must(t, err)
	frames, err := dataplane.NewFrames(count, 128)
	must(t, err)
	fill(frames, count)
	return dataplane, worker, frames
}

func TestFrontendsAreThoseOfTheObjects(t *testing.T) {
	node := synced(t)
	defer node.Close()
	var all []portolan.Frontend
	for frontend := range node.Frontends() {
		all = append(all, frontend)
	}
	want := portolan.Frontend{
		Namespace: "default", Name: "web", PortName: "http", Protocol: portolan.TCP,
		Address: netip.MustParseAddrPort("10.96.0.80:80"), Kind: portolan.ClusterIP,
		ClusterEndpoints: 1, LocalEndpoints: 1,
	}
	if len(all) != 1 || all[0] != want {
		t.Fatalf("%+v", all)
	}
	_, err := node.Replace(portolan.KindService, []byte("[]"))
	must(t, err)
	for frontend := range node.Frontends() {
		t.Errorf("still served: %+v", frontend)
	}
}

func TestAPacketGoesToItsEndpoint(t *testing.T) {
	dataplane, worker, frames := rig(t, 4)
	must(t, worker.Process(1, frames, 4))
	for i, descriptor := range frames.Descriptors() {
		if descriptor.Verdict != portolan.Forward || [4]byte(frames.Frame(i)[16:20]) != [4]byte{10, 200, 2, 7} {
			t.Errorf("packet %d: %v", i, descriptor)
		}
	}
	stats, err := dataplane.Stats()
	must(t, err)
	if stats.Forwarded != 4 || stats.OpenedIPv4 != 1 {
		t.Errorf("%+v", stats)
	}
	next, err := dataplane.Poll(2)
	must(t, err)
	if next <= 2 {
		t.Errorf("next poll at %d", next)
	}
}

func TestErrorsNameTheField(t *testing.T) {
	_, err := portolan.NewNode([]byte("{nodeName: n1, podCidrs: []}"))
	var said *portolan.Error
	if !errors.Is(err, portolan.ErrInvalid) || !errors.As(err, &said) || said.Field != "podCidrs" {
		t.Fatalf("%v", err)
	}
	dataplane, worker, frames := rig(t, 1)
	if err := worker.Process(1, frames, 2); !errors.Is(err, portolan.ErrInvalid) {
		t.Errorf("%v", err)
	}
	if _, err := dataplane.StartTUN(portolan.TUNOptions{Name: "a name that is too long"}); !errors.Is(err, portolan.ErrSystem) {
		t.Errorf("%v", err)
	}
	var refused *portolan.Error
	_, err = dataplane.StartAFPacket(portolan.AFPacketOptions{Interface: "lo", OtherSide: "no-such-device"})
	if !errors.Is(err, portolan.ErrSystem) || !errors.As(err, &refused) || refused.Field != "options" {
		t.Errorf("%v", err)
	}
	if _, err := dataplane.NewFrames(1<<20, 1<<20); !errors.Is(err, portolan.ErrInvalid) {
		t.Errorf("%v", err)
	}
	nobody := map[netip.Addr]uint64{{}: 1}
	if err := synced(t).SetEndpointTags(nobody); !errors.As(err, &said) || said.Field != "tags[0].address.family" {
		t.Errorf("%v", err)
	}
	_, err = dataplane.NewWorker()
	must(t, err)
	if _, err = dataplane.NewWorker(); !errors.Is(err, portolan.ErrLimit) {
		t.Errorf("%v", err)
	}
}

func TestCloseTwiceAndUseAfterwards(t *testing.T) {
	dataplane, worker, frames := rig(t, 1)
	for range 2 {
		must(t, dataplane.Close())
		must(t, worker.Close())
	}
	if err := worker.Process(1, frames, 1); !errors.Is(err, portolan.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := dataplane.Stats(); !errors.Is(err, portolan.ErrClosed) {
		t.Errorf("%v", err)
	}
	must(t, frames.Close())
	must(t, frames.Close())
}

func TestABurstAllocatesNothing(t *testing.T) {
	_, worker, frames := rig(t, 32)
	if allocations := testing.AllocsPerRun(100, func() { must(t, worker.Process(1, frames, 32)) }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func TestWorkersRunBesidePublishingAndCollection(t *testing.T) {
	node := synced(t)
	dataplane, err := node.NewDataplane(small, [16]byte{1})
	must(t, err)
	var group sync.WaitGroup
	for range 2 {
		worker, err := dataplane.NewWorker()
		must(t, err)
		frames, err := dataplane.NewFrames(8, 128)
		must(t, err)
		group.Add(1)
		go func() {
			defer group.Done()
			for now := range int64(300) {
				fill(frames, 8)
				if err := worker.Process(now, frames, 8); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for range 20 {
		_, err := node.Apply([]byte(objects))
		must(t, err)
		if _, _, err = dataplane.Publish(); err != nil && !errors.Is(err, portolan.ErrAgain) {
			t.Error(err)
		}
		runtime.GC()
	}
	group.Wait()
}

// Every call with a collection before and after it, so that whatever C reads or keeps of Go's would be seen to move.
func TestNothingOfGoIsKeptAcrossCollections(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	memory, err := syscall.Mmap(-1, 0, 1<<16, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	must(t, err)
	defer syscall.Munmap(memory)
	for range 20 {
		node := synced(t)
		runtime.GC()
		dataplane, err := node.NewDataplane(small, [16]byte{1})
		must(t, err)
		runtime.GC()
		must(t, node.SetEndpointTags(map[netip.Addr]uint64{netip.MustParseAddr("10.200.2.7"): 7}))
		_, _, err = dataplane.Publish()
		must(t, err)
		runtime.GC()
		worker, err := dataplane.NewWorker()
		must(t, err)
		frames, err := dataplane.RegisterFrames(memory, 2048)
		must(t, err)
		for now := range int64(10) {
			fill(frames, 32)
			runtime.GC()
			must(t, worker.Process(now, frames, 32))
		}
		runtime.GC()
		if tag := frames.Descriptors()[0].EndpointTag; tag != 7 {
			t.Errorf("tag %d", tag)
		}
		_, err = dataplane.Explain(1, syn, 0)
		must(t, err)
		// Some are closed, some left to the collector.
		must(t, frames.Close())
		if now, err := dataplane.Poll(1); err != nil || now <= 1 {
			t.Errorf("%d, %v", now, err)
		}
		node, dataplane, worker = nil, nil, nil
		runtime.GC()
	}
}

func TestASecondUserOfAHandleIsToldAndHarmsNothing(t *testing.T) {
	_, worker, _ := rig(t, 1)
	dataplane, err := synced(t).NewDataplane(small, [16]byte{2})
	must(t, err)
	var group sync.WaitGroup
	for range 4 {
		frames, err := dataplane.NewFrames(256, 128)
		must(t, err)
		group.Add(1)
		go func() {
			defer group.Done()
			for range 200 {
				fill(frames, 256)
				if err := worker.Process(1, frames, 256); err != nil && !errors.Is(err, portolan.ErrBusy) {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
}

func FuzzProcess(f *testing.F) {
	f.Add(syn, uint32(0), uint32(len(syn)), uint32(128), uint8(portolan.OffloadPartial), uint16(20), uint16(16))
	f.Add([]byte{0x60}, uint32(1), uint32(1<<31), uint32(0), uint8(0xff), uint16(0xffff), uint16(0xffff))
	_, worker, frames := rig(f, 4)
	f.Fuzz(func(t *testing.T, packet []byte, offset, length, capacity uint32, flags uint8, start, at uint16) {
		copy(frames.Frame(1), packet)
		for i := range frames.Descriptors() {
			frames.Descriptors()[i] = portolan.Descriptor{
				Offset: offset + uint32(i)*128, Len: length, Capacity: capacity, IngressTag: 5, Verdict: 99,
				Offload: portolan.Offload{Flags: flags, ChecksumStart: start, ChecksumOffset: at},
			}
		}
		must(t, worker.Process(1, frames, 4))
		for _, descriptor := range frames.Descriptors() {
			if descriptor.Verdict > portolan.Drop || descriptor.IngressTag != 5 {
				t.Errorf("%+v", descriptor)
			}
		}
	})
}
