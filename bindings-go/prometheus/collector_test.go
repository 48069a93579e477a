//go:build cgo

package prometheus_test

import (
	"strings"
	"testing"

	"github.com/portolan/portolan/bindings-go"
	collector "github.com/portolan/portolan/bindings-go/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const objects = `
{apiVersion: v1, kind: Service, metadata: {namespace: default, name: web}, spec: {clusterIP: 10.96.0.80, ports: [{port: 80}]}}
`

func TestEveryCountIsCollected(t *testing.T) {
	node, err := portolan.NewNode([]byte("{nodeName: n1}"))
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	var batch portolan.Batch
	batch.Apply([]byte(objects))
	batch.Replace(portolan.KindService)
	batch.Replace(portolan.KindEndpointSlice)
	if _, _, err := node.Commit(&batch); err != nil {
		t.Fatal(err)
	}
	dataplane, err := node.NewDataplane(portolan.Limits{ConnectionsIPv4: 64, ConnectionsIPv6: 64}, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dataplane.Publish(); err != nil {
		t.Fatal(err)
	}
	collected := collector.NewCollector(dataplane)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collected)
	want := `
# HELP portolan_service_connections_total Connections opened to a ServicePort.
# TYPE portolan_service_connections_total counter
portolan_service_connections_total{family="IPv4",namespace="default",port="",protocol="TCP",service="web"} 0
# HELP portolan_table_used How much of a table is in use.
# TYPE portolan_table_used gauge
portolan_table_used{table="affinities"} 0
portolan_table_used{table="connections_ipv4"} 0
portolan_table_used{table="connections_ipv6"} 0
portolan_table_used{table="endpoints"} 0
portolan_table_used{table="fragments"} 0
portolan_table_used{table="frontends"} 1
portolan_table_used{table="hash_buckets"} 0
portolan_table_used{table="services"} 1
portolan_table_used{table="source_ranges"} 0
`
	names := []string{"portolan_service_connections_total", "portolan_table_used"}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) != 0 {
		t.Error(problems, err)
	}
	if err := dataplane.Close(); err != nil {
		t.Error(err)
	}
	if _, err := registry.Gather(); err == nil {
		t.Error("a closed dataplane has counts")
	}
}
