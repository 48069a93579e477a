package config_test

import (
	_ "embed"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

// kubeadm is the ConfigMap's config.conf that kubeadm writes, as it stands.
//
//go:embed testdata/kubeadm.conf
var kubeadm string

func TestKubeadmsConfigurationIsReadAsItStands(t *testing.T) {
	c, warnings, err := config.Parse([]byte(kubeadm))
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	if wrong := config.Validate(c); len(wrong) != 0 {
		t.Fatal(wrong)
	}
	if c.HealthzBindAddress != "0.0.0.0:10256" || c.MetricsBindAddress != "127.0.0.1:10249" {
		t.Errorf("healthz %s, metrics %s", c.HealthzBindAddress, c.MetricsBindAddress)
	}
	if c.NFTables.SyncPeriod.Duration != 30*time.Second || *c.NFTables.MasqueradeBit != 14 {
		t.Errorf("nftables %+v", c.NFTables)
	}
	if c.Conntrack.TCPEstablishedTimeout.Duration != 0 || c.Conntrack.TCPCloseWaitTimeout.Duration != time.Hour {
		t.Errorf("0 means leave it alone, null the default: %+v", c.Conntrack)
	}
}

func TestAnUnknownFieldIsAWarning(t *testing.T) {
	text := strings.Replace(kubeadm, "mode: \"\"", "mode: nftables\nsnatNodeInternalIP: true", 1)
	c, warnings, err := config.Parse([]byte(text))
	if err != nil || c.Mode != config.ModeNFTables {
		t.Fatal(err, c)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], `unknown field "snatNodeInternalIP"`) {
		t.Errorf("warnings %q", warnings)
	}
}

func TestABadFieldIsRefusedByName(t *testing.T) {
	for _, bad := range []struct{ from, to, field string }{
		{`mode: ""`, `mode: ebpf`, "mode"},
		{`scheduler: ""`, `scheduler: fastest`, "ipvs.scheduler"},
		{`detectLocalMode: ""`, `detectLocalMode: Guess`, "detectLocalMode"},
		{"bindAddress: 0.0.0.0", "bindAddress: here", "bindAddress"},
		{`healthzBindAddress: ""`, "healthzBindAddress: 127.0.0.1:70000", "healthzBindAddress"},
		{`metricsBindAddress: ""`, "metricsBindAddress: localhost:80", "metricsBindAddress"},
		{"10.244.0.0/16,fd00:244::/56", "10.244.0.0/16,10.245.0.0/16", "clusterCIDR"},
		{`detectLocalMode: ""`, "detectLocalMode: BridgeInterface", "detectLocal.bridgeInterface"},
		{`detectLocalMode: ""`, "detectLocalMode: InterfaceNamePrefix", "detectLocal.interfaceNamePrefix"},
		{"  minSyncPeriod: 0s\n  syncPeriod: 0s\nipvs", "  minSyncPeriod: 40s\n  syncPeriod: 0s\nipvs", "iptables.syncPeriod"},
		{"nodePortAddresses: null", "nodePortAddresses: [10.0.0.1]", "nodePortAddresses[0]"},
		{"oomScoreAdj: null", "oomScoreAdj: 1001", "oomScoreAdj"},
		{"  masqueradeBit: null", "  masqueradeBit: 32", "iptables.masqueradeBit"},
		{"configSyncPeriod: 0s", "configSyncPeriod: -1s", "configSyncPeriod"},
		{"udpStreamTimeout: 0s", "udpStreamTimeout: -1s", "conntrack.udpStreamTimeout"},
	} {
		c, _, err := config.Parse([]byte(strings.Replace(kubeadm, bad.from, bad.to, 1)))
		if err != nil {
			t.Fatal(bad.field, err)
		}
		wrong := config.Validate(c)
		if len(wrong) != 1 || wrong[0].Field != bad.field {
			t.Errorf("%s: %v", bad.field, wrong)
		}
	}
}

func TestWhatIsWrongIsToldInTheOrderOfTheFields(t *testing.T) {
	text := strings.NewReplacer("configSyncPeriod: 0s", "configSyncPeriod: -1s", "udpStreamTimeout: 0s", "udpStreamTimeout: -2s",
		"udpTimeout: 0s", "udpTimeout: -3s", "tcpTimeout: 0s", "tcpTimeout: -4s").Replace(kubeadm)
	c, _, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, each := range config.Validate(c) {
		fields = append(fields, each.Field)
	}
	want := []string{"configSyncPeriod", "ipvs.tcpTimeout", "ipvs.udpTimeout", "conntrack.udpTimeout", "conntrack.udpStreamTimeout"}
	if !slices.Equal(fields, want) {
		t.Errorf("%q", fields)
	}
}

