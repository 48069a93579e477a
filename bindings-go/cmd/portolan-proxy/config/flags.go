package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// Options are what the command line says. kube-proxy's flags all parse, those without a meaning here too, so that its
// unit files and manifests work as they stand.
type Options struct {
	// File is --config.
	File string
	// Cleanup: remove what was programmed and end.
	Cleanup bool
	// InitOnly: set what needs privilege and end.
	InitOnly bool
	// WriteConfigTo is where to write the configuration, and end.
	WriteConfigTo string
	// Master overrides the kubeconfig's API server.
	Master string
	// Version: print it and end.
	Version bool

	hostname string
	flags    *pflag.FlagSet
	given    Configuration // what the flags say, used without --config
	gates    map[string]bool
	ignored  []string
}

// NewOptions adds the flags to flags.
func NewOptions(flags *pflag.FlagSet) *Options {
	o := &Options{flags: flags}
	Default(&o.given)
	o.given.HealthzBindAddress, o.given.MetricsBindAddress = "0.0.0.0:10256", "127.0.0.1:10249"
	flags.StringVar(&o.File, "config", "", "The path to the configuration file (KubeProxyConfiguration).")
	flags.BoolVar(&o.Cleanup, "cleanup", false, "Remove every rule and table, this proxy's and kube-proxy's, and exit.")
	flags.BoolVar(&o.InitOnly, "init-only", false, "Set what needs privilege and exit.")
	flags.StringVar(&o.WriteConfigTo, "write-config-to", "", "Write the configuration to this file and exit.")
	flags.StringVar(&o.Master, "master", "", "The address of the Kubernetes API server; overrides the kubeconfig's.")
	flags.BoolVar(&o.Version, "version", false, "Print the version and exit.")
	flags.StringVar(&o.hostname, "hostname-override", "", "The node's name, if it is not the host's.")
	o.addConfiguration(flags)
	o.addIgnored(flags)
	return o
}

func (o *Options) addConfiguration(flags *pflag.FlagSet) {
	c := &o.given
	flags.StringVar(&c.ClientConnection.Kubeconfig, "kubeconfig", "", "The kubeconfig; absent: in-cluster.")
	flags.StringVar(&c.ClientConnection.ContentType, "kube-api-content-type", c.ClientConnection.ContentType, "Content type of requests.")
	flags.Float32Var(&c.ClientConnection.QPS, "kube-api-qps", c.ClientConnection.QPS, "Requests a second.")
	flags.Int32Var(&c.ClientConnection.Burst, "kube-api-burst", c.ClientConnection.Burst, "Requests at once.")
	flags.StringVar((*string)(&c.Mode), "proxy-mode", "",
		"iptables, ipvs or nftables: kernel rules of nftables; userspace: the dataplane in this process.")
	flags.StringVar(&c.BindAddress, "bind-address", c.BindAddress, "Overrides the node's primary address.")
	flags.StringVar(&c.HealthzBindAddress, "healthz-bind-address", c.HealthzBindAddress, "Where /healthz and /livez are served.")
	flags.StringVar(&c.MetricsBindAddress, "metrics-bind-address", c.MetricsBindAddress, "Where /metrics is served.")
	flags.BoolVar(&c.BindAddressHardFail, "bind-address-hard-fail", false, "Exit if a port cannot be bound.")
	flags.StringVar(&c.ClusterCIDR, "cluster-cidr", "", "Where pods' addresses come from.")
	flags.StringVar((*string)(&c.DetectLocalMode), "detect-local-mode", "", "How local traffic is told: "+
		strings.Join(texts(localModes)[1:], ", ")+".")
	flags.StringVar(&c.DetectLocal.BridgeInterface, "pod-bridge-interface", "", "Traffic from this bridge is local.")
	flags.StringVar(&c.DetectLocal.InterfaceNamePrefix, "pod-interface-name-prefix", "", "Traffic from interfaces so named is local.")
	flags.StringSliceVar(&c.NodePortAddresses, "nodeport-addresses", nil, "CIDRs, or primary, all or localhost.")
	flags.BoolVar(&c.IPTables.MasqueradeAll, "masquerade-all", false, "Masquerade everything sent to a ClusterIP.")
	flags.Int32Var(c.IPTables.MasqueradeBit, "iptables-masquerade-bit", *c.IPTables.MasqueradeBit, "The mark's bit, of 32.")
	flags.StringVar(&c.IPVS.Scheduler, "ipvs-scheduler", "", "How endpoints are chosen in mode userspace.")
	flags.DurationVar(&c.ConfigSyncPeriod.Duration, "config-sync-period", c.ConfigSyncPeriod.Duration, "How often objects are handed over again.")
	flags.DurationVar(&c.IPTables.SyncPeriod.Duration, "iptables-sync-period", c.IPTables.SyncPeriod.Duration, "How often rules are looked over.")
	flags.DurationVar(&c.IPTables.MinSyncPeriod.Duration, "iptables-min-sync-period", c.IPTables.MinSyncPeriod.Duration, "Least time between two syncs; 0: a change takes effect at once.")
	flags.DurationVar(&c.IPVS.MinSyncPeriod.Duration, "ipvs-min-sync-period", 0, "The same in mode ipvs.")
	flags.BoolVar(c.IPTables.LocalhostNodePorts, "iptables-localhost-nodeports", true, "Serve NodePorts at 127.0.0.1, unless --nodeport-addresses or the mode says otherwise.")
	flags.DurationVar(&c.IPVS.SyncPeriod.Duration, "ipvs-sync-period", c.IPVS.SyncPeriod.Duration, "How often rules are looked over in mode ipvs.")
	flags.Int32Var(c.Conntrack.MaxPerCore, "conntrack-max-per-core", *c.Conntrack.MaxPerCore, "Connections tracked for each core; 0: leave the limit alone.")
	flags.Int32Var(c.Conntrack.Min, "conntrack-min", *c.Conntrack.Min, "Least connections tracked.")
	flags.DurationVar(&c.Conntrack.TCPEstablishedTimeout.Duration, "conntrack-tcp-timeout-established", c.Conntrack.TCPEstablishedTimeout.Duration, "0: leave it alone.")
	flags.DurationVar(&c.Conntrack.TCPCloseWaitTimeout.Duration, "conntrack-tcp-timeout-close-wait", c.Conntrack.TCPCloseWaitTimeout.Duration, "0: leave it alone.")
	flags.BoolVar(&c.Conntrack.TCPBeLiberal, "conntrack-tcp-be-liberal", false, "Segments outside the window are not invalid.")
	flags.DurationVar(&c.Conntrack.UDPTimeout.Duration, "conntrack-udp-timeout", 0, "0: leave it alone.")
	flags.DurationVar(&c.Conntrack.UDPStreamTimeout.Duration, "conntrack-udp-timeout-stream", 0, "0: leave it alone.")
	flags.Int32Var(c.OOMScoreAdj, "oom-score-adj", *c.OOMScoreAdj, "The process's oom_score_adj, [-1000, 1000].")
	flags.BoolVar(&c.EnableProfiling, "profiling", false, "Serve /debug/pprof beside the metrics.")
	flags.StringVar(&c.ShowHiddenMetricsForVersion, "show-hidden-metrics-for-version", "", "Show metrics hidden since that version.")
	flags.Var(cliflag.NewMapStringBool(&o.gates), "feature-gates", "key=value pairs; unknown ones are warned of.")
	logsapi.AddFlags(&c.Logging, flags)
}

