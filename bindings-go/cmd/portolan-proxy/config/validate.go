package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/utils/ptr"
)

// Modes that mean something here: those of kube-proxy, and Portolan's own.
const (
	ModeDefault   v1alpha1.ProxyMode = ""
	ModeIPTables  v1alpha1.ProxyMode = "iptables"
	ModeIPVS      v1alpha1.ProxyMode = "ipvs"
	ModeNFTables  v1alpha1.ProxyMode = "nftables"
	ModeUserspace v1alpha1.ProxyMode = "userspace"
)

var (
	modes      = []v1alpha1.ProxyMode{ModeDefault, ModeIPTables, ModeIPVS, ModeNFTables, ModeUserspace}
	localModes = []v1alpha1.LocalMode{"", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"}
	schedulers = []string{"", "rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh"}
)

// Validate gives everything that is wrong, each by its field.
func Validate(c *Configuration) field.ErrorList {
	var all field.ErrorList
	oneOf := func(path *field.Path, value string, allowed []string) {
		for _, each := range allowed {
			if each == value {
				return
			}
		}
		all = append(all, field.NotSupported(path, value, allowed))
	}
	oneOf(field.NewPath("mode"), string(c.Mode), texts(modes))
	oneOf(field.NewPath("detectLocalMode"), string(c.DetectLocalMode), texts(localModes))
	all = append(all, detectLocal(c)...)
	oneOf(field.NewPath("ipvs", "scheduler"), c.IPVS.Scheduler, schedulers)
	if _, err := netip.ParseAddr(c.BindAddress); err != nil {
		all = append(all, field.Invalid(field.NewPath("bindAddress"), c.BindAddress, "not an IP address"))
	}
	all = append(all, hostPort(field.NewPath("healthzBindAddress"), c.HealthzBindAddress)...)
	all = append(all, hostPort(field.NewPath("metricsBindAddress"), c.MetricsBindAddress)...)
	all = append(all, clusterCIDR(c)...)
	all = append(all, nodePortAddresses(c.NodePortAddresses)...)
	all = append(all, masqueradeBit(field.NewPath("iptables", "masqueradeBit"), c.IPTables.MasqueradeBit)...)
	all = append(all, masqueradeBit(field.NewPath("nftables", "masqueradeBit"), c.NFTables.MasqueradeBit)...)
	if score := c.OOMScoreAdj; score != nil && (*score < -1000 || *score > 1000) {
		all = append(all, field.Invalid(field.NewPath("oomScoreAdj"), *score, "must be within the range [-1000, 1000]"))
	}
	return append(all, durations(c)...)
}

// detectLocal is an interface, or how the names of some begin, where the mode asks for it.
func detectLocal(c *Configuration) field.ErrorList {
	path, name := field.NewPath("detectLocal", "bridgeInterface"), c.DetectLocal.BridgeInterface
	switch c.DetectLocalMode {
	case "BridgeInterface":
	case "InterfaceNamePrefix":
		path, name = field.NewPath("detectLocal", "interfaceNamePrefix"), c.DetectLocal.InterfaceNamePrefix
	default:
		return nil
	}
	if name == "" || len(name) > maxInterfaceName {
		return field.ErrorList{field.Invalid(path, name, "must be the name of an interface, of at most 15 bytes")}
	}
	return nil
}

// maxInterfaceName is Linux's IFNAMSIZ without the byte that ends it.
const maxInterfaceName = 15

// durations are told of in the order of the fields, however many are wrong.
func durations(c *Configuration) field.ErrorList {
	var all field.ErrorList
	for _, each := range []struct {
		path  *field.Path
		value metav1.Duration
	}{
		{field.NewPath("configSyncPeriod"), c.ConfigSyncPeriod},
		{field.NewPath("iptables", "syncPeriod"), c.IPTables.SyncPeriod},
		{field.NewPath("ipvs", "syncPeriod"), c.IPVS.SyncPeriod},
		{field.NewPath("nftables", "syncPeriod"), c.NFTables.SyncPeriod},
	} {
		if each.value.Duration <= 0 {
			all = append(all, field.Invalid(each.path, each.value.Duration.String(), "must be greater than 0"))
		}
	}
	for _, each := range []struct {
		path  *field.Path
		value metav1.Duration
	}{
		{field.NewPath("iptables", "minSyncPeriod"), c.IPTables.MinSyncPeriod},
		{field.NewPath("ipvs", "minSyncPeriod"), c.IPVS.MinSyncPeriod},
		{field.NewPath("nftables", "minSyncPeriod"), c.NFTables.MinSyncPeriod},
		{field.NewPath("ipvs", "tcpTimeout"), c.IPVS.TCPTimeout},
		{field.NewPath("ipvs", "tcpFinTimeout"), c.IPVS.TCPFinTimeout},
		{field.NewPath("ipvs", "udpTimeout"), c.IPVS.UDPTimeout},
		{field.NewPath("conntrack", "tcpEstablishedTimeout"), ptr.Deref(c.Conntrack.TCPEstablishedTimeout, metav1.Duration{})},
		{field.NewPath("conntrack", "tcpCloseWaitTimeout"), ptr.Deref(c.Conntrack.TCPCloseWaitTimeout, metav1.Duration{})},
		{field.NewPath("conntrack", "udpTimeout"), c.Conntrack.UDPTimeout},
		{field.NewPath("conntrack", "udpStreamTimeout"), c.Conntrack.UDPStreamTimeout},
	} {
		if each.value.Duration < 0 {
			all = append(all, field.Invalid(each.path, each.value.Duration.String(), "must be greater than or equal to 0"))
		}
	}
	for _, each := range []struct {
		mode            string
		period, atLeast metav1.Duration
	}{
		{"iptables", c.IPTables.SyncPeriod, c.IPTables.MinSyncPeriod},
		{"ipvs", c.IPVS.SyncPeriod, c.IPVS.MinSyncPeriod},
		{"nftables", c.NFTables.SyncPeriod, c.NFTables.MinSyncPeriod},
	} {
		if each.period.Duration < each.atLeast.Duration {
			path := field.NewPath(each.mode, "syncPeriod")
			all = append(all, field.Invalid(path, each.period.Duration.String(), "must not be less than minSyncPeriod"))
		}
	}
	return all
}

// clusterCIDR is one CIDR, or one of each family.
func clusterCIDR(c *Configuration) field.ErrorList {
	if c.ClusterCIDR == "" {
		return nil
	}
	path := field.NewPath("clusterCIDR")
	var families [2]int
	for _, text := range strings.Split(c.ClusterCIDR, ",") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return field.ErrorList{field.Invalid(path, c.ClusterCIDR, text+" is not a CIDR such as 10.0.0.0/16")}
		}
		if prefix.Addr().Is6() {
			families[1]++
		} else {
			families[0]++
		}
	}
	if families[0] > 1 || families[1] > 1 {
		return field.ErrorList{field.Invalid(path, c.ClusterCIDR, "must be one CIDR, or one IPv4 and one IPv6 CIDR")}
	}
	return nil
}