func TestWordsForNodePortAddressesAreTakenInAnyCompany(t *testing.T) {
	for text, wrong := range map[string]int{
		"[localhost]": 0, "[primary, localhost]": 0, "[all, localhost]": 0, "[primary, 10.0.0.0/8]": 0, "[nowhere]": 1,
		"[primary, 10.0.0.0]": 1,
	} {
		c, _, err := config.Parse([]byte(strings.Replace(kubeadm, "nodePortAddresses: null", "nodePortAddresses: "+text, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if found := config.Validate(c); len(found) != wrong {
			t.Errorf("%s: %v", text, found)
		}
	}
}

func TestTheLeastTimeBetweenSyncsIsThatOfTheModeAndNoneUnlessAskedFor(t *testing.T) {
	const header = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	periods := "iptables: {minSyncPeriod: 2s}\nipvs: {minSyncPeriod: 3s}\nnftables: {minSyncPeriod: 4s}\n"
	for _, each := range []struct {
		text string
		want time.Duration
	}{
		{"", 0}, {"mode: nftables\n", 0}, {periods, 2 * time.Second}, {"mode: ipvs\n" + periods, 3 * time.Second},
		{"mode: nftables\n" + periods, 4 * time.Second},
	} {
		c, _, err := config.Parse([]byte(header + each.text))
		if err != nil || config.MinSyncPeriod(c) != each.want {
			t.Errorf("%q: %v, %v", each.text, config.MinSyncPeriod(c), err)
		}
	}
	c, _, err := options(t, "--proxy-mode=ipvs", "--ipvs-min-sync-period=5s", "--iptables-min-sync-period=6s").Complete()
	if err != nil || config.MinSyncPeriod(c) != 5*time.Second {
		t.Errorf("by flag: %v, %v", config.MinSyncPeriod(c), err)
	}
	c, _, err = options(t, "--proxy-mode=nftables", "--iptables-min-sync-period=6s", "--iptables-sync-period=7s").Complete()
	if err != nil || config.MinSyncPeriod(c) != 6*time.Second || config.SyncPeriod(c) != 7*time.Second {
		t.Errorf("by flag: %v, %v", config.MinSyncPeriod(c), err)
	}
}

func TestPodsByInterfaceAreWarnedOfOnlyWhereTheyCannotBeTold(t *testing.T) {
	for mode, warned := range map[string]bool{"nftables": false, "iptables": false, "ipvs": false, "userspace": true} {
		_, warnings, err := options(t, "--proxy-mode="+mode, "--detect-local-mode=InterfaceNamePrefix",
			"--pod-interface-name-prefix=cali").Complete()
		is := func(text string) bool { return strings.Contains(text, "detectLocalMode") }
		if err != nil || slices.ContainsFunc(warnings, is) != warned {
			t.Errorf("%s: %v %q", mode, err, warnings)
		}
	}
}

func TestFieldsWithoutAMeaningHereAreTakenAndToldOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.conf")
	parsed, _, err := config.Parse([]byte(strings.NewReplacer("strictARP: false", "strictARP: true", "excludeCIDRs: null",
		"excludeCIDRs: [10.0.0.0/8]", "tcpTimeout: 0s", "tcpTimeout: 9s", `portRange: ""`, `portRange: "1-9"`,
		"enableDSR: false", "enableDSR: true").Replace(kubeadm)))
	if err != nil {
		t.Fatal(err)
	}
	if err := config.Write(path, parsed); err != nil {
		t.Fatal(err)
	}
	_, warnings, err := options(t, "--config="+path).Complete()
	want := []string{"ipvs.excludeCIDRs is ignored", "ipvs.strictARP is ignored", "ipvs.tcpTimeout is ignored",
		"portRange is ignored", "winkernel is ignored"}
	if err != nil || !slices.Equal(warnings, want) {
		t.Errorf("%v %q", err, warnings)
	}
}

func TestLoggingFlagsWinOverAFileEachByItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.conf")
	parsed, _, err := config.Parse([]byte(strings.Replace(kubeadm, "verbosity: 0", "verbosity: 5", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := config.Write(path, parsed); err != nil {
		t.Fatal(err)
	}
	c, _, err := options(t, "--config="+path, "--logging-format=json", "--vmodule=proxy=7").Complete()
	if err != nil || c.Logging.Verbosity != 5 || c.Logging.Format != "json" || len(c.Logging.VModule) != 1 {
		t.Errorf("%v %+v", err, c.Logging)
	}
	if _, _, err := options(t, "--hostname-override= ").Complete(); err == nil {
		t.Error("a blank name was taken")
	}
}

func TestAnotherKindIsNoConfiguration(t *testing.T) {
	for _, text := range []string{"", "kind: Service\napiVersion: v1\n", "{", "kind: KubeProxyConfiguration\n"} {
		if _, _, err := config.Parse([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func options(t *testing.T, arguments ...string) *config.Options {
	t.Helper()
	flags := pflag.NewFlagSet("portolan-proxy", pflag.ContinueOnError)
	options := config.NewOptions(flags)
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return options
}

func TestAFileWinsOverFlagsButForTheHostsName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.conf")
	parsed, _, err := config.Parse([]byte(kubeadm))
	if err != nil {
		t.Fatal(err)
	}
	if err := config.Write(path, parsed); err != nil {
		t.Fatal(err)
	}
	c, _, err := options(t, "--config="+path, "--hostname-override=n7", "--proxy-mode=ipvs", "--v=4").Complete()
	if err != nil {
		t.Fatal(err)
	}
	if c.HostnameOverride != "n7" || c.Mode != "" || c.Logging.Verbosity != 4 {
		t.Errorf("%q %q %d", c.HostnameOverride, c.Mode, c.Logging.Verbosity)
	}
	// What was written is what was read.
	again, warnings, err := config.Load(path)
	if err != nil || len(warnings) != 0 || !reflect.DeepEqual(parsed, again) {
		t.Errorf("%v %v\n%+v\n%+v", err, warnings, parsed, again)
	}
}

// Those of kube-proxy 1.34, by its reference.
const flagsOfKubeProxy = `bind-address bind-address-hard-fail boot-id-file cleanup cluster-cidr config config-sync-period
conntrack-max-per-core conntrack-min conntrack-tcp-be-liberal conntrack-tcp-timeout-close-wait
conntrack-tcp-timeout-established conntrack-udp-timeout conntrack-udp-timeout-stream detect-local-mode feature-gates
healthz-bind-address healthz-port hostname-override init-only iptables-localhost-nodeports iptables-masquerade-bit
iptables-min-sync-period iptables-sync-period ipvs-exclude-cidrs ipvs-min-sync-period ipvs-scheduler ipvs-strict-arp
ipvs-sync-period ipvs-tcp-timeout ipvs-tcpfin-timeout ipvs-udp-timeout kube-api-burst kube-api-content-type kube-api-qps
kubeconfig log-flush-frequency logging-format machine-id-file masquerade-all master metrics-bind-address metrics-port
nodeport-addresses oom-score-adj pod-bridge-interface pod-interface-name-prefix profiling proxy-mode proxy-port-range
show-hidden-metrics-for-version v version vmodule write-config-to`

func TestEveryFlagOfKubeProxyIsThere(t *testing.T) {
	flags := pflag.NewFlagSet("portolan-proxy", pflag.ContinueOnError)
	config.NewOptions(flags)
	for _, name := range strings.Fields(flagsOfKubeProxy) {
		if flags.Lookup(name) == nil {
			t.Errorf("no --%s", name)
		}
	}
}

func TestEveryFlagOfKubeProxyParses(t *testing.T) {
	c, warnings, err := options(t,
		"--proxy-mode=ipvs", "--ipvs-scheduler=wlc", "--cluster-cidr=10.0.0.0/8", "--detect-local-mode=BridgeInterface",
		"--pod-bridge-interface=cni0", "--nodeport-addresses=primary", "--masquerade-all", "--iptables-masquerade-bit=15",
		"--healthz-bind-address=[::1]:1", "--metrics-bind-address=127.0.0.1:2", "--kubeconfig=/k", "--oom-score-adj=-5",
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--feature-gates=Some=true,Other=false",
		"--healthz-port=1", "--ipvs-strict-arp", "--profiling", "--config-sync-period=1m", "--v=2",
	).Complete()
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != config.ModeIPVS || c.IPVS.Scheduler != "wlc" || c.HealthzBindAddress != "[::1]:1" ||
		*c.Conntrack.MaxPerCore != 0 || c.DetectLocal.BridgeInterface != "cni0" || *c.OOMScoreAdj != -5 {
		t.Errorf("%+v", c)
	}
	if !config.MasqueradeAll(c) || config.MasqueradeBit(c) != 15 || !config.InKernel(c.Mode) {
		t.Errorf("masquerade all %v, bit %d", config.MasqueradeAll(c), config.MasqueradeBit(c))
	}
	if len(warnings) != 6 {
		t.Errorf("two ignored flags, two gates, a bit and a mode: %q", warnings)
	}
}
