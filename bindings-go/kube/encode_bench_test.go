//go:build cgo

package kube

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	portolan "github.com/portolan/portolan/bindings-go"
)

// objects are Services with a slice of five endpoints each.
func objects(services int) []any {
	all, port := []any{}, int32(8080)
	for index := range services {
		name, address := fmt.Sprint("s-", index), fmt.Sprintf("10.97.%d.%d", index/250, index%250+1)
		all = append(all, slim(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Spec: corev1.ServiceSpec{
				ClusterIP: address, ClusterIPs: []string{address}, Type: corev1.ServiceTypeClusterIP,
				Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
			},
		}))
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "default", Name: name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name},
			},
			AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}},
		}
		for endpoint := range 5 {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 128+endpoint, index/250, index%250+1)},
			})
		}
		all = append(all, slim(slice))
	}
	return all
}

// BenchmarkObject tells what of an object's way into the node is its text: written here, and read there with all that is
// decided of it.
func BenchmarkObject(b *testing.B) {
	all := objects(applyAtOnce / 2)
	each := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)), "ns/object")
	}
	b.Run("written", func(b *testing.B) {
		for b.Loop() {
			if _, err := encode(all); err != nil {
				b.Fatal(err)
			}
		}
		each(b)
	})
	b.Run("applied", func(b *testing.B) {
		text, err := encode(all)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			b.StopTimer()
			node, err := portolan.NewNode([]byte("{nodeName: node-1, ips: [192.168.66.11]}"))
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if _, err := node.Apply(text); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			_ = node.Close()
			b.StartTimer()
		}
		each(b)
	})
}
