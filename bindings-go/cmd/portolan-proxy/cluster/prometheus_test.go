//go:build cgo

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

const prometheus = "http://127.0.0.1:9090"

// of are the labels that the board chooses by.
const of = `job="kube-proxy",instance=~"127.0.0.1:10249"`

// board are the expressions of kubernetes-mixin's dashboard "Kubernetes / Proxy", by the panel's title, with its variables
// filled in; and those of its alerts, as they are before what they alert of.
var board = []struct{ panel, expression string }{
	{"Up", `sum(up{job="kube-proxy"})`},
	{"Rules Sync Rate", `sum(rate(kubeproxy_sync_proxy_rules_duration_seconds_count{` + of + `}[1m]))`},
	{"Rules Sync Latency 99th Quantile",
		`histogram_quantile(0.99,rate(kubeproxy_sync_proxy_rules_duration_seconds_bucket{` + of + `}[1m]))`},
	{"Network Programming Rate", `sum(rate(kubeproxy_network_programming_duration_seconds_count{` + of + `}[1m]))`},
	{"Network Programming Latency 99th Quantile", `histogram_quantile(0.99, ` +
		`sum(rate(kubeproxy_network_programming_duration_seconds_bucket{` + of + `}[1m])) by (instance, le))`},
	{"Kube API Request Rate, 2xx", `sum(rate(rest_client_requests_total{` + of + `,code=~"2.."}[1m]))`},
	{"Kube API Request Rate, 4xx", `sum(rate(rest_client_requests_total{` + of + `,code=~"4.."}[1m]))`},
	{"Kube API Request Rate, 5xx", `sum(rate(rest_client_requests_total{` + of + `,code=~"5.."}[1m]))`},
	{"Post Request Latency 99th Quantile", `histogram_quantile(0.99, ` +
		`sum(rate(rest_client_request_duration_seconds_bucket{` + of + `,verb="POST"}[1m])) by (verb, le))`},
	{"Get Request Latency 99th Quantile", `histogram_quantile(0.99, ` +
		`sum(rate(rest_client_request_duration_seconds_bucket{` + of + `,verb="GET"}[1m])) by (verb, le))`},
	{"Memory", `process_resident_memory_bytes{` + of + `}`},
	{"CPU usage", `rate(process_cpu_seconds_total{` + of + `}[1m])`},
	{"Goroutines", `go_goroutines{` + of + `}`},
	{"the list of instances", `count by (instance) (kubeproxy_network_programming_duration_seconds_bucket{job="kube-proxy"})`},
	{"KubeProxyDown", `up{job="kube-proxy"} == 1`},
	{"KubeVersionMismatch", `count by (git_version) (kubernetes_build_info{job="kube-proxy"})`},
	{"KubeClientErrors", `sum(rate(rest_client_requests_total{job="kube-proxy",code=~"5.."}[1m])) by (instance, job)` +
		` / sum(rate(rest_client_requests_total{job="kube-proxy"}[1m])) by (instance, job)`},
}

// query is the values that Prometheus finds for an expression.
func (c *cluster) query(t *testing.T, expression string) []string {
	t.Helper()
	code, body := c.node.get(prometheus + "/api/v1/query?query=" + url.QueryEscape(expression))
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 {
		t.Fatalf("%s: %d %s", expression, code, body)
	}
	var values []string
	for _, each := range answer.Data.Result {
		values = append(values, fmt.Sprint(each.Value[1]))
	}
	return values
}

// scrape has Debian's Prometheus read the proxy's metrics each second, as kube-prometheus names and reaches it.
func (c *cluster) scrape(t *testing.T) {
	t.Helper()
	directory := t.TempDir()
	configuration := filepath.Join(directory, "prometheus.yml")
	text := "global: {scrape_interval: 1s}\n" +
		"scrape_configs: [{job_name: kube-proxy, static_configs: [{targets: ['127.0.0.1:10249']}]}]\n"
	if err := os.WriteFile(configuration, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	line := c.node.command("prometheus", "--config.file="+configuration, "--storage.tsdb.path="+directory,
		"--web.listen-address=127.0.0.1:9090", "--log.level=error")
	command := exec.CommandContext(ctx, line[0], line[1:]...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait()
	})
	eventually(t, "Prometheus", func() bool { code, _ := c.node.get(prometheus + "/-/ready"); return code == 200 })
}

