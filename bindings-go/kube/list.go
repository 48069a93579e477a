package kube

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	portolan "github.com/portolan/portolan/bindings-go"
)

// list is a v1 List.
type list struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Items      []any  `json:"items"`
}

type header struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Metadata   objectMeta `json:"metadata"`
}

type objectMeta struct {
	Namespace         string            `json:"namespace,omitempty"`
	Name              string            `json:"name"`
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	CreationTimestamp *metav1.Time      `json:"creationTimestamp,omitempty"`
}

type service struct {
	header
	Spec   *corev1.ServiceSpec   `json:"spec"`
	Status *corev1.ServiceStatus `json:"status"`
}

type endpointSlice struct {
	header
	AddressType discoveryv1.AddressType    `json:"addressType"`
	Endpoints   []discoveryv1.Endpoint     `json:"endpoints"`
	Ports       []discoveryv1.EndpointPort `json:"ports"`
}

type endpoints struct {
	header
	Subsets []corev1.EndpointSubset `json:"subsets,omitempty"`
}

type node struct {
	header
	Spec   nodeSpec   `json:"spec"`
	Status nodeStatus `json:"status"`
}

type nodeSpec struct {
	PodCIDR  string   `json:"podCIDR,omitempty"`
	PodCIDRs []string `json:"podCIDRs,omitempty"`
}

type nodeStatus struct {
	Addresses []corev1.NodeAddress `json:"addresses,omitempty"`
}

// slim is what a node reads of an object: managed fields, owners and the like stay behind, which are most of its text.
func slim(object runtime.Object) any {
	switch object := object.(type) {
	case *corev1.Service:
		return service{headed("v1", "Service", &object.ObjectMeta), &object.Spec, &object.Status}
	case *discoveryv1.EndpointSlice:
		return endpointSlice{
			headed("discovery.k8s.io/v1", "EndpointSlice", &object.ObjectMeta),
			object.AddressType, object.Endpoints, object.Ports,
		}
	case *corev1.Endpoints:
		return endpoints{headed("v1", "Endpoints", &object.ObjectMeta), object.Subsets}
	case *corev1.Node:
		return node{
			headed("v1", "Node", &object.ObjectMeta),
			nodeSpec{object.Spec.PodCIDR, object.Spec.PodCIDRs},
			nodeStatus{object.Status.Addresses},
		}
	}
	// Whatever it is, the node says what it thinks of it.
	return object
}

// encode writes objects as a v1 List.
func encode(objects []any) ([]byte, error) {
	text, err := json.Marshal(list{"v1", "List", objects})
	if err != nil {
		return nil, fmt.Errorf("encoding %d objects: %w", len(objects), err)
	}
	return text, nil
}

func headed(version, kind string, from *metav1.ObjectMeta) header {
	created := &from.CreationTimestamp
	if created.IsZero() {
		created = nil
	}
	return header{version, kind, objectMeta{from.Namespace, from.Name, from.Labels, from.Annotations, created}}
}

func kindName(kind portolan.Kind) string {
	switch kind {
	case portolan.KindService:
		return "Service"
	case portolan.KindEndpointSlice:
		return "EndpointSlice"
	case portolan.KindEndpoints:
		return "Endpoints"
	case portolan.KindNode:
		return "Node"
	case KindServiceCIDR:
		return "ServiceCIDR"
	}
	return fmt.Sprintf("kind %d", kind)
}
