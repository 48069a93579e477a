// Command portolan-proxy is a kube-proxy: its flags, configuration file, ports, probes, metrics and Events, with
// Portolan's nftables, or its dataplane in this process, behind them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	componentmetrics "k8s.io/component-base/metrics"
	"k8s.io/klog/v2"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/metrics"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/proxy"
)

// gcPercent is GOGC where nobody has said another: most of the heap is the cluster's objects, which stay, and room to
// double it would be taken on every node.
const gcPercent = 40

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		klog.Flush()
		fmt.Fprintln(os.Stderr, "portolan-proxy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	flags := pflag.NewFlagSet("portolan-proxy", pflag.ContinueOnError)
	options := config.NewOptions(flags)
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("takes flags and no arguments: %q", flags.Args())
	}
	version, err := portolan.Version()
	if options.Version {
		fmt.Println("portolan-proxy", version)
	}
	if options.Version || err != nil {
		return err
	}
	configuration, warnings, err := options.Complete()
	if err != nil {
		return err
	}
	if options.WriteConfigTo != "" {
		return config.Write(options.WriteConfigTo, configuration)
	}
	gates, _, err := config.Gates(configuration)
	if err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(&configuration.Logging, gates); err != nil {
		return err
	}
	klog.Background().Info("portolan-proxy", "version", version, "go", runtime.Version(), "GOGC", os.Getenv("GOGC"))
	for _, warning := range warnings {
		klog.Background().Info("Configuration", "warning", warning)
	}
	if options.Cleanup {
		return proxy.Cleanup(ctx, klog.Background())
	}
	proxy.Sysctls{Root: "/proc/sys", Logger: klog.Background()}.Apply(configuration)
	if options.InitOnly {
		return nil
	}
	return serve(ctx, options, configuration)
}

func serve(ctx context.Context, options *config.Options, configuration *config.Configuration) error {
	to, err := connection(options, configuration)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(to)
	if err != nil {
		return err
	}
	setOOMScore("/proc/self/oom_score_adj", configuration)
	if configuration.ShowHiddenMetricsForVersion != "" {
		componentmetrics.SetShowHidden()
	}
	metrics.Register(config.AsIPTables(configuration.Mode))
	// An edited file means an edited ConfigMap: whoever supervises us starts us with it.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if options.File != "" {
		go proxy.WatchFile(ctx, options.File, cancel)
	}
	served := proxy.New(configuration, client, proxy.Open)
	served.ShowFlags(options.Flags())
	if err := served.Run(ctx); err != nil {
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, proxy.ErrFileChanged) {
		return cause
	}
	return nil
}

// connection is how to reach the API server: by the kubeconfig, or as pods do.
func connection(options *config.Options, c *config.Configuration) (*rest.Config, error) {
	wanted := c.ClientConnection
	var to *rest.Config
	var err error
	if wanted.Kubeconfig == "" && options.Master == "" {
		klog.Background().Info("Neither --kubeconfig nor --master: in-cluster")
		to, err = rest.InClusterConfig()
	} else {
		to, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
			&clientcmd.ClientConfigLoadingRules{ExplicitPath: wanted.Kubeconfig},
			&clientcmd.ConfigOverrides{ClusterInfo: clientcmdapi.Cluster{Server: options.Master}},
		).ClientConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("clientConnection.kubeconfig: %w", err)
	}
	to.AcceptContentTypes, to.ContentType = wanted.AcceptContentTypes, wanted.ContentType
	to.QPS, to.Burst = wanted.QPS, int(wanted.Burst)
	return to, nil
}

// setOOMScore writes the configuration's oomScoreAdj; a container may not be allowed to, and goes on.
func setOOMScore(path string, c *config.Configuration) {
	if c.OOMScoreAdj == nil {
		return
	}
	if err := os.WriteFile(path, fmt.Append(nil, *c.OOMScoreAdj), 0o644); err != nil {
		klog.Background().V(2).Info("Cannot set oom_score_adj", "error", err)
	}
}
