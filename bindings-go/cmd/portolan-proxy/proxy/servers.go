package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/compatibility"
	"k8s.io/component-base/configz"
	"k8s.io/component-base/logs"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/component-base/metrics/prometheus/slis"
	zpages "k8s.io/component-base/zpages/features"
	"k8s.io/component-base/zpages/flagz"
	"k8s.io/component-base/zpages/statusz"
	"k8s.io/klog/v2"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

// component is what these pages call the process, whatever its file is called.
const component = "kube-proxy"

// configzName is the configuration's name at /configz.
const configzName = "kubeproxy.config.k8s.io"

// bindRetry is how long a server waits before it asks for its port again.
const bindRetry = 5 * time.Second

// metricsHandler serves what tools ask of kube-proxy at its metrics port.
func metricsHandler(c *config.Configuration, flags cliflag.NamedFlagSets) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("/metrics", legacyregistry.Handler())
	slis.SLIMetricsWithReset{}.Install(mux)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	mux.HandleFunc("/proxyMode", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = fmt.Fprint(w, servedMode(c))
	})
	// The registry is the process's: a proxy that ran before in it is not the one to show.
	configz.Delete(configzName)
	shown, err := configz.New(configzName)
	if err != nil {
		return nil, err
	}
	shown.Set(c)
	configz.InstallHandler(mux)
	gates, _, err := config.Gates(c)
	if err != nil {
		return nil, err
	}
	if gates.Enabled(zpages.ComponentFlagz) {
		flagz.Install(mux, component, flagz.NamedFlagSetsReader{FlagSets: flags})
	}
	if gates.Enabled(zpages.ComponentStatusz) {
		version, err := portolan.Version()
		if err != nil {
			return nil, err
		}
		effective := compatibility.NewEffectiveVersionFromString(version, "", "")
		statusz.Install(mux, component, statusz.NewRegistry(effective, statusz.WithListedPaths(listedPaths)))
	}
	if c.EnableProfiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("PUT /debug/flags/v", setVerbosity)
	}
	return mux, nil
}

// listedPaths are told of at /statusz.
var listedPaths = []string{"/configz", "/healthz", "/metrics", "/metrics/slis", "/proxyMode", "/statusz"}

// setVerbosity sets --v of the process that runs to the request's body.
func setVerbosity(w http.ResponseWriter, r *http.Request) {
	wanted, err := io.ReadAll(io.LimitReader(r.Body, 16))
	if err == nil {
		var said string
		if said, err = logs.GlogSetter(string(wanted)); err == nil {
			_, _ = io.WriteString(w, said+"\n")
			return
		}
	}
	http.Error(w, err.Error(), http.StatusBadRequest)
}

// servedMode is the mode's name as kube-proxy tells it.
func servedMode(c *config.Configuration) string {
	if c.Mode == config.ModeDefault {
		return string(config.ModeIPTables)
	}
	return string(c.Mode)
}

// serve serves until ctx ends. A port that cannot be had is asked for again, and failed is told each time; with
// hardFail that is the end.
func serve(ctx context.Context, address string, handler http.Handler, hardFail bool, failed func(error)) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	// Ends with ctx, which the caller ends.
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	for {
		socket, err := net.Listen("tcp", address)
		if err == nil {
			if err = server.Serve(socket); ctx.Err() != nil {
				return nil
			}
		}
		failed(err)
		if hardFail {
			return fmt.Errorf("serving at %s: %w", address, err)
		}
		klog.FromContext(ctx).Error(err, "Cannot serve; trying again", "address", address)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(bindRetry):
		}
	}
}
