package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"k8s.io/klog/v2"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

// tunName is the device through which packets for Services pass. The host routes them there.
const tunName = "portolan0"

// userspace is the dataplane in this process, on a TUN device.
type userspace struct {
	dataplane *portolan.Dataplane
	driver    *portolan.Driver

	mutex sync.Mutex // of the dataplane: publishing and polling are two goroutines'

	inForce chan struct{} // closed once it is
	first   sync.Once
}

// Limits are the capacities and timeouts of a dataplane in userspace: what [Sysctls] are in the kernel, of each family. What
// the configuration leaves alone is the library's default.
func Limits(c *config.Configuration) portolan.Limits {
	conntrack := &c.Conntrack
	connections := uint32(min(uint64(conntrackMax(*conntrack.MaxPerCore, *conntrack.Min, runtime.NumCPU())), math.MaxUint32))
	return portolan.Limits{
		ConnectionsIPv4: connections, ConnectionsIPv6: connections,
		Timeouts: portolan.Timeouts{
			TCPEstablished: conntrack.TCPEstablishedTimeout.Duration,
			TCPCloseWait:   conntrack.TCPCloseWaitTimeout.Duration,
			UDP:            conntrack.UDPTimeout.Duration,
			UDPStream:      conntrack.UDPStreamTimeout.Duration,
		},
	}
}

func openUserspace(ctx context.Context, node *portolan.Node, limits portolan.Limits) (Backend, error) {
	var seed [16]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	dataplane, err := node.NewDataplane(limits, seed)
	if err != nil {
		return nil, err
	}
	driver, err := dataplane.StartTUN(portolan.TUNOptions{Name: tunName, Queues: 1, Up: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("device %s: %w", tunName, err), dataplane.Close())
	}
	for _, loss := range driver.Losses() {
		klog.FromContext(ctx).Info("The device offers less", "device", driver.Name(), "lost", loss)
	}
	return &userspace{dataplane: dataplane, driver: driver, inForce: make(chan struct{})}, nil
}

// Sync publishes. What does not fit the limits is told of and left out.
func (u *userspace) Sync(ctx context.Context) error {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	_, rejections, err := u.dataplane.Publish()
	for _, rejection := range rejections {
		klog.FromContext(ctx).Info("Left out", "object", rejection.Object, "field", rejection.Field, "rule", rejection.Rule)
	}
	if err == nil {
		u.first.Do(func() { close(u.inForce) })
	}
	return err
}

// Run removes what a kube-proxy left in the kernel, which would translate packets before they get here, once the
// dataplane can take its place. From then on it polls: connections expire, and what was published is finished.
func (u *userspace) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-u.inForce:
	}
	if err := Cleanup(ctx, klog.FromContext(ctx)); err != nil {
		klog.FromContext(ctx).Error(err, "Not all of what other modes left is removed")
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		u.mutex.Lock()
		now := portolan.DriverNow()
		next, err := u.dataplane.Poll(now)
		u.mutex.Unlock()
		if err != nil {
			return err
		}
		timer.Reset(min(max(time.Duration(next-now), pollLeast), pollMost))
	}
}

// Bounds of the time between two polls.
const (
	pollLeast = 10 * time.Millisecond
	pollMost  = time.Second
)

// Close stops moving packets.
func (u *userspace) Close() error {
	return errors.Join(u.driver.Close(), u.dataplane.Close())
}