// addIgnored adds the flags that mean nothing here. They parse, and are told of.
func (o *Options) addIgnored(flags *pflag.FlagSet) {
	for _, name := range []string{
		"healthz-port", "metrics-port", "proxy-port-range", "ipvs-exclude-cidrs",
		"ipvs-strict-arp", "ipvs-tcp-timeout", "ipvs-tcpfin-timeout", "ipvs-udp-timeout",
		"boot-id-file", "machine-id-file",
	} {
		flags.Var(&ignored{name, &o.ignored}, name, "Accepted and ignored.")
		flags.Lookup(name).NoOptDefVal = "true"
	}
}

// ignored is a flag of any value.
type ignored struct {
	name string
	told *[]string
}

func (i *ignored) String() string { return "" }
func (i *ignored) Type() string   { return "string" }
func (i *ignored) Set(string) error {
	*i.told = append(*i.told, "--"+i.name+" is ignored")
	return nil
}

// Flags are the flags as they were given.
func (o *Options) Flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	sets.FlagSet("kube-proxy").AddFlagSet(o.flags)
	return sets
}

// Complete gives the configuration: the file's if there is one, and else the flags'. A file wins over flags, as in
// kube-proxy, but for --hostname-override and the logging flags.
func (o *Options) Complete() (configuration *Configuration, warnings []string, err error) {
	warnings = o.ignored
	if o.File == "" {
		configuration = &o.given
		configuration.FeatureGates = o.gates
		if o.flags.Changed("masquerade-all") {
			configuration.NFTables.MasqueradeAll = configuration.IPTables.MasqueradeAll
		}
		if o.flags.Changed("iptables-masquerade-bit") {
			configuration.NFTables.MasqueradeBit = ptr.To(*configuration.IPTables.MasqueradeBit)
		}
		if configuration.Mode == ModeNFTables || configuration.Mode == ModeDefault || configuration.Mode == ModeIPTables {
			configuration.NFTables.SyncPeriod = configuration.IPTables.SyncPeriod
			configuration.NFTables.MinSyncPeriod = configuration.IPTables.MinSyncPeriod
		}
		Default(configuration)
	} else {
		var told []string
		if configuration, told, err = Load(o.File); err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, told...)
		if err := o.logAsFlagsSay(&configuration.Logging); err != nil {
			return nil, warnings, err
		}
	}
	if o.hostname != "" {
		if configuration.HostnameOverride = strings.TrimSpace(o.hostname); configuration.HostnameOverride == "" {
			return nil, warnings, errors.New("--hostname-override is blank")
		}
	}
	_, unknown, err := Gates(configuration)
	if err != nil {
		return nil, warnings, err
	}
	slices.Sort(unknown)
	for _, gate := range unknown {
		warnings = append(warnings, fmt.Sprintf("feature gate %q has no meaning here", gate))
	}
	warnings = append(warnings, caveats(configuration)...)
	if wrong := Validate(configuration); len(wrong) > 0 {
		return nil, warnings, wrong.ToAggregate()
	}
	return configuration, warnings, nil
}

