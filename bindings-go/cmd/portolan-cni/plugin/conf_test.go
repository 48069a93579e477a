package plugin

import (
	"errors"
	"fmt"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

const previous = `{"cniVersion": "1.1.0",
 "interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/c1"}],
 "ips": [{"address": "192.0.2.1/24", "interface": 0}, {"address": "10.244.1.10/24", "interface": 1},
  {"address": "10.244.1.11/24", "interface": 1}, {"address": "fd00::10/64", "interface": 1}]}`

var arguments = &skel.CmdArgs{ContainerID: "c1", IfName: "eth0", Netns: "/run/netns/c1"}

func written(fields, result string) []byte {
	text := `{"cniVersion": "1.1.0", "name": "pods", "type": "portolan-cni"` + fields
	if result != "" {
		text += `, "prevResult": ` + result
	}
	return []byte(text + "}")
}

func TestThePodsOwnAddressesAreTaken(t *testing.T) {
	conf, err := parse(written(`, "serviceCIDRs": ["10.96.0.0/16"]`, previous))
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := conf.attachment(arguments)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(wanted.Addresses) != "[10.244.1.10 fd00::10]" || wanted.Ports != attachment.DefaultPorts {
		t.Errorf("%+v", wanted)
	}
}

func TestMistakesInTheConfigurationHaveTheSpecificationsNumbers(t *testing.T) {
	for _, each := range []struct {
		what, fields, result string
		code                 uint
	}{
		{"not chained", `, "serviceCIDRs": ["10.96.0.0/16"]`, "", types.ErrInvalidNetworkConfig},
		{"no serviceCIDRs", "", previous, types.ErrInvalidNetworkConfig},
		{"of no family", `, "serviceCIDRs": ["fd00:96::/112"]`, `{"cniVersion": "1.1.0", "ips": [{"address": "10.244.1.10/24"}]}`,
			types.ErrInvalidNetworkConfig},
		{"no prefix", `, "serviceCIDRs": ["10.96.0.0"]`, previous, types.ErrDecodingFailure},
		{"no port", `, "serviceCIDRs": ["10.96.0.0/16"], "masqueradePorts": {"first": 61000}`, previous, types.ErrInvalidNetworkConfig},
		{"no result", `, "serviceCIDRs": ["10.96.0.0/16"]`, `{"cniVersion": "9.9"}`, types.ErrDecodingFailure},
	} {
		conf, err := parse(written(each.fields, each.result))
		if err == nil {
			_, err = conf.attachment(arguments)
		}
		var said *types.Error
		if !errors.As(err, &said) || said.Code != each.code {
			t.Errorf("%s: %v; wanted %d", each.what, err, each.code)
		}
	}
}
