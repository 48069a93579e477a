package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

// service is the manifest of one with one port, and of its endpoint.
func service(number int) []byte {
	return fmt.Appendf(nil, `{apiVersion: v1, kind: Service, metadata: {namespace: default, name: s%[1]d},
 spec: {clusterIP: 10.96.0.%[1]d, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: [{port: 8080}],
 metadata: {namespace: default, name: s%[1]d, labels: {kubernetes.io/service-name: s%[1]d}},
 endpoints: [{addresses: [10.200.2.%[1]d]}]}
`, number)
}

func TestPodsFollowWhatIsDecidedAsFarAsThereIsRoom(t *testing.T) {
	objects, err := newObjects("n1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer objects.node.Close()
	limits := portolan.Limits{
		ConnectionsIPv4: 64, ConnectionsIPv6: 64, Services: 3, Frontends: 16, Endpoints: 16, Workers: 1,
	}
	record := &attachment.Record{Attachment: attachment.Attachment{
		Addresses:    []netip.Addr{netip.MustParseAddr("10.244.1.10")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}, Ports: attachment.DefaultPorts,
	}}
	pod, err := newPod(limits, record, objects.log)
	if err != nil {
		t.Fatal(err)
	}
	defer pod.close()
	if err := objects.join(pod); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		there  []int
		served uint64
	}{
		{[]int{1}, 1}, {[]int{1, 2, 3}, 3}, {[]int{1, 2, 3, 4, 5}, 3}, {[]int{3, 4, 5}, 3}, {[]int{6, 7}, 2}, {nil, 0},
		{[]int{7, 8, 9}, 3},
	} {
		files := map[string][]byte{}
		for _, number := range step.there {
			files[fmt.Sprint(number)] = service(number)
		}
		rejections, err := objects.Replace(files)
		if err == nil {
			err = objects.publish()
		}
		stats, failed := pod.dataplane.Stats()
		if err != nil || failed != nil || len(rejections) != 0 || stats.Services != step.served {
			t.Errorf("%v: %d are served: %v %v %v", step.there, stats.Services, err, failed, rejections)
		}
	}
}