// logAsFlagsSay: logging flags win over a file, each by itself.
func (o *Options) logAsFlagsSay(logging *logsapi.LoggingConfiguration) error {
	var failed error
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	logsapi.AddFlags(logging, flags)
	o.flags.Visit(func(given *pflag.Flag) {
		if flag := flags.Lookup(given.Name); flag != nil && failed == nil {
			failed = flag.Value.Set(given.Value.String())
		}
	})
	return failed
}

// caveats are fields that are well-formed and do not have the effect that they have in kube-proxy.
func caveats(c *Configuration) []string {
	var all []string
	byInterface := c.DetectLocalMode == "BridgeInterface" || c.DetectLocalMode == "InterfaceNamePrefix"
	if byInterface && !InKernel(c.Mode) {
		all = append(all, fmt.Sprintf("detectLocalMode: %s: a TUN device does not know by what its packets entered the node: "+
			"no traffic to ClusterIPs is masqueraded for coming from outside the cluster", c.DetectLocalMode))
	}
	for _, each := range []struct {
		field string
		isSet bool
	}{
		{"ipvs.excludeCIDRs", len(c.IPVS.ExcludeCIDRs) > 0}, {"ipvs.strictARP", c.IPVS.StrictARP},
		{"ipvs.tcpTimeout", c.IPVS.TCPTimeout.Duration != 0}, {"ipvs.tcpFinTimeout", c.IPVS.TCPFinTimeout.Duration != 0},
		{"ipvs.udpTimeout", c.IPVS.UDPTimeout.Duration != 0}, {"portRange", c.PortRange != ""},
		{"winkernel", c.Winkernel != v1alpha1.KubeProxyWinkernelConfiguration{}}, {"windowsRunAsService", c.WindowsRunAsService},
	} {
		if each.isSet {
			all = append(all, each.field+" is ignored")
		}
	}
	if MasqueradeBit(c) != masqueradeDefault {
		all = append(all, "masqueradeBit: no mark is set on packets, of whatever bit")
	}
	if c.Mode == ModeIPVS {
		all = append(all, "mode: ipvs is served by nftables; schedulers are those of mode userspace")
	}
	return all
}

// Write writes the configuration as a file that Load reads.
func Write(path string, configuration *Configuration) error {
	text, err := yaml.Marshal(configuration)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// SyncPeriod is how often rules are looked over in the mode.
func SyncPeriod(c *Configuration) time.Duration {
	most, _ := syncPeriods(c)
	return most
}

// MinSyncPeriod is the least time between two syncs in the mode; 0: a change takes effect at once.
func MinSyncPeriod(c *Configuration) time.Duration {
	_, least := syncPeriods(c)
	return least
}

func syncPeriods(c *Configuration) (most, least time.Duration) {
	switch c.Mode {
	case ModeNFTables:
		return c.NFTables.SyncPeriod.Duration, c.NFTables.MinSyncPeriod.Duration
	case ModeIPVS:
		return c.IPVS.SyncPeriod.Duration, c.IPVS.MinSyncPeriod.Duration
	}
	return c.IPTables.SyncPeriod.Duration, c.IPTables.MinSyncPeriod.Duration
}

// MasqueradeAll and MasqueradeBit are those of the mode: nftables has its own, every other mode iptables'.
func MasqueradeAll(c *Configuration) bool {
	if c.Mode == ModeNFTables {
		return c.NFTables.MasqueradeAll
	}
	return c.IPTables.MasqueradeAll
}

// MasqueradeBit is the bit of the packet mark that means "masquerade".
func MasqueradeBit(c *Configuration) uint8 {
	bit := c.IPTables.MasqueradeBit
	if c.Mode == ModeNFTables {
		bit = c.NFTables.MasqueradeBit
	}
	return uint8(ptr.Deref(bit, masqueradeDefault))
}

// AsIPTables: is this kube-proxy's mode iptables, by name or by default?
func AsIPTables(mode v1alpha1.ProxyMode) bool { return mode == ModeDefault || mode == ModeIPTables }

// masqueradeDefault is kube-proxy's.
const masqueradeDefault = 14

// InKernel: do packets of this mode go through the kernel's rules, or through this process?
func InKernel(mode v1alpha1.ProxyMode) bool { return mode != ModeUserspace }
