package health

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// readHeaderTimeout bounds how long a balancer may take to ask.
const readHeaderTimeout = 5 * time.Second

// Service is a Service that load balancers ask about.
type Service struct {
	// Name is the Service.
	Name types.NamespacedName
	// Port is its healthCheckNodePort.
	Port uint16
	// LocalEndpoints counts the ready endpoints on this node.
	LocalEndpoints int
}

// Services listens at healthCheckNodePorts (kube-proxy's service_health.go). Its methods may be called from any
// goroutine.
type Services struct {
	addresses []netip.Addr
	healthy   func() bool

	mutex     sync.Mutex
	listeners map[types.NamespacedName]*listener
}

type listener struct {
	port    uint16
	servers []*http.Server

	mutex sync.Mutex
	local int
}

// NewServices listens on these addresses; with none, on every address. healthy says whether the proxy is: a proxy that
// lags behind is not to be sent new clients.
func NewServices(addresses []netip.Addr, healthy func() bool) *Services {
	return &Services{addresses: addresses, healthy: healthy, listeners: map[types.NamespacedName]*listener{}}
}

// Update listens for these Services and no others. Those that cannot be listened for are in the error, by name; the
// rest is served. A Service that keeps its port keeps its listener.
func (s *Services) Update(services []Service) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	wanted := map[types.NamespacedName]Service{}
	for _, service := range services {
		wanted[service.Name] = service
	}
	for name, has := range s.listeners {
		if service, still := wanted[name]; !still || service.Port != has.port {
			has.close()
			delete(s.listeners, name)
		}
	}
	var failed []error
	for name, service := range wanted {
		has := s.listeners[name]
		if has == nil {
			var err error
			if has, err = s.listen(service); err != nil {
				failed = append(failed, &ListenError{service, err})
				continue
			}
			s.listeners[name] = has
		}
		has.set(service.LocalEndpoints)
	}
	return errors.Join(failed...)
}

// Close ends all listeners.
func (s *Services) Close() { _ = s.Update(nil) }

// ListenError is a healthCheckNodePort that cannot be served.
type ListenError struct {
	// Service is whose it is.
	Service Service
	err     error
}

// Error names the Service, its port and the reason.
func (e *ListenError) Error() string {
	return fmt.Sprintf("Service %s: spec.healthCheckNodePort: %d: %v", e.Service.Name, e.Service.Port, e.err)
}

// Unwrap gives the socket's error.
func (e *ListenError) Unwrap() error { return e.err }

func (s *Services) listen(service Service) (*listener, error) {
	hosts := []string{""}
	if len(s.addresses) > 0 {
		hosts = nil
		for _, address := range s.addresses {
			hosts = append(hosts, address.String())
		}
	}
	made := &listener{port: service.Port}
	for _, host := range hosts {
		socket, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(service.Port))))
		if err != nil {
			made.close()
			return nil, err
		}
		server := &http.Server{ReadHeaderTimeout: readHeaderTimeout, Handler: http.HandlerFunc(
			func(w http.ResponseWriter, _ *http.Request) { s.answer(w, service.Name, made) },
		)}
		made.servers = append(made.servers, server)
		// Ends when the server is closed.
		go func() { _ = server.Serve(socket) }()
	}
	return made, nil
}

type serviceStatus struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

func (s *Services) answer(w http.ResponseWriter, name types.NamespacedName, of *listener) {
	of.mutex.Lock()
	local := of.local
	of.mutex.Unlock()
	body := serviceStatus{LocalEndpoints: local, ServiceProxyHealthy: s.healthy()}
	body.Service.Namespace, body.Service.Name = name.Namespace, name.Name
	code := http.StatusOK
	if local == 0 || !body.ServiceProxyHealthy {
		code = http.StatusServiceUnavailable
	}
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(local))
	write(w, code, body)
}

func (l *listener) set(local int) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.local = local
}

func (l *listener) close() {
	for _, server := range l.servers {
		_ = server.Close()
	}
}
