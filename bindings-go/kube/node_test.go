//go:build cgo

package kube_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/kube"
)

func newNode(t *testing.T) *portolan.Node {
	t.Helper()
	node, err := portolan.NewNode([]byte("{nodeName: node-1, ips: [192.168.66.11], clusterCIDRs: [10.0.0.0/16]}"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() })
	return node
}

// decided is all that a node has decided, a row for each ServicePort in each family.
func decided(t *testing.T, node *portolan.Node) []string {
	t.Helper()
	changes, err := node.Changes(0)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for change := range changes.All() {
		row := fmt.Sprintf("%v %+v %+v", change.Kind, change.Service, change.Node)
		rows = append(rows, fmt.Sprintf("%s/%s %s %v %v %s", change.Namespace, change.Name, change.PortName, change.Protocol, change.IPv6, row))
	}
	slices.Sort(rows)
	return rows
}

// serves: does the node serve a Service of this name, with an endpoint? Services and slices come by different watches.
func serves(node *portolan.Node, name string) bool {
	for frontend := range node.Frontends() {
		if frontend.Name == name && frontend.ClusterEndpoints > 0 {
			return true
		}
	}
	return false
}

func TestAfterAnyChangesTheNodeServesWhatAFreshOneServes(t *testing.T) {
	server := newServer(t)
	client, err := kubernetes.NewForConfig(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	// While the follower runs the node is its own: it is read where it is rendered.
	follow := func(last string) (*portolan.Node, func() error) {
		node, seen := newNode(t), make(chan struct{}, 1)
		informers, err := kube.NewInformers(client, "node-1", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		follower := kube.NewFollower(node, kube.WithRender(func(context.Context, kube.Batch) error {
			if serves(node, last) {
				select {
				case seen <- struct{}{}:
				default:
				}
			}
			return nil
		}))
		if err := informers.Feed(follower); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		informers.Start(ctx.Done())
		ended := make(chan error, 1)
		go func() { ended <- follower.Run(ctx) }()
		return node, func() error {
			defer informers.Shutdown()
			defer cancel()
			select {
			case <-seen:
			case err := <-ended:
				return err
			case <-time.After(patience):
				return fmt.Errorf("no %s after %v", last, patience)
			}
			cancel()
			return <-ended
		}
	}
	node, whenSeen := follow("last")
	local := corev1.ServiceInternalTrafficPolicyLocal
	const changes = 10_000
	random := rand.New(rand.NewPCG(3, 4))
	for range changes {
		name := fmt.Sprintf("s-%d", random.IntN(40))
		web := service(name, nil, int32(1+random.IntN(100)))
		web.Spec.ClusterIP = fmt.Sprintf("10.96.0.%d", 1+random.IntN(40)) // contested at times
		web.Spec.ClusterIPs = []string{web.Spec.ClusterIP}
		if random.IntN(3) == 0 {
			web.Spec.InternalTrafficPolicy = &local
		}
		switch random.IntN(4) {
		case 0:
			server.Delete(web)
		case 1:
			server.Put(web)
		case 2:
			server.Put(slice(name+"-1", name, fmt.Sprintf("10.0.0.%d", 1+random.IntN(250))))
		case 3:
			server.Delete(slice(name+"-1", name, ""))
		}
	}
	server.Put(service("last", nil, 4242))
	server.Put(slice("last-1", "last", "10.0.1.1"))
	if err := whenSeen(); err != nil {
		t.Fatal(err)
	}
	fresh, whenSeen := follow("last")
	if err := whenSeen(); err != nil {
		t.Fatal(err)
	}
	if got, want := decided(t, node), decided(t, fresh); !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("after %d changes\n%v\nafresh\n%v", changes, got, want)
	}
}
