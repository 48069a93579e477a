package podnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

const settingsRoot = "/proc/sys/net/"

// setting is one of the kernel's, below settingsRoot, and what it is to be.
type setting struct{ path, value string }

// ofDevice are the settings of the dataplane's device; they go with it.
func ofDevice(a *attachment.Attachment) (settings []setting) {
	if _, ok := a.Address(false); ok {
		settings = append(settings,
			setting{"ipv4/conf/" + Device + "/forwarding", "1"},
			// Packets come out of it with the pod's own address as their source.
			setting{"ipv4/conf/" + Device + "/accept_local", "1"},
			setting{"ipv4/conf/" + Device + "/rp_filter", "0"})
	}
	if _, ok := a.Address(true); ok {
		settings = append(settings,
			setting{"ipv6/conf/" + Device + "/disable_ipv6", "0"},
			setting{"ipv6/conf/" + Device + "/accept_ra", "0"})
	}
	return settings
}

// plan says which settings of the namespace must change, for attachments of this form. It is run inside.
func plan(a *attachment.Attachment) (settings []setting, err error) {
	if _, ok := a.Address(false); ok {
		// What comes from the device leaves by the interface, and the other way round.
		settings = append(settings, setting{"ipv4/conf/" + a.IfName + "/forwarding", "1"})
		strict, err := strictFilters()
		if err != nil {
			return nil, err
		}
		settings = append(settings, strict...)
	}
	if _, ok := a.Address(true); ok {
		// An interface of a host that forwards listens to routers only if told so twice.
		if value, err := readSetting("ipv6/conf/" + a.IfName + "/accept_ra"); err == nil && value == "1" {
			settings = append(settings, setting{"ipv6/conf/" + a.IfName + "/accept_ra", "2"})
		}
		settings = append(settings, setting{"ipv6/conf/all/forwarding", "1"})
	}
	reserved, err := readSetting("ipv4/ip_local_reserved_ports")
	if err != nil {
		return nil, err
	}
	ports := fmt.Sprintf("%d-%d", a.Ports.First, a.Ports.Last)
	if reserved != "" && !strings.Contains(reserved, ports) {
		ports = reserved + "," + ports
	}
	return append(settings, setting{"ipv4/ip_local_reserved_ports", ports}), nil
}

// strictFilters takes reverse path filtering from "all" and gives it to each interface: the kernel obeys the stricter of
// the two, and the device must have none.
func strictFilters() (settings []setting, err error) {
	all, err := readSetting("ipv4/conf/all/rp_filter")
	if errors.Is(err, fs.ErrNotExist) || all == "0" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, each := range interfaces {
		path := "ipv4/conf/" + each.Name + "/rp_filter"
		own, err := readSetting(path)
		if err == nil && number(own) < number(all) && each.Name != Device {
			settings = append(settings, setting{path, all})
		}
	}
	return append(settings, setting{"ipv4/conf/all/rp_filter", "0"}), nil
}

func number(text string) int {
	value, _ := strconv.Atoi(text) // the kernel writes numbers there
	return value
}

func readSetting(path string) (string, error) {
	text, err := os.ReadFile(settingsRoot + path)
	return strings.TrimSpace(string(text)), err
}

// writeSetting changes one. What this kernel does not have needs no change.
func writeSetting(path, value string) error {
	if now, err := readSetting(path); err == nil && now == value {
		return nil
	}
	// With a newline even an empty value is written.
	err := os.WriteFile(settingsRoot+path, []byte(value+"\n"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
