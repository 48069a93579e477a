package attachment

import "net/netip"

// Wire is a pod's interface as another plugin made it. With ModeWire it stands outside, without address, and an interface
// of its name, link address, addresses and routes takes its place.
type Wire struct {
	// HardwareAddr is its link address; empty: it has not been looked at yet.
	HardwareAddr string        `json:"hardwareAddr,omitempty"`
	MTU          int           `json:"mtu,omitempty"`
	Addresses    []WireAddress `json:"addresses,omitempty"`
	Routes       []WireRoute   `json:"routes,omitempty"`
	// Laid: addresses and routes are on the interface in its place. They are moved once: a sandbox takes them from there
	// to its own network stack, and whoever puts them back has two hosts with one address.
	Laid bool `json:"laid,omitempty"`
}

// WireAddress is one address of it.
type WireAddress struct {
	Prefix    netip.Prefix `json:"prefix"`
	Broadcast netip.Addr   `json:"broadcast,omitzero"`
	Scope     int          `json:"scope,omitempty"`
	Flags     int          `json:"flags,omitempty"`
}

// WireRoute is one route by it.
type WireRoute struct {
	To       netip.Prefix `json:"to"`
	Gateway  netip.Addr   `json:"gateway,omitzero"`
	Source   netip.Addr   `json:"source,omitzero"`
	Table    int          `json:"table,omitempty"`
	Protocol int          `json:"protocol,omitempty"`
	Scope    int          `json:"scope,omitempty"`
	Priority int          `json:"priority,omitempty"`
	MTU      int          `json:"mtu,omitempty"`
	Flags    int          `json:"flags,omitempty"`
}
