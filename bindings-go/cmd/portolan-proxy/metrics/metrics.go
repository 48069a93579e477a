// Package metrics holds the metrics that dashboards and alerts read of kube-proxy, by its names.
package metrics

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // rest_client_requests_total and its kin
	_ "k8s.io/component-base/metrics/prometheus/version"    // kubernetes_build_info

	"github.com/portolan/portolan/bindings-go/kube"
)

const subsystem = "kubeproxy"

// Families label what is told of IPv4 and IPv6.
var Families = []string{"IPv4", "IPv6"}

var (
	syncDuration = histogram("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", syncBuckets)
	fullDuration = histogram("sync_full_proxy_rules_duration_seconds",
		"SyncProxyRules latency in seconds for full resyncs", syncBuckets)
	partialDuration = histogram("sync_partial_proxy_rules_duration_seconds",
		"SyncProxyRules latency in seconds for partial resyncs", syncBuckets)
	programming = histogram("network_programming_duration_seconds",
		"In Cluster Network Programming Latency in seconds", metrics.MergeBuckets(
			metrics.LinearBuckets(0.25, 0.25, 2), metrics.LinearBuckets(1, 1, 59),
			metrics.LinearBuckets(60, 5, 12), metrics.LinearBuckets(120, 30, 7)))
	lastSync = gauge("sync_proxy_rules_last_timestamp_seconds",
		"The last time proxy rules were successfully synced", "ip_family")
	lastQueued = gauge("sync_proxy_rules_last_queued_timestamp_seconds",
		"The last time a sync of proxy rules was queued")
	servicesPending = gauge("sync_proxy_rules_service_changes_pending",
		"Pending proxy rules Service changes", "ip_family")
	endpointsPending = gauge("sync_proxy_rules_endpoint_changes_pending",
		"Pending proxy rules Endpoint changes", "ip_family")
	servicesTotal = counter("sync_proxy_rules_service_changes_total",
		"Cumulative proxy rules Service changes", "ip_family")
	endpointsTotal = counter("sync_proxy_rules_endpoint_changes_total",
		"Cumulative proxy rules Endpoint changes", "ip_family")
	noLocalEndpoints = gauge("sync_proxy_rules_no_local_endpoints_total",
		"Number of services with a Local traffic policy and no endpoints", "ip_family", "traffic_policy")
	syncFailures = counter("sync_proxy_rules_nftables_sync_failures_total",
		"Cumulative proxy nftables sync failures", "ip_family")
	cleanupFailures = counter("sync_proxy_rules_nftables_cleanup_failures_total",
		"Cumulative proxy nftables cleanup failures", "ip_family")
	// In modes that are iptables' by name, alerts and boards of that mode go on: what cannot be brought into force is counted
	// where they look, and of rules of iptables there are none.
	restoreFailures = counter("sync_proxy_rules_iptables_restore_failures_total",
		"Cumulative proxy rules sync failures, whatever brings them into force", "ip_family")
	partialFailures = counter("sync_proxy_rules_iptables_partial_restore_failures_total",
		"Cumulative failures of syncs that were not the first", "ip_family")
	iptablesTotal = gauge("sync_proxy_rules_iptables_total", "Number of iptables rules owned by the proxy: none",
		"table", "ip_family")
	iptablesLast = gauge("sync_proxy_rules_iptables_last", "Number of iptables rules written by the last sync: none",
		"table", "ip_family")
	loopbackAccepted = counter("iptables_localhost_nodeports_accepted_packets_total",
		"Connections to NodePorts at 127.0.0.1, of which iptables counts the first packets")
	loopbackListeners = gauge("nftables_localhost_nodeport_listeners",
		"Sockets that serve NodePorts at loopback addresses", "ip_family")
	loopbackFailures = counter("nftables_localhost_nodeport_listener_creation_failures_total",
		"NodePorts that could not be served at a loopback address", "ip_family")
	staleFlows = counter("conntrack_reconciler_deleted_entries_total",
		"Connections that the kernel was made to forget, because their endpoint serves them no more", "ip_family")
	staleFlowsDuration = histogram("conntrack_reconciler_sync_duration_seconds",
		"Latency in seconds of syncs in which the kernel's connections were read", syncBuckets)
	healthz = counter("proxy_healthz_total", "Cumulative proxy healthz HTTP status", "code")
	livez   = counter("proxy_livez_total", "Cumulative proxy livez HTTP status", "code")
)

var syncBuckets = metrics.ExponentialBuckets(0.001, 2, 15)

// Register adds all of them to the registry that component-base serves, those of kube-proxy's mode iptables if that is what
// the configuration asks for. To be called once.
func Register(asIPTables bool) {
	all := []metrics.Registerable{
		syncDuration, fullDuration, partialDuration, programming, lastSync, lastQueued, servicesPending,
		endpointsPending, servicesTotal, endpointsTotal, noLocalEndpoints, syncFailures, cleanupFailures,
		loopbackListeners, loopbackFailures, staleFlows, staleFlowsDuration, healthz, livez,
	}
	if asIPTables {
		all = append(all, restoreFailures, partialFailures, iptablesTotal, iptablesLast, loopbackAccepted)
	}
	for _, each := range all {
		legacyregistry.MustRegister(each)
	}
	// A board's drop-down of instances is filled from these: they are there before the first change.
	lastQueued.WithLabelValues().Set(0)
	loopbackAccepted.WithLabelValues().Add(0)
	for _, family := range Families {
		programming.WithLabelValues(family)
		staleFlowsDuration.WithLabelValues(family)
		for _, each := range []*metrics.GaugeVec{lastSync, servicesPending, endpointsPending, loopbackListeners} {
			each.WithLabelValues(family).Set(0)
		}
		for _, each := range []*metrics.CounterVec{
			servicesTotal, endpointsTotal, syncFailures, cleanupFailures, restoreFailures, partialFailures,
			loopbackFailures, staleFlows,
		} {
			each.WithLabelValues(family).Add(0)
		}
		for _, table := range []string{"nat", "filter"} {
			iptablesTotal.WithLabelValues(table, family).Set(0)
			iptablesLast.WithLabelValues(table, family).Set(0)
		}
	}
}