// Words for addresses at which NodePorts are served, in any company (KEP-6032).
const (
	NodePortsPrimary   = "primary"
	NodePortsAll       = "all"
	NodePortsLocalhost = "localhost"
)

func nodePortAddresses(addresses []string) field.ErrorList {
	var all field.ErrorList
	path := field.NewPath("nodePortAddresses")
	for index, text := range addresses {
		if slices.Contains([]string{NodePortsPrimary, NodePortsAll, NodePortsLocalhost}, text) {
			continue
		}
		if _, err := netip.ParsePrefix(text); err != nil {
			all = append(all, field.Invalid(path.Index(index), text, "must be a valid CIDR, primary, all or localhost"))
		}
	}
	return all
}

func masqueradeBit(path *field.Path, bit *int32) field.ErrorList {
	if bit == nil || (*bit >= 0 && *bit <= 31) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, *bit, "must be within the range [0, 31]")}
}

func hostPort(path *field.Path, address string) field.ErrorList {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return field.ErrorList{field.Invalid(path, address, "must be IP:port")}
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return field.ErrorList{field.Invalid(path, address, "must be a valid IP")}
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return field.ErrorList{field.Invalid(path, address, "must be a valid port")}
	}
	return nil
}

func texts[T ~string](values []T) []string {
	var all []string
	for _, value := range values {
		all = append(all, string(value))
	}
	return all
}
