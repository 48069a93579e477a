package proxy

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

// Sysctls writes the kernel's connection tracking limits. Root is /proc/sys.
type Sysctls struct {
	Root   string
	Logger logr.Logger
}

// Apply brings the limits to what the configuration asks for; 0 leaves one alone, and a limit that is already at least
// as wide stays. What cannot be written is told of and is no failure: in containers /proc/sys is often read-only.
func (s Sysctls) Apply(c *config.Configuration) {
	conntrack := &c.Conntrack
	if limit := conntrackMax(*conntrack.MaxPerCore, *conntrack.Min, runtime.NumCPU()); limit > 0 {
		s.raise("net/netfilter/nf_conntrack_max", limit)
		s.raise("net/netfilter/nf_conntrack_buckets", limit/connectionsPerBucket)
	}
	seconds := func(name string, timeout time.Duration) {
		if timeout > 0 {
			s.write("net/netfilter/nf_conntrack_"+name, int(timeout/time.Second))
		}
	}
	seconds("tcp_timeout_established", conntrack.TCPEstablishedTimeout.Duration)
	seconds("tcp_timeout_close_wait", conntrack.TCPCloseWaitTimeout.Duration)
	seconds("udp_timeout", conntrack.UDPTimeout.Duration)
	seconds("udp_timeout_stream", conntrack.UDPStreamTimeout.Duration)
	if conntrack.TCPBeLiberal {
		s.write("net/netfilter/nf_conntrack_tcp_be_liberal", 1)
	}
}

// connectionsPerBucket is how many connections share a bucket of the kernel's hash table at most, if they are spread evenly.
const connectionsPerBucket = 4

// conntrackMax is the greater of what every core gets and the least; 0 with nothing for a core.
func conntrackMax(perCore, least int32, cores int) int {
	if perCore <= 0 {
		return 0
	}
	return max(int(perCore)*cores, int(least))
}

func (s Sysctls) read(name string) (int, error) {
	text, err := os.ReadFile(filepath.Join(s.Root, name))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func (s Sysctls) raise(name string, least int) {
	if now, err := s.read(name); err == nil && now >= least {
		return
	}
	s.write(name, least)
}

func (s Sysctls) write(name string, value int) {
	if now, err := s.read(name); err == nil && now == value {
		return
	}
	err := os.WriteFile(filepath.Join(s.Root, name), []byte(strconv.Itoa(value)), 0o644)
	switch {
	case err == nil:
		s.Logger.Info("Set sysctl", "name", name, "value", value)
	case errors.Is(err, os.ErrNotExist):
		s.Logger.V(2).Info("No such sysctl here", "name", name)
	default:
		s.Logger.Error(err, "Cannot set sysctl; it stays as it is", "name", name, "value", value)
	}
}
