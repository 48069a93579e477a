// Package prometheus shows a dataplane's counts to Prometheus. It is a module of its own, so that package portolan
// depends on nothing.
package prometheus

import (
	"errors"
	"strconv"

	"github.com/portolan/portolan/bindings-go"
	"github.com/prometheus/client_golang/prometheus"
)

const prefix = "portolan_"

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

var (
	packets     = describe("packets_total", "Packets by verdict.", "verdict")
	drops       = describe("dropped_packets_total", "Packets dropped, by reason.", "reason", "explanation")
	bytes       = describe("bytes_total", "Bytes of all packets, from the IP header on.")
	opened      = describe("connections_opened_total", "Connections opened.", "family")
	evicted     = describe("connections_evicted_total", "Connections evicted to make room for new ones.", "family")
	used        = describe("table_used", "How much of a table is in use.", "table")
	notKept     = describe("affinities_not_kept_total", "New connections whose client could not be remembered.")
	service     = []string{"namespace", "service", "port", "protocol", "family"}
	connections = describe("service_connections_total", "Connections opened to a ServicePort.", service...)
	refused     = describe("service_refused_total", "First packets refused by a ServicePort.", append(service, "why")...)
	traffic     = describe("service_packets_total", "Packets of a ServicePort.", append(service, "direction")...)
	volume      = describe("service_bytes_total", "Bytes of a ServicePort.", append(service, "direction")...)
)

// Collector is a prometheus.Collector of one dataplane. Each collection costs O(ServicePorts + endpoints).
type Collector struct {
	dataplane *portolan.Dataplane
}

// NewCollector makes a collector; register it where you like.
func NewCollector(dataplane *portolan.Dataplane) *Collector { return &Collector{dataplane} }

// Describe is for Prometheus.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, each := range []*prometheus.Desc{
		packets, drops, bytes, opened, evicted, used, notKept, connections, refused, traffic, volume,
	} {
		to <- each
	}
}

// Collect is for Prometheus. Of a dataplane that another goroutine is using it tries a few times.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	var stats portolan.Stats
	var services []portolan.ServiceStats
	err := patiently(func() (err error) { stats, err = c.dataplane.Stats(); return err })
	if err == nil {
		err = patiently(func() (err error) { services, err = c.dataplane.Services(); return err })
	}
	if err != nil {
		to <- prometheus.NewInvalidMetric(packets, err)
		return
	}
	counter := func(description *prometheus.Desc, value uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(description, prometheus.CounterValue, float64(value), labels...)
	}
	gauge := func(value uint64, table string) {
		to <- prometheus.MustNewConstMetric(used, prometheus.GaugeValue, float64(value), table)
	}
	counter(packets, stats.Passed, "pass")
	counter(packets, stats.Forwarded, "forward")
	counter(packets, stats.Replied, "reply")
	counter(packets, stats.Dropped, "drop")
	for reason, count := range stats.Drops {
		if words := portolan.DropText(uint8(reason)); words != "" {
			counter(drops, count, strconv.Itoa(reason), words)
		}
	}
	counter(bytes, stats.Bytes)
	counter(opened, stats.OpenedIPv4, "IPv4")
	counter(opened, stats.OpenedIPv6, "IPv6")
	counter(evicted, stats.EvictedIPv4, "IPv4")
	counter(evicted, stats.EvictedIPv6, "IPv6")
	counter(notKept, stats.AffinitiesNotKept)
	gauge(stats.ConnectionsIPv4, "connections_ipv4")
	gauge(stats.ConnectionsIPv6, "connections_ipv6")
	gauge(stats.Services, "services")
	gauge(stats.Frontends, "frontends")
	gauge(stats.Endpoints, "endpoints")
	gauge(stats.SourceRanges, "source_ranges")
	gauge(stats.HashBuckets, "hash_buckets")
	gauge(stats.Affinities, "affinities")
	gauge(stats.Fragments, "fragments")
	for _, each := range services {
		labels := labelsOf(each)
		with := func(label string) []string { return append(labels[:len(labels):len(labels)], label) }
		counter(connections, each.Opened, labels...)
		counter(refused, each.Rejected, with("no endpoint")...)
		counter(refused, each.NoLocalEndpoint, with("no local endpoint")...)
		counter(refused, each.SourceRange, with("source range")...)
		counter(traffic, each.To.Packets, with("to endpoints")...)
		counter(traffic, each.From.Packets, with("from endpoints")...)
		counter(volume, each.To.Bytes, with("to endpoints")...)
		counter(volume, each.From.Bytes, with("from endpoints")...)
	}
}

// patiently tries again while another goroutine is inside a call on the dataplane.
func patiently(try func() error) error {
	err := try()
	for tries := 0; errors.Is(err, portolan.ErrBusy) && tries < 1000; tries++ {
		err = try()
	}
	return err
}

func labelsOf(each portolan.ServiceStats) []string {
	family := "IPv4"
	if each.IPv6 {
		family = "IPv6"
	}
	protocol := map[portolan.Protocol]string{portolan.TCP: "TCP", portolan.UDP: "UDP", portolan.SCTP: "SCTP"}
	return []string{each.Namespace, each.Name, each.PortName, protocol[each.Protocol], family}
}
