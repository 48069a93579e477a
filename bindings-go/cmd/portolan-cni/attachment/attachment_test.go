package attachment_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

func sample() attachment.Record {
	return attachment.Record{
		Attachment: attachment.Attachment{
			ID: attachment.ID{ContainerID: "c1", IfName: "eth0"}, Network: "pods", Netns: "/run/netns/c1",
			Addresses:    []netip.Addr{netip.MustParseAddr("10.244.1.10"), netip.MustParseAddr("fd00::10")},
			ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}, Ports: attachment.DefaultPorts,
		},
		Inode: 7, Settings: map[string]string{"ipv4/ip_local_reserved_ports": ""},
		Wire: &attachment.Wire{
			HardwareAddr: "02:00:00:00:00:01", MTU: 1500, Laid: true,
			Addresses: []attachment.WireAddress{{Prefix: netip.MustParsePrefix("10.244.1.10/24")}},
			Routes: []attachment.WireRoute{{
				To: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.244.1.1"), Protocol: 3,
			}},
		},
	}
}

func TestMistakesNameTheField(t *testing.T) {
	for field, spoil := range map[string]func(*attachment.Attachment){
		"containerID":     func(a *attachment.Attachment) { a.ContainerID = "../c1" },
		"ifname":          func(a *attachment.Attachment) { a.IfName = "an interface that is long" },
		"netns":           func(a *attachment.Attachment) { a.Netns = "" },
		"masqueradePorts": func(a *attachment.Attachment) { a.Ports.Last = 65535 },
		"mode":            func(a *attachment.Attachment) { a.Mode = "magic" },
		"addresses":       func(a *attachment.Attachment) { a.Addresses = append(a.Addresses, a.Addresses[0]) },
		"serviceCIDRs[0]": func(a *attachment.Attachment) { a.ServiceCIDRs[0] = netip.MustParsePrefix("10.96.0.1/16") },
		"serviceCIDRs":    func(a *attachment.Attachment) { a.Addresses = a.Addresses[1:] },
	} {
		spoilt := sample().Attachment
		if err := spoilt.Validate(); err != nil {
			t.Fatal(err)
		}
		spoil(&spoilt)
		if err := spoilt.Validate(); err == nil || !strings.HasPrefix(err.Error(), field+": ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestRecordsOutliveTheirWriter(t *testing.T) {
	directory := t.TempDir()
	record := sample()
	store, err := attachment.Open(directory)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := store.Put(&record); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := attachment.Open(directory); !errors.Is(err, attachment.ErrOwned) {
		t.Errorf("a second owner: %v", err)
	}
	store.Close()
	if store, err = attachment.Open(directory); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if read, err := store.Get(record.ID); err != nil || !reflect.DeepEqual(*read, record) {
		t.Errorf("%+v %v", read, err)
	}
	for range 2 {
		if err := store.Remove(record.ID); err != nil {
			t.Error(err)
		}
	}
	if read, err := store.Get(record.ID); read != nil || err != nil {
		t.Errorf("%+v %v", read, err)
	}
}

func TestADamagedRecordCostsNoOtherAnything(t *testing.T) {
	directory := t.TempDir()
	store, err := attachment.Open(directory)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	record := sample()
	if err := store.Put(&record); err != nil {
		t.Fatal(err)
	}
	damaged := attachment.ID{ContainerID: "c2", IfName: "eth0"}
	for name, text := range map[string]string{"c2@eth0.json": "{", "c3@eth0.json": "{}", "c4@eth0.json~": "half"} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	records, err := store.All()
	if len(records) != 1 || !errors.Is(err, attachment.ErrUnreadable) {
		t.Errorf("%v %v", records, err)
	}
	if _, err := store.Get(damaged); !errors.Is(err, attachment.ErrUnreadable) {
		t.Errorf("%v", err)
	}
}
