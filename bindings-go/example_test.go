//go:build cgo

package portolan_test

import (
	"fmt"
	"log"

	"github.com/portolan/portolan/bindings-go"
)

// Objects in, packets through.
func Example() {
	node, err := portolan.NewNode([]byte(config))
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	rejections, err := node.Apply([]byte(objects))
	if err != nil {
		log.Fatal(err)
	}
	for _, rejection := range rejections {
		fmt.Println(rejection) // data: everything else is served
	}
	node.Synced(portolan.KindService) // nothing is decided before the first full lists
	node.Synced(portolan.KindEndpointSlice)

	dataplane, err := node.NewDataplane(portolan.Limits{Workers: 1}, [16]byte{0x5e, 0xed}) // yours: crypto/rand
	if err != nil {
		log.Fatal(err)
	}
	defer dataplane.Close()
	if _, _, err := dataplane.Publish(); err != nil { // again after every change; each costs what changed
		log.Fatal(err)
	}
	worker, err := dataplane.NewWorker() // one for each goroutine that moves packets
	if err != nil {
		log.Fatal(err)
	}
	defer worker.Close()
	frames, err := dataplane.NewFrames(32, 2048) // packets from the IP header on
	if err != nil {
		log.Fatal(err)
	}
	defer frames.Close()

	packet := &frames.Descriptors()[0]
	packet.Len = uint32(copy(frames.Frame(0), syn))
	packet.Offload = portolan.Offload{Flags: portolan.OffloadPartial, ChecksumStart: 20, ChecksumOffset: 16}
	if err := worker.Process(1, frames, 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println(packet.Verdict, frames.Frame(0)[16:20])

	// Output:
	// Service default/web: spec.ports[1].port: 70000 is not a port: must be between 1 and 65535
	// forward [10 200 2 7]
}
