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

// list is a v1 List of what a node reads of objects: managed fields, owners and statuses stay behind, which are most of
// an object's text.
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

func (l *list) empty() bool { return len(l.Items) == 0 }

func (l *list) add(kind portolan.Kind, object runtime.Object) {
	switch object := object.(type) {
	case *corev1.Service:
		l.Items = append(l.Items, service{
			headed("v1", "Service", &object.ObjectMeta), &object.Spec, &object.Status,
		})
	case *discoveryv1.EndpointSlice:
		l.Items = append(l.Items, endpointSlice{
			headed("discovery.k8s.io/v1", "EndpointSlice", &object.ObjectMeta),
			object.AddressType, object.Endpoints, object.Ports,
		})
	case *corev1.Endpoints:
		l.Items = append(l.Items, endpoints{headed("v1", "Endpoints", &object.ObjectMeta), object.Subsets})
	case *corev1.Node:
		l.Items = append(l.Items, node{
			headed("v1", "Node", &object.ObjectMeta),
			nodeSpec{object.Spec.PodCIDR, object.Spec.PodCIDRs},
			nodeStatus{object.Status.Addresses},
		})
	default:
		// Whatever it is, the node says what it thinks of it.
		l.Items = append(l.Items, object)
	}
}

func (l *list) encode() ([]byte, error) {
	l.APIVersion, l.Kind = "v1", "List"
	text, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encoding %d objects: %w", len(l.Items), err)
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
