// Package health answers the probes that kube-proxy answers: /healthz and /livez of the proxy, and a Service's
// healthCheckNodePort.
package health

import (
	"encoding/json"
	"maps"
	"net/http"
	"sync"
	"time"
)

// IPFamily is "IPv4" or "IPv6", as probes and metrics write it.
type IPFamily = string

// The families.
const (
	IPv4 IPFamily = "IPv4"
	IPv6 IPFamily = "IPv6"
)

// Proxy is the proxy's health: whether what changes takes effect in time (kube-proxy's proxy_health.go, KEP-3836). A
// family is unhealthy when its oldest change has waited for two sync periods; never before its first success, so a
// proxy that starts reads healthy. Its methods may be called from any goroutine.
type Proxy struct {
	timeout time.Duration
	now     func() time.Time
	probed  func(path string, code int)

	mutex    sync.Mutex
	families map[IPFamily]*updates
	eligible bool
}

type updates struct {
	last   time.Time // zero: never
	oldest time.Time // zero: nothing waits
}

// NewProxy makes the health of a proxy with this sync period. probed, if not nil, is told of every answer.
func NewProxy(syncPeriod time.Duration, probed func(path string, code int)) *Proxy {
	if probed == nil {
		probed = func(string, int) {}
	}
	return &Proxy{
		timeout: 2 * syncPeriod, now: time.Now, probed: probed,
		families: map[IPFamily]*updates{IPv4: {}, IPv6: {}}, eligible: true,
	}
}

// Queued: a change waits to take effect.
func (p *Proxy) Queued(family IPFamily) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if of := p.families[family]; of.oldest.IsZero() {
		of.oldest = p.now()
	}
}

// Updated: all changes have taken effect.
func (p *Proxy) Updated(family IPFamily) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	*p.families[family] = updates{last: p.now()}
}

// SetEligible says whether load balancers may send to the node: not while it is being deleted or carries the
// autoscaler's ToBeDeletedByClusterAutoscaler taint.
func (p *Proxy) SetEligible(eligible bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.eligible = eligible
}

// Healthy: does nothing wait for too long, whatever becomes of the node?
func (p *Proxy) Healthy() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	healthy, _ := p.judge(p.now())
	return healthy
}

// Handler serves /healthz (which the node's eligibility takes part in) and /livez (which it does not).
func (p *Proxy) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { p.answer(w, "/healthz", true) })
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { p.answer(w, "/livez", false) })
	return mux
}

type familyStatus struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

type status struct {
	LastUpdated  time.Time                 `json:"lastUpdated"`
	CurrentTime  time.Time                 `json:"currentTime"`
	NodeEligible *bool                     `json:"nodeEligible,omitempty"`
	Healthy      bool                      `json:"healthy"`
	Status       map[IPFamily]familyStatus `json:"status"`
}

func (p *Proxy) answer(w http.ResponseWriter, path string, withNode bool) {
	p.mutex.Lock()
	now := p.now()
	healthy, families := p.judge(now)
	answer := status{CurrentTime: now, Status: families}
	if withNode {
		eligible := p.eligible
		answer.NodeEligible = &eligible
		healthy = healthy && eligible
	}
	p.mutex.Unlock()
	answer.Healthy = healthy
	// It reads recent while all is well: it once was when the loop last ran, and probes have come to rely on it.
	answer.LastUpdated = now
	code := http.StatusOK
	if !healthy {
		code = http.StatusServiceUnavailable
		answer.LastUpdated = lastOf(families)
	}
	p.probed(path, code)
	write(w, code, answer)
}

// judge is called with the mutex held.
func (p *Proxy) judge(now time.Time) (bool, map[IPFamily]familyStatus) {
	healthy, families := true, map[IPFamily]familyStatus{}
	for family, of := range p.families {
		if of.last.IsZero() {
			continue
		}
		inTime := of.oldest.IsZero() || now.Before(of.oldest.Add(p.timeout))
		families[family] = familyStatus{of.last, inTime}
		healthy = healthy && inTime
	}
	return healthy, families
}

// lastOf is when the family that is late was last up to date; if none is late, when any was.
func lastOf(families map[IPFamily]familyStatus) time.Time {
	var late, any time.Time
	for family := range maps.Values(families) {
		if !family.Healthy && (late.IsZero() || family.LastUpdated.Before(late)) {
			late = family.LastUpdated
		}
		if family.LastUpdated.After(any) {
			any = family.LastUpdated
		}
	}
	if late.IsZero() {
		return any
	}
	return late
}

func write(w http.ResponseWriter, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		code, text = http.StatusInternalServerError, []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(text)
}
