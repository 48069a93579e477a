package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

// Identity is what the cluster says of this node that decisions depend on.
type Identity struct {
	// Name is the node's.
	Name string
	// Addresses are the node's; the first of each family is primary.
	Addresses []netip.Addr
	// HostAddresses are those of the host's interfaces, which may be more.
	HostAddresses []netip.Addr
	// PodCIDRs are where its pods' addresses come from.
	PodCIDRs []string
	// Zone is that of its label topology.kubernetes.io/zone; empty if it has none.
	Zone string
}

// A node is asked for each second until it is there and has addresses, for five minutes, as in kube-proxy: kubelet and the
// controllers that write them may be on their way.
const (
	identityPause  = time.Second
	identityBounds = 5 * time.Minute
)

// NodeName is the configuration's, or this host's.
func NodeName(c *config.Configuration) (string, error) {
	if name := strings.ToLower(strings.TrimSpace(c.HostnameOverride)); name != "" {
		return name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	if name = strings.ToLower(strings.TrimSpace(name)); name == "" {
		return "", errors.New("this host has no name: give --hostname-override")
	}
	return name, nil
}

// Identify asks the API server who this node is.
func Identify(ctx context.Context, client kubernetes.Interface, c *config.Configuration) (Identity, error) {
	name, err := NodeName(c)
	if err != nil {
		return Identity{}, err
	}
	needPodCIDRs := c.DetectLocalMode == "NodeCIDR"
	var identity Identity
	var last error
	err = wait.PollUntilContextTimeout(ctx, identityPause, identityBounds, true, func(ctx context.Context) (bool, error) {
		var node *corev1.Node
		if node, last = client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); last != nil {
			klog.FromContext(ctx).Error(last, "Cannot read this node", "node", name)
			return false, nil
		}
		if identity, last = identityOf(node); last != nil {
			klog.FromContext(ctx).Info("Waiting for this node", "reason", last.Error())
		}
		if last == nil && needPodCIDRs && len(identity.PodCIDRs) == 0 {
			last = fmt.Errorf("Node %s has no spec.podCIDRs, which detectLocalMode NodeCIDR needs", name)
		}
		return last == nil, nil
	})
	if err != nil {
		return Identity{}, fmt.Errorf("who is this node? %w", errors.Join(last, err))
	}
	return identity, nil
}

// identityOf reads a Node; one that has no address yet is an error.
func identityOf(node *corev1.Node) (Identity, error) {
	identity := Identity{
		Name:     node.Name,
		PodCIDRs: slices.Clone(node.Spec.PodCIDRs), Zone: node.Labels[corev1.LabelTopologyZone],
	}
	if len(identity.PodCIDRs) == 0 && node.Spec.PodCIDR != "" {
		identity.PodCIDRs = []string{node.Spec.PodCIDR}
	}
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, each := range node.Status.Addresses {
			address, err := netip.ParseAddr(each.Address)
			if each.Type == kind && err == nil && !slices.Contains(identity.Addresses, address) {
				identity.Addresses = append(identity.Addresses, address)
			}
		}
	}
	if len(identity.Addresses) == 0 {
		return identity, fmt.Errorf("Node %s has no InternalIP or ExternalIP", node.Name)
	}
	return identity, nil
}

// preferring is the addresses with bind first: a bindAddress that is one address is the primary one of its family.
func (i Identity) preferring(bindAddress string) []netip.Addr {
	bind, err := netip.ParseAddr(bindAddress)
	if err != nil || bind.IsUnspecified() || bind.IsLoopback() {
		return i.everyAddress()
	}
	others := slices.DeleteFunc(i.everyAddress(), func(each netip.Addr) bool { return each == bind })
	return slices.Insert(others, 0, bind)
}

// description is what a node's engine is made from.
type description struct {
	NodeName          string   `json:"nodeName"`
	IPs               []string `json:"ips"`
	Zone              string   `json:"zone,omitempty"`
	PodCIDRs          []string `json:"podCIDRs,omitempty"`
	ClusterCIDRs      []string `json:"clusterCIDRs,omitempty"`
	DetectLocal       string   `json:"detectLocal"`
	Bridge            string   `json:"bridgeInterface,omitempty"`
	InterfacePrefix   string   `json:"interfaceNamePrefix,omitempty"`
	MasqueradeAll     bool     `json:"masqueradeAll"`
	ServiceCIDRs      []string `json:"serviceCIDRs,omitempty"`
	NodePortAddresses []string `json:"nodePortAddresses,omitempty"`
	Scheduler         string   `json:"scheduler,omitempty"`
}

// Describe writes a node's description for portolan.NewNode.
func Describe(identity Identity, c *config.Configuration, serviceCIDRs []string) ([]byte, error) {
	addresses := identity.preferring(c.BindAddress)
	described := description{
		NodeName: identity.Name, Zone: identity.Zone, PodCIDRs: identity.PodCIDRs,
		DetectLocal: "None", MasqueradeAll: config.MasqueradeAll(c), ServiceCIDRs: serviceCIDRs,
		NodePortAddresses: nodePortAddresses(firsts(addresses), c),
	}
	for _, address := range addresses {
		described.IPs = append(described.IPs, address.String())
	}
	if c.ClusterCIDR != "" {
		described.ClusterCIDRs = strings.Split(c.ClusterCIDR, ",")
	}
	switch c.DetectLocalMode {
	case "NodeCIDR":
		described.DetectLocal = "NodeCIDR"
	case "BridgeInterface", "InterfaceNamePrefix":
		if config.InKernel(c.Mode) {
			described.DetectLocal = string(c.DetectLocalMode)
			described.Bridge, described.InterfacePrefix = c.DetectLocal.BridgeInterface, c.DetectLocal.InterfaceNamePrefix
		}
	case "", "ClusterCIDR":
		if c.ClusterCIDR != "" {
			described.DetectLocal = "ClusterCIDR"
		}
	}
	if c.Mode == config.ModeUserspace {
		described.Scheduler = c.IPVS.Scheduler
	}
	return json.Marshal(described)
}