func familyOf(ipv6 bool) string {
	if ipv6 {
		return Families[1]
	}
	return Families[0]
}

// Loopback tells how many sockets serve NodePorts at loopback addresses.
func Loopback(ipv4, ipv6 int) {
	loopbackListeners.WithLabelValues(familyOf(false)).Set(float64(ipv4))
	loopbackListeners.WithLabelValues(familyOf(true)).Set(float64(ipv6))
}

// LoopbackFailed tells that a NodePort could not be served at a loopback address.
func LoopbackFailed(ipv6 bool) { loopbackFailures.WithLabelValues(familyOf(ipv6)).Inc() }

// LoopbackAccepted tells of a connection to a NodePort at a loopback address.
func LoopbackAccepted(ipv6 bool) {
	if !ipv6 {
		loopbackAccepted.WithLabelValues().Inc()
	}
}

// Forgotten tells that the kernel's connections of a family were read, in so much time, and how many of them it forgot.
func Forgotten(ipv6 bool, connections uint64, took time.Duration) {
	staleFlows.WithLabelValues(familyOf(ipv6)).Add(float64(connections))
	staleFlowsDuration.WithLabelValues(familyOf(ipv6)).Observe(took.Seconds())
}

// Begun tells that a batch is being brought into force.
func Begun(batch kube.Batch) {
	for _, family := range Families {
		servicesPending.WithLabelValues(family).Set(float64(batch.Services))
		endpointsPending.WithLabelValues(family).Set(float64(batch.EndpointSlices))
	}
	if !batch.Queued.IsZero() {
		lastQueued.WithLabelValues().Set(seconds(batch.Queued))
	}
}

// Ended tells that it is in force, since begun; full says that everything was looked at.
func Ended(batch kube.Batch, begun, ended time.Time, full bool) {
	duration := ended.Sub(begun).Seconds()
	byKind := partialDuration
	if full {
		byKind = fullDuration
	}
	for _, family := range Families {
		syncDuration.WithLabelValues(family).Observe(duration)
		byKind.WithLabelValues(family).Observe(duration)
		lastSync.WithLabelValues(family).Set(seconds(ended))
		servicesPending.WithLabelValues(family).Set(0)
		endpointsPending.WithLabelValues(family).Set(0)
		servicesTotal.WithLabelValues(family).Add(float64(batch.Services))
		endpointsTotal.WithLabelValues(family).Add(float64(batch.EndpointSlices))
		for _, trigger := range batch.Triggers[corev1.IPFamily(family)] {
			programming.WithLabelValues(family).Observe(ended.Sub(trigger).Seconds())
		}
	}
}

// CleanupFailed tells that what nobody asks for any more could not be removed.
func CleanupFailed() {
	for _, family := range Families {
		cleanupFailures.WithLabelValues(family).Inc()
	}
}

// Failed tells that a batch could not be brought into force; full says that it was the first.
func Failed(full bool) {
	for _, family := range Families {
		syncFailures.WithLabelValues(family).Inc()
		restoreFailures.WithLabelValues(family).Inc()
		if !full {
			partialFailures.WithLabelValues(family).Inc()
		}
	}
}

// NoLocalEndpoints tells how many Services have a Local policy and no endpoints here.
func NoLocalEndpoints(family, policy string, services int) {
	noLocalEndpoints.WithLabelValues(family, policy).Set(float64(services))
}

// Probed counts an answer to a probe of /healthz or /livez.
func Probed(path string, code int) {
	of := healthz
	if path == "/livez" {
		of = livez
	}
	of.WithLabelValues(strconv.Itoa(code)).Inc()
}

func seconds(at time.Time) float64 { return float64(at.UnixNano()) / float64(time.Second) }

func histogram(name, help string, buckets []float64) *metrics.HistogramVec {
	return metrics.NewHistogramVec(&metrics.HistogramOpts{
		Subsystem: subsystem, Name: name, Help: help, Buckets: buckets, StabilityLevel: metrics.ALPHA,
	}, []string{"ip_family"})
}

func gauge(name, help string, labels ...string) *metrics.GaugeVec {
	return metrics.NewGaugeVec(&metrics.GaugeOpts{
		Subsystem: subsystem, Name: name, Help: help, StabilityLevel: metrics.ALPHA,
	}, labels)
}

func counter(name, help string, labels ...string) *metrics.CounterVec {
	return metrics.NewCounterVec(&metrics.CounterOpts{
		Subsystem: subsystem, Name: name, Help: help, StabilityLevel: metrics.ALPHA,
	}, labels)
}
