package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/podnet"
)

// pod is the dataplane of one attachment. It follows what is decided for the node, with rules of its own.
type pod struct {
	record *attachment.Record
	log    *slog.Logger

	mutex      sync.Mutex // of the dataplane
	dataplane  *portolan.Dataplane
	generation uint64 // of the decisions that it has
	services   uint32 // how many there may be
	numbers    map[portolan.PortKey]uint32
	free       []uint32 // numbers below len(numbers) + len(free)

	driver *portolan.Driver
	relay  *podnet.Relay
	ended  chan struct{}
	polled sync.WaitGroup
}

// nodeSpec is what the dataplane knows of addresses. By a TUN, everything to a Service gets the pod's address as its
// source, and with it a source port by which the reply is known. By wire, replies pass anyway, and only what the pod asks
// of itself needs another source: an address that is led to the dataplane and is no Service's, the first of a ServiceCIDR.
func nodeSpec(record *attachment.Record) (spec portolan.NodeSpec) {
	spec.ServicePrefixes = record.ServiceCIDRs
	for _, address := range record.Addresses {
		spec.PodPrefixes = append(spec.PodPrefixes, netip.PrefixFrom(address, address.BitLen()))
		source := address
		if record.Wire != nil {
			services, _ := record.ServiceCIDR(address.Is6())
			source = services.Addr()
		}
		if address.Is6() {
			spec.MasqueradeIPv6 = source
		} else {
			spec.MasqueradeIPv4 = source
		}
	}
	return spec
}

// newPod makes tables and nothing that anybody sees.
func newPod(limits portolan.Limits, record *attachment.Record, log *slog.Logger) (*pod, error) {
	var seed [16]byte
	rand.Read(seed[:]) // never fails
	limits.MasqueradePorts = portolan.PortRange(record.Ports)
	if record.Wire != nil {
		limits.Workers *= 2 // one for each direction
	}
	dataplane, err := portolan.NewDataplane(limits, seed)
	if err != nil {
		return nil, err
	}
	if err := dataplane.SetNode(nodeSpec(record)); err != nil {
		return nil, errors.Join(err, dataplane.Close())
	}
	return &pod{
		record: record, dataplane: dataplane, services: limits.Services,
		numbers: map[portolan.PortKey]uint32{}, ended: make(chan struct{}),
		log: log.With("container", record.ContainerID, "interface", record.IfName),
	}, nil
}

// start leads packets through the dataplane.
func (p *pod) start(mtu int) error {
	begin := func() error { return p.startTUN(mtu) }
	if p.record.Wire != nil {
		begin = p.startWire
	}
	if err := podnet.In(p.record.Netns, p.record.Inode, begin); err != nil {
		return err
	}
	for _, loss := range p.driver.Losses() {
		p.log.Info("the device offers less", "lost", loss)
	}
	p.polled.Add(1)
	go p.poll()
	return nil
}

// startTUN opens the device in the pod's namespace and moves its packets, then leads packets there. It is run inside.
func (p *pod) startTUN(mtu int) (err error) {
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
}

// startWire moves the pod's packets between its interface and what stands outside. It is run inside.
func (p *pod) startWire() (err error) {
	if err := podnet.Lay(p.record); err != nil {
		return err
	}
	p.driver, err = p.dataplane.StartAFPacket(portolan.AFPacketOptions{Interface: podnet.Device, OtherSide: podnet.Outside})
	return err
}

// check says what is wrong with what start made.
func (p *pod) check() error {
	return podnet.In(p.record.Netns, p.record.Inode, func() error { return podnet.Check(p.record) })
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
	return errors.Join(append(failed, p.dataplane.Close())...)
}

// follow brings what was decided since the last time into force.
func (p *pod) follow(node *portolan.Node) error {
	changes, err := node.Changes(p.generation)
	if err != nil {
		return err
	}
	p.mutex.Lock()
	left, err := p.note(changes)
	p.mutex.Unlock()
	if err != nil {
		return err
	}
	p.generation = changes.To
	if left > 0 {
		p.log.Warn("no room", "ServicePorts", left, "limit", p.services)
		p.generation = 0 // with the next change everything is looked at again
	}
	return p.publish()
}

// note gives the dataplane what changed, which nobody sees yet, and says how many ServicePorts there is no room for.
func (p *pod) note(changes portolan.Changes) (left int, err error) {
	wanted := map[portolan.PortKey]bool{}
	for change := range changes.All() {
		if change.Kind == portolan.ChangePut && changes.Full {
			wanted[change.PortKey] = true
		}
	}
	for known := range p.numbers {
		if changes.Full && !wanted[known] {
			err = errors.Join(err, p.remove(known))
		}
	}
	for change := range changes.All() {
		switch change.Kind {
		case portolan.ChangeRemove:
			err = errors.Join(err, p.remove(change.PortKey))
		case portolan.ChangePut:
			number, ok := p.number(change.PortKey)
			if !ok {
				left++
				continue
			}
			err = errors.Join(err, p.dataplane.PutService(number, change.Protocol, p.as(*change.Service)))
		}
	}
	return left, err
}

func (p *pod) remove(gone portolan.PortKey) error {
	number, known := p.numbers[gone]
	if !known {
		return nil
	}
	delete(p.numbers, gone)
	p.free = append(p.free, number)
	return p.dataplane.RemoveService(number)
}

// number is a ServicePort's in the dataplane, if there is one for it.
func (p *pod) number(of portolan.PortKey) (number uint32, ok bool) {
	if number, ok = p.numbers[of]; ok {
		return number, true
	}
	number = uint32(len(p.numbers)) // all of them are taken, unless some are free
	if last := len(p.free) - 1; last >= 0 {
		number, p.free = p.free[last], p.free[:last]
	}
	if number >= p.services {
		return 0, false
	}
	p.numbers[of] = number
	return number, true
}

// as is what was decided, with the pod's own way to have replies come back.
func (p *pod) as(service portolan.ServiceSpec) portolan.ServiceSpec {
	for i := range service.Frontends {
		for source := range service.Frontends[i].Rules {
			service.Frontends[i].Rules[source].Masquerade = p.record.Wire == nil
		}
	}
	return service
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
