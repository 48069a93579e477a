package daemon

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/podnet"
)

// pod is the dataplane of one attachment, with a node of its own: the address that it masquerades to is the pod's.
type pod struct {
	record *attachment.Record
	log    *slog.Logger

	mutex     sync.Mutex // of node and dataplane
	node      *portolan.Node
	dataplane *portolan.Dataplane

	driver *portolan.Driver
	relay  *podnet.Relay
	ended  chan struct{}
	polled sync.WaitGroup
}

// description is what a node is made from. To the engine the pod is the node: everything to a Service gets the pod's
// address as its source, and with it a source port by which the reply is known. Its zone is the Node object's.
type description struct {
	NodeName      string   `json:"nodeName"`
	IPs           []string `json:"ips,omitempty"`
	DetectLocal   string   `json:"detectLocal"`
	MasqueradeAll bool     `json:"masqueradeAll"`
	ServiceCIDRs  []string `json:"serviceCIDRs,omitempty"`
}

func describe(nodeName string, a *attachment.Attachment) ([]byte, error) {
	described := description{
		NodeName: nodeName, DetectLocal: "None", MasqueradeAll: true,
	}
	if a != nil {
		for _, address := range a.Addresses {
			described.IPs = append(described.IPs, address.String())
		}
		for _, prefix := range a.ServiceCIDRs {
			described.ServiceCIDRs = append(described.ServiceCIDRs, prefix.String())
		}
	}
	return json.Marshal(described)
}

// newPod makes tables and nothing that anybody sees.
func newPod(nodeName string, limits portolan.Limits, record *attachment.Record, log *slog.Logger) (*pod, error) {
	text, err := describe(nodeName, &record.Attachment)
	if err != nil {
		return nil, err
	}
	node, err := portolan.NewNode(text)
	if err != nil {
		return nil, err
	}
	var seed [16]byte
	rand.Read(seed[:]) // never fails
	limits.MasqueradePorts = portolan.PortRange(record.Ports)
	dataplane, err := node.NewDataplane(limits, seed)
	if err != nil {
		return nil, errors.Join(err, node.Close())
	}
	return &pod{
		record: record, node: node, dataplane: dataplane, ended: make(chan struct{}),
		log: log.With("container", record.ContainerID, "interface", record.IfName),
	}, nil
}

// start opens the device in the pod's namespace and moves its packets, then leads packets there.
func (p *pod) start(mtu int) error {
	err := podnet.In(p.record.Netns, p.record.Inode, func() (err error) {
		if p.driver, err = p.dataplane.StartTUN(portolan.TUNOptions{Name: podnet.Device, MTU: mtu}); err != nil {
			return err
		}
		if err := podnet.Configure(&p.record.Attachment); err != nil {
			return err
		}
		p.relay, err = podnet.NewRelay(p.record.IfName)
		if err != nil {
			// A pod without errors about its packets is better than none.
			p.log.Warn("ICMP errors are not translated", "error", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, loss := range p.driver.Losses() {
		p.log.Info("the device offers less", "lost", loss)
	}
	p.polled.Add(1)
	go p.poll()
	return nil
}

// check says what is wrong with what start made.
func (p *pod) check() error {
	return podnet.In(p.record.Netns, p.record.Inode, func() error { return podnet.Check(&p.record.Attachment) })
}

// close stops moving packets and frees everything; the namespace stays as it is arranged. Again has no effect.
func (p *pod) close() error {
	var failed []error
	if p.relay != nil {
		failed = append(failed, p.relay.Close())
		p.relay = nil
	}
	if p.driver != nil {
		close(p.ended)
		p.polled.Wait()
		// That it had ended by itself is why it is closed, and was told of then.
		_ = p.driver.Close()
		p.driver = nil
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return errors.Join(append(failed, p.dataplane.Close(), p.node.Close())...)
}

func (p *pod) commit(batch *portolan.Batch) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_, _, err := p.node.Commit(batch)
	return err
}

func (p *pod) synced(kind portolan.Kind) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.node.Synced(kind)
}

// publishAttempts bounds how often a worker that still reads an older generation is waited for, a millisecond each.
const publishAttempts = 1000

func (p *pod) publish() error {
	for range publishAttempts {
		p.mutex.Lock()
		_, rejections, err := p.dataplane.Publish()
		p.mutex.Unlock()
		for _, each := range rejections {
			p.log.Warn("no room", "object", each.Object, "field", each.Field, "rule", each.Rule)
		}
		if !errors.Is(err, portolan.ErrAgain) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("publishing: %w", portolan.ErrAgain)
}

// Bounds of the time between two polls.
const (
	pollLeast = 10 * time.Millisecond
	pollMost  = time.Second
)

// poll does timed work until the pod is closed: connections expire, and what was published is finished.
func (p *pod) poll() {
	defer p.polled.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-timer.C:
		}
		p.mutex.Lock()
		now := portolan.DriverNow()
		next, err := p.dataplane.Poll(now)
		p.mutex.Unlock()
		if err != nil {
			p.log.Error("polling", "error", err)
			return
		}
		timer.Reset(min(max(time.Duration(next-now), pollLeast), pollMost))
	}
}
