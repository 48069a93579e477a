//go:build cgo

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func complete(t *testing.T, arguments ...string) (*config.Options, *config.Configuration) {
	t.Helper()
	flags := pflag.NewFlagSet("portolan-proxy", pflag.ContinueOnError)
	options := config.NewOptions(flags)
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	configuration, _, err := options.Complete()
	if err != nil {
		t.Fatal(err)
	}
	return options, configuration
}

const kubeconfig = `{apiVersion: v1, kind: Config, current-context: c,
  clusters: [{name: k, cluster: {server: "https://192.0.2.1:6443"}}],
  contexts: [{name: c, context: {cluster: k, user: u}}], users: [{name: u, user: {token: secret}}]}`

func TestTheApiServerIsReachedAsTheConnectionSays(t *testing.T) {
	path := written(t, "kubeconfig", kubeconfig)
	to, err := connection(complete(t, "--kubeconfig="+path, "--kube-api-qps=7", "--kube-api-burst=9", "--kube-api-content-type=application/json"))
	if err != nil {
		t.Fatal(err)
	}
	if to.Host != "https://192.0.2.1:6443" || to.BearerToken != "secret" || to.QPS != 7 || to.Burst != 9 ||
		to.ContentType != "application/json" {
		t.Errorf("%+v", to)
	}
	if to, err = connection(complete(t, "--kubeconfig="+path, "--master=https://192.0.2.2")); err != nil || to.Host != "https://192.0.2.2" {
		t.Errorf("%v, %v: --master wins", to, err)
	}
	if _, err = connection(complete(t, "--kubeconfig="+path+".not")); err == nil || !strings.Contains(err.Error(), "clientConnection.kubeconfig") {
		t.Errorf("a kubeconfig that is not there: %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err = connection(complete(t)); err == nil || !strings.Contains(err.Error(), rest.ErrNotInCluster.Error()) {
		t.Errorf("neither kubeconfig nor cluster: %v", err)
	}
}

func TestTheOOMScoreIsWrittenWhereItMay(t *testing.T) {
	path := written(t, "oom_score_adj", "0")
	_, configuration := complete(t, "--oom-score-adj=-998")
	setOOMScore(path, configuration)
	if text, err := os.ReadFile(path); err != nil || string(text) != "-998" {
		t.Errorf("%q, %v", text, err)
	}
	setOOMScore(filepath.Join(path, "nowhere"), configuration) // is told of and no failure
}

func TestWhatEndsWithoutServingNeedsNoCluster(t *testing.T) {
	for _, arguments := range [][]string{{"--version"}, {"--help"}} {
		if err := run(context.Background(), arguments); err != nil {
			t.Errorf("%q: %v", arguments, err)
		}
	}
	path := filepath.Join(t.TempDir(), "written.conf")
	if err := run(context.Background(), []string{"--proxy-mode=nftables", "--logging-format=json", "--write-config-to=" + path}); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := config.Load(path)
	if err != nil || len(warnings) != 0 || c.Mode != config.ModeNFTables || c.Logging.Format != "json" {
		t.Errorf("%v %q %+v", err, warnings, c)
	}
	for _, arguments := range [][]string{{"--no-such-flag"}, {"--config=/nowhere"}, {"--proxy-mode=ebpf"}, {"iptables"}} {
		if err := run(context.Background(), arguments); err == nil {
			t.Errorf("%q was taken", arguments)
		}
	}
}
