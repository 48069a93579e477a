package proxy

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"k8s.io/klog/v2"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/metrics"
)

// tableName is what neighbours know a kube-proxy by: Felix looks for a table of this name, and a kube-proxy that takes
// over, or is taken over from, has it too.
const tableName = "kube-proxy"

// kernel is nftables in this network namespace.
type kernel struct {
	node  *portolan.Node
	start time.Time

	inForce chan struct{} // closed once the tables are
	first   sync.Once

	mutex sync.Mutex // of the tables: syncing and polling are two goroutines'
	nft   *portolan.NFT
	told  portolan.NFTStats // as metrics
}

func openKernel(_ context.Context, node *portolan.Node) (Backend, error) {
	nft, err := portolan.OpenNFT(portolan.NFTOptions{Table: tableName})
	if err != nil {
		return nil, err
	}
	return &kernel{node: node, nft: nft, start: time.Now(), inForce: make(chan struct{})}, nil
}

func (k *kernel) now() int64 { return int64(time.Since(k.start)) }

// Sync brings the kernel's tables to the node's decisions.
func (k *kernel) Sync(ctx context.Context) error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	begun := time.Now()
	if err := k.nft.Sync(k.node, k.now()); err != nil {
		return err
	}
	if err := k.tell(time.Since(begun)); err != nil {
		return err
	}
	k.first.Do(func() { close(k.inForce) })
	if logger := klog.FromContext(ctx).V(4); logger.Enabled() {
		rejections, err := k.nft.Rejections()
		if err != nil {
			return err
		}
		for _, rejection := range rejections {
			logger.Info("Not as asked", "object", rejection.Object, "field", rejection.Field, "rule", rejection.Rule)
		}
	}
	return nil
}

// Run removes what kube-proxy's older modes left, once the tables are there to take their place. From then on it deletes
// what nobody asks for any more, and repairs what somebody else changed.
func (k *kernel) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-k.inForce:
	}
	if err := cleanOlderModes(ctx, klog.FromContext(ctx)); err != nil {
		klog.FromContext(ctx).Error(err, "Not all of what other modes left is removed")
	}
	timer := time.NewTimer(pollLeast)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		k.mutex.Lock()
		now := k.now()
		begun := time.Now()
		next, err := k.nft.Poll(now)
		err = errors.Join(err, k.tell(time.Since(begun)))
		k.mutex.Unlock()
		wait := pollMost
		if err != nil {
			metrics.CleanupFailed()
			klog.FromContext(ctx).Error(err, "Tables not looked over; trying again")
		} else if next < math.MaxInt64 {
			wait = min(max(time.Duration(next-now), pollLeast), pollMost)
		}
		timer.Reset(wait)
	}
}

// tell tells what was done by a call that took so long. Called with the mutex held.
func (k *kernel) tell(took time.Duration) error {
	now, err := k.nft.Stats()
	if err != nil {
		return err
	}
	if now.FlowReadsIPv4 > k.told.FlowReadsIPv4 {
		metrics.Forgotten(false, now.StaleFlowsIPv4-k.told.StaleFlowsIPv4, took)
	}
	if now.FlowReadsIPv6 > k.told.FlowReadsIPv6 {
		metrics.Forgotten(true, now.StaleFlowsIPv6-k.told.StaleFlowsIPv6, took)
	}
	k.told = now
	return nil
}

// Close leaves the tables as they are: packets go on while the proxy is away.
func (k *kernel) Close() error { return k.nft.Close() }
