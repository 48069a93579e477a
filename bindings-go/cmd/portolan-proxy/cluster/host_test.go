package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// host is a network namespace: a node, a pod, or a client outside the cluster.
type host struct{ name string }

// newHost makes a namespace that the test's end deletes. The name is this process's own.
func newHost(t testing.TB, name string) host {
	t.Helper()
	h := host{fmt.Sprintf("pp%d-%s", os.Getpid(), name)}
	run(t, "", "ip", "netns", "add", h.name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", h.name).Run() })
	h.ip(t, "link set lo up")
	return h
}

// run runs a command to its end and gives what it wrote.
func run(t testing.TB, input string, command ...string) string {
	t.Helper()
	said, err := try(input, command...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, said)
	}
	return said
}

func try(input string, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	running := exec.CommandContext(ctx, command[0], command[1:]...)
	running.Stdin = strings.NewReader(input)
	said, err := running.CombinedOutput()
	return string(said), err
}

// command is a command line in the namespace.
func (h host) command(command ...string) []string {
	return append([]string{"ip", "netns", "exec", h.name}, command...)
}

// ip runs lines of ip commands.
func (h host) ip(t testing.TB, lines ...string) {
	t.Helper()
	run(t, strings.Join(lines, "\n")+"\n", "ip", "-netns", h.name, "-batch", "-")
}

func (h host) ip6(t testing.TB, lines ...string) {
	t.Helper()
	run(t, strings.Join(lines, "\n")+"\n", "ip", "-6", "-netns", h.name, "-batch", "-")
}

func (h host) sysctl(t testing.TB, settings ...string) {
	t.Helper()
	run(t, "", h.command(append([]string{"sysctl", "-qw"}, settings...)...)...)
}

// within calls do on a thread that is in the namespace: sockets that it opens stay there.
func (h host) within(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with the goroutine, and nobody else gets one of the wrong namespace.
		runtime.LockOSThread()
		file, err := os.Open("/run/netns/" + h.name)
		if err == nil {
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
			_ = file.Close()
		}
		if err != nil {
			panic(fmt.Sprintf("namespace %s: %v", h.name, err))
		}
		do()
	}()
	<-done
}

func (h host) listen(t testing.TB, address string) (socket net.Listener) {
	t.Helper()
	var err error
	h.within(func() { socket, err = net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	return socket
}

func (h host) dial(ctx context.Context, network, address string) (connection net.Conn, err error) {
	h.within(func() {
		dialer := net.Dialer{Timeout: 2 * time.Second}
		connection, err = dialer.DialContext(ctx, network, address)
	})
	return connection, err
}

// client speaks HTTP from the namespace.
func (h host) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: h.dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
}

// get is what a URL answers from the namespace; code 0 if it does not.
func (h host) get(url string) (code int, body string) {
	answer, err := h.client().Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	_, _ = text.ReadFrom(answer.Body)
	return answer.StatusCode, text.String()
}

// curl is what curl prints, or its exit status: 7, nobody listens; 28, nobody answers.
func (h host) curl(url string) string {
	said, err := try("", h.command("curl", "-sg", "--max-time", "2", url)...)
	if err != nil {
		return err.Error()
	}
	return said
}

const refused = "exit status 7"

// serve answers HTTP on the port with the host's own words and where the request came from.
func (h host) serve(t testing.TB, port int, words string) {
	t.Helper()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		_, _ = fmt.Fprintf(w, "%s for %s", words, from)
	})}
	socket := h.listen(t, fmt.Sprintf("[::]:%d", port))
	go func() { _ = server.Serve(socket) }() // ends when it is closed
	t.Cleanup(func() { _ = server.Close() })
}
