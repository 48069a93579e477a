package health

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func get(t *testing.T, p *Proxy, path string) (int, status) {
	t.Helper()
	recorder := httptest.NewRecorder()
	p.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	var body status
	if err := json.Unmarshal(recorder.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	return recorder.Code, body
}

func TestAProxyIsHealthyUntilAChangeWaitsForTwoPeriods(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	probes := map[int]int{}
	p := NewProxy(30*time.Second, func(_ string, code int) { probes[code]++ })
	p.now = func() time.Time { return now }

	// Before the first success, however long a change waits.
	p.Queued(IPv4)
	now = now.Add(time.Hour)
	if code, _ := get(t, p, "/healthz"); code != 200 {
		t.Errorf("starting: %d", code)
	}
	p.Updated(IPv4)
	updated := now
	now = now.Add(time.Hour)
	p.Queued(IPv4)
	now = now.Add(59 * time.Second)
	p.Queued(IPv4) // a later change does not make the oldest younger
	if code, body := get(t, p, "/healthz"); code != 200 || !body.LastUpdated.Equal(now) {
		t.Errorf("in time: %d %+v", code, body)
	}
	now = now.Add(time.Second)
	code, body := get(t, p, "/livez")
	if code != 503 || !body.LastUpdated.Equal(updated) || body.Status[IPv4].Healthy || p.Healthy() {
		t.Errorf("late: %d %+v", code, body)
	}
	if _, told := body.Status[IPv6]; told {
		t.Error("a family that was never updated is told of")
	}
	p.Updated(IPv4)
	if code, _ := get(t, p, "/livez"); code != 200 {
		t.Errorf("caught up: %d", code)
	}
	if probes[200] != 3 || probes[503] != 1 {
		t.Errorf("probes %v", probes)
	}
}

func TestANodeAboutToGoFailsHealthzAndNotLivez(t *testing.T) {
	p := NewProxy(time.Second, nil)
	p.SetEligible(false)
	if code, body := get(t, p, "/healthz"); code != 503 || body.NodeEligible == nil || *body.NodeEligible {
		t.Errorf("healthz %d %+v", code, body)
	}
	if code, body := get(t, p, "/livez"); code != 200 || body.NodeEligible != nil {
		t.Errorf("livez %d %+v", code, body)
	}
}

// port is one that was free a moment ago.
func port(t *testing.T) uint16 {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return uint16(socket.Addr().(*net.TCPAddr).Port)
}

func ask(t *testing.T, port uint16) (code int, weight, body string) {
	t.Helper()
	answer, err := http.Get("http://127.0.0.1:" + strconv.Itoa(int(port)) + "/any/path")
	if err != nil {
		return 0, "", ""
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header.Get("X-Load-Balancing-Endpoint-Weight"), string(text)
}

func TestABalancerLearnsWhetherTheNodeHasEndpoints(t *testing.T) {
	healthy := true
	s := NewServices([]netip.Addr{netip.MustParseAddr("127.0.0.1")}, func() bool { return healthy })
	defer s.Close()
	web := Service{Name: types.NamespacedName{Namespace: "default", Name: "web"}, Port: port(t), LocalEndpoints: 2}
	if err := s.Update([]Service{web}); err != nil {
		t.Fatal(err)
	}
	code, weight, body := ask(t, web.Port)
	want := `{"service":{"namespace":"default","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}`
	if code != 200 || weight != "2" || body != want {
		t.Errorf("%d %s %s", code, weight, body)
	}
	healthy = false
	if code, _, _ := ask(t, web.Port); code != 503 {
		t.Errorf("with an unhealthy proxy: %d", code)
	}
	healthy, web.LocalEndpoints = true, 0
	if err := s.Update([]Service{web}); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := ask(t, web.Port); code != 503 {
		t.Errorf("without endpoints: %d", code)
	}
	if err := s.Update(nil); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := ask(t, web.Port); code != 0 {
		t.Errorf("a Service that is gone answers %d", code)
	}
}

func TestAPortThatCannotBeHadIsNamedAndTheRestServed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := NewServices([]netip.Addr{netip.MustParseAddr("127.0.0.1")}, func() bool { return true })
	defer s.Close()
	bad := Service{types.NamespacedName{Namespace: "a", Name: "bad"}, uint16(taken.Addr().(*net.TCPAddr).Port), 1}
	good := Service{types.NamespacedName{Namespace: "a", Name: "good"}, port(t), 1}
	var listen *ListenError
	if err := s.Update([]Service{bad, good}); !errors.As(err, &listen) || listen.Service != bad {
		t.Errorf("%v", err)
	}
	if code, _, _ := ask(t, good.Port); code != 200 {
		t.Errorf("the other Service: %d", code)
	}
}
