package main

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/plugin"
)

// command is one of the specification's, about a pod. When its context ends, libcni kills the plugin (SIGKILL).
type command struct {
	name string
	run  func(context.Context) error
	// alone is the number of its error where no daemon runs; 0: it does without.
	alone uint
}

// commands are all of them; GC knows the attachments that are told.
func (p *testPod) commands(valid ...types.GCAttachment) []command {
	network, cni := p.network(p), p.cni()
	return []command{
		{"ADD", func(ctx context.Context) error {
			_, err := cni.AddNetworkList(ctx, network, p.runtime())
			return err
		}, types.ErrTryAgainLater},
		{"CHECK", func(ctx context.Context) error {
			return cni.CheckNetworkList(ctx, network, p.runtime())
		}, types.ErrTryAgainLater},
		{"STATUS", func(ctx context.Context) error {
			return cni.GetStatusNetworkList(ctx, network)
		}, plugin.ErrPluginNotAvailable},
		{"GC", func(ctx context.Context) error {
			return cni.GCNetworkList(ctx, network, &libcni.GCArgs{ValidAttachments: valid})
		}, 0},
		{"DEL", func(ctx context.Context) error {
			return cni.DelNetworkList(ctx, network, p.runtime())
		}, 0},
	}
}

// code is the CNI specification's number of an error.
func code(err error) uint {
	var said *types.Error
	if errors.As(err, &said) {
		return said.Code
	}
	return 0
}

func TestTheDaemonIsKilledBetweenCommands(t *testing.T) { inBothModes(t, killedBetweenCommands) }

func killedBetweenCommands(t *testing.T, mode attachment.Mode) {
	rig, client, server := cluster(t, mode)
	before := client.arrangement()
	talk := client.lasting("http://" + server.ipv4 + ":8080")
	own := types.GCAttachment{ContainerID: "container-client", IfName: "eth0"}
	for range 2 {
		client.mustAdd()
		for _, each := range client.commands(own) {
			rig.kill()
			if mode == attachment.ModeTUN {
				client.mustCurl("http://"+server.ipv4+":8080", "server")
				server.mustCurl("http://["+client.ipv6+"]:8080", "client")
			}
			for range 2 {
				if err := each.run(t.Context()); (err == nil) != (each.alone == 0) || code(err) != each.alone {
					t.Errorf("%s without a daemon: %v; wanted %d", each.name, err, each.alone)
				}
			}
			if each.name == "DEL" {
				// The interface is another one now, by wire.
				talk = client.lasting("http://" + server.ipv4 + ":8080")
				if after := client.arrangement(); after != before {
					t.Fatalf("DEL without a daemon left something behind: %s", differences(before, after))
				}
				break
			}
			rig.start()
			rig.eventually("the next daemon serves the pod", client.check)
			if err := each.run(t.Context()); err != nil {
				t.Errorf("%s with the next daemon: %v", each.name, err)
			}
			client.mustCurl(web4, "server")
			client.mustCurl(web6, "server")
			if err := talk(); err != nil {
				t.Errorf("%s: a connection that is not for a Service has ended: %v", each.name, err)
			}
		}
		rig.start()
		if left := rig.records(); left != 0 {
			t.Errorf("%d records are left", left)
		}
	}
}

// lasting opens one connection to a web server, over which each call asks once more.
func (p *testPod) lasting(url string) (ask func() error) {
	p.Helper()
	var connection net.Conn
	p.inside(p.name, func() (err error) {
		connection, err = net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), 15*time.Second)
		return err
	})
	opened := connection
	p.Cleanup(func() { opened.Close() })
	client := http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (given net.Conn, err error) {
			if given, connection = connection, nil; given == nil {
				return nil, errors.New("another connection is wanted")
			}
			return given, nil
		},
	}}
	return func() error {
		response, err := client.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
}

func TestPluginAndDaemonAreKilledDuringCommands(t *testing.T) { inBothModes(t, killedDuringCommands) }

func killedDuringCommands(t *testing.T, mode attachment.Mode) {
	rig, client, _ := cluster(t, mode)
	before := client.arrangement()
	soon := func() time.Duration { return time.Duration(rand.IntN(60)) * time.Millisecond }
	for _, killed := range []string{"daemon", "plugin"} {
		for _, each := range client.commands() {
			for range 2 {
				ctx, cancel := context.WithCancel(t.Context())
				kill := cancel
				if daemon := rig.daemon; killed == "daemon" {
					kill = func() { _ = daemon.Process.Kill() }
				}
				timer := time.AfterFunc(soon(), kill)
				_ = each.run(ctx)
				_, _ = client.add()
				timer.Stop()
				cancel()
				if killed == "daemon" {
					rig.kill()
					rig.start()
				}
				client.mustAdd()
				client.mustCurl(web4, "server")
			}
			// And what it leaves can be taken away.
			if err := client.del(); err != nil {
				t.Errorf("DEL after a %s was killed during %s: %v", killed, each.name, err)
			}
			if after := client.arrangement(); after != before {
				t.Fatalf("DEL left something behind, of a %s killed during %s: %s", killed, each.name, differences(before, after))
			}
		}
	}
	if left := rig.records(); left != 0 {
		t.Errorf("%d records are left", left)
	}
}
