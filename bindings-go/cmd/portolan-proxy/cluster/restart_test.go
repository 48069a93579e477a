//go:build cgo

package cluster

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// churn has other Services come, change and go until it is told to stop, and then leaves one.
func (c *cluster) churn() (stop func()) {
	var ended atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for round := 0; !ended.Load(); round++ {
			name := fmt.Sprint("other-", round%8)
			c.server.Put(service(name, 100+round%8))
			c.put(name, c.pods[round%3])
			if round%3 == 2 {
				c.server.Delete(service(name, 100+round%8))
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return func() {
		ended.Store(true)
		<-done
	}
}

func TestRestartsAndKillsDisturbNoConnection(t *testing.T) {
	c := newCluster(t)
	c.server.Put(service("web", 80))
	c.put("web", c.pods[0])
	proxy := c.start()
	c.ready()
	c.undisturbed(t, func() {
		if status := proxy.stop(); status != 0 {
			t.Errorf("stopped with %d", status)
		}
		time.Sleep(100 * time.Millisecond) // nobody is there
		proxy = c.start()
		c.ready()
		// In the middle of changes, when some transaction is under way; four times, at other moments.
		stop := c.churn()
		for round := range 4 {
			time.Sleep(time.Duration(50+37*round) * time.Millisecond)
			if err := proxy.command.Process.Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			proxy.wait()
			proxy = c.start()
			c.ready()
		}
		stop()
		time.Sleep(condemned)
	})
	// What came and went while nobody looked is as it should be.
	c.server.Put(service("other-0", 100))
	c.put("other-0", c.pods[1])
	c.server.Delete(service("other-1", 101))
	c.put("other-1")
	eventually(t, "what is new", answers(c.pods[2].host, "http://10.96.0.100", "pod1 for 10.244.1.7"))
	eventually(t, "what is gone", func() bool { return c.pods[2].curl("http://10.96.0.101") == "exit status 28" })
	c.doors(t)
}