func TestTheStockBoardsAndAlertsExpressionsFindSomething(t *testing.T) {
	c := newCluster(t)
	c.server.Put(service("web", 80))
	c.put("web", c.pods[0])
	proxy := c.start()
	c.ready()
	c.scrape(t)
	// What a board shows happens while it looks: endpoints change, the API server is away for a moment, and takes a right away.
	var missing []string
	for round := range 40 {
		c.put("web", c.pods[round%2])
		switch round {
		case 8:
			c.server.Fail(true)
			time.Sleep(100 * time.Millisecond)
			c.server.Fail(false)
		case 10:
			c.server.Forbid("/apis/networking.k8s.io/v1/servicecidrs")
			c.server.Cut()
		}
		time.Sleep(time.Second)
		missing = nil
		for _, each := range board {
			values := c.query(t, each.expression)
			// Without an answer to a POST in that time there is no latency of one.
			if len(values) == 0 || slices.Contains(values, "NaN") && each.panel != "Post Request Latency 99th Quantile" {
				missing = append(missing, fmt.Sprint(each.panel, values))
			}
		}
		if len(missing) == 0 {
			break
		}
	}
	if len(missing) != 0 {
		t.Errorf("found nothing: %v", missing)
	}
	if fires := c.query(t, `absent(up{job="kube-proxy"} == 1)`); len(fires) != 0 {
		t.Errorf("KubeProxyDown fires while the proxy is up: %v", fires)
	}
	proxy.stop()
	eventually(t, "KubeProxyDown", func() bool { return len(c.query(t, `absent(up{job="kube-proxy"} == 1)`)) == 1 })
}

func TestProgrammingLatencyIsWhatAnOutsideClientMeasures(t *testing.T) {
	c := newCluster(t)
	c.server.Put(service("web", 80))
	c.put("web", c.pods[0])
	c.start()
	c.ready()
	eventually(t, "served at first", func() bool { return c.opens() == nil })
	const sum, count = `kubeproxy_network_programming_duration_seconds_sum{ip_family="IPv4"}`,
		`kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"}`
	// told is what the metric says of the next change.
	sumBefore, countBefore := c.metric(sum), c.metric(count)
	told := func() time.Duration {
		eventually(t, "the count", func() bool { return c.metric(count) == countBefore+1 })
		now := c.metric(sum)
		duration := time.Duration((now - sumBefore) * float64(time.Second))
		sumBefore, countBefore = now, countBefore+1
		return duration
	}
	const rounds = 20
	var late []time.Duration
	for range rounds {
		c.put("web")
		eventually(t, "refused", func() bool { return errors.Is(c.opens(), syscall.ECONNREFUSED) })
		told()
		// The change took effect after the last attempt that was refused began, and before the one that succeeded ended.
		before := time.Now()
		c.put("web", c.pods[0])
		after := time.Now()
		least := time.Duration(0)
		eventually(t, "served", func() bool {
			begun := time.Since(after)
			err := c.opens()
			if errors.Is(err, syscall.ECONNREFUSED) {
				least = begun
			}
			return err == nil
		})
		most := time.Since(before)
		says := told()
		if says < least || says <= 0 {
			t.Errorf("the metric says %v, and a client was refused after %v", says, least)
		}
		late = append(late, says-most)
	}
	slices.Sort(late)
	t.Logf("told later than seen: %v at the median, %v at most", late[rounds/2], late[rounds-1])
	// The clock is read once more between the change's effect and the metric; a busy machine may pause there now and then.
	if late[rounds/2] > 100*time.Millisecond {
		t.Errorf("the metric says more than a client measures: %v", late)
	}
}

// opens: does a connection from a pod to the Service open?
func (c *cluster) opens() error {
	ctx, cancel := background()
	defer cancel()
	connection, err := c.pods[1].dial(ctx, "tcp", "10.96.0.80:80")
	if err == nil {
		_ = connection.Close()
	}
	return err
}
