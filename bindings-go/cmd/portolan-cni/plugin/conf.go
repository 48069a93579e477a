package plugin

import (
	"encoding/json"
	"net/netip"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

// configuration is the plugin's part of a network configuration.
type configuration struct {
	types.PluginConf
	// ServiceCIDRs are where Services' addresses come from.
	ServiceCIDRs []netip.Prefix `json:"serviceCIDRs"`
	// MasqueradePorts are the source ports that packets to Services get; absent: attachment.DefaultPorts.
	MasqueradePorts *attachment.Ports `json:"masqueradePorts"`
	// Mode is how packets get into the dataplane; absent: attachment.ModeAuto.
	Mode attachment.Mode `json:"mode"`
	// Socket is where the daemon listens, State the directory of its attachments.
	Socket string `json:"socket"`
	State  string `json:"state"`
}

func parse(stdin []byte) (*configuration, error) {
	conf := &configuration{Mode: attachment.ModeAuto, Socket: attachment.DefaultSocket, State: attachment.DefaultState}
	if err := json.Unmarshal(stdin, conf); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "the network configuration cannot be read", err.Error())
	}
	if conf.MasqueradePorts == nil {
		conf.MasqueradePorts = &attachment.DefaultPorts
	}
	if err := version.ParsePrevResult(&conf.PluginConf); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "prevResult cannot be read", err.Error())
	}
	return conf, nil
}

// previous is what the plugins before this one have made.
func (c *configuration) previous() (*current.Result, error) {
	if c.PrevResult == nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "prevResult is missing",
			"portolan-cni is a chained plugin: another must give the pod its interface first")
	}
	return current.NewResultFromResult(c.PrevResult)
}

// attachment is what the daemon is asked for.
func (c *configuration) attachment(arguments *skel.CmdArgs) (*attachment.Attachment, error) {
	previous, err := c.previous()
	if err != nil {
		return nil, err
	}
	wanted := &attachment.Attachment{
		ID:      attachment.ID{ContainerID: arguments.ContainerID, IfName: arguments.IfName},
		Network: c.Name, Netns: arguments.Netns, ServiceCIDRs: c.ServiceCIDRs, Ports: *c.MasqueradePorts,
		Mode: c.Mode,
	}
	families := map[bool]bool{}
	for _, ip := range previous.IPs {
		address, ok := netip.AddrFromSlice(ip.Address.IP)
		if address = address.Unmap(); ok && isOn(previous, ip, arguments) && !families[address.Is6()] {
			families[address.Is6()] = true
			wanted.Addresses = append(wanted.Addresses, address)
		}
	}
	if err := wanted.Validate(); err != nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "this cannot be attached", err.Error())
	}
	return wanted, nil
}

// isOn: is an address on the pod's interface? One that names no interface is.
func isOn(result *current.Result, ip *current.IPConfig, arguments *skel.CmdArgs) bool {
	if ip.Interface == nil {
		return true
	}
	if *ip.Interface < 0 || *ip.Interface >= len(result.Interfaces) {
		return false
	}
	on := result.Interfaces[*ip.Interface]
	return on.Name == arguments.IfName && on.Sandbox != ""
}
