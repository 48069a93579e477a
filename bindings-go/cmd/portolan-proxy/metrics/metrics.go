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
	healthz = counter("proxy_healthz_total", "Cumulative proxy healthz HTTP status", "code")
	livez   = counter("proxy_livez_total", "Cumulative proxy livez HTTP status", "code")
)

var syncBuckets = metrics.ExponentialBuckets(0.001, 2, 15)

// Register adds all of them to the registry that component-base serves. To be called once.
func Register() {
	for _, each := range []metrics.Registerable{
		syncDuration, fullDuration, partialDuration, programming, lastSync, lastQueued, servicesPending,
		endpointsPending, servicesTotal, endpointsTotal, noLocalEndpoints, syncFailures,
		cleanupFailures, healthz, livez,
	} {
		legacyregistry.MustRegister(each)
	}
	// A board's drop-down of instances is filled from these: they are there before the first change.
	lastQueued.WithLabelValues().Set(0)
	for _, family := range Families {
		programming.WithLabelValues(family)
		for _, each := range []*metrics.GaugeVec{lastSync, servicesPending, endpointsPending} {
			each.WithLabelValues(family).Set(0)
		}
		for _, each := range []*metrics.CounterVec{servicesTotal, endpointsTotal, syncFailures, cleanupFailures} {
			each.WithLabelValues(family).Add(0)
		}
	}
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

// Failed tells that a batch could not be brought into force.
func Failed() {
	for _, family := range Families {
		syncFailures.WithLabelValues(family).Inc()
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
