package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

// inGVisor starts a daemon and calls the plugin, for the only namespace there is.
const inGVisor = `cd "$1" && "$2" daemon --objects . --state state --socket state/sock --node-name n1 2>/dev/null &
export CNI_CONTAINERID=c1 CNI_IFNAME=lo CNI_PATH=/ CNI_NETNS=/proc/self/ns/net
conf="{\"cniVersion\": \"1.1.0\", \"name\": \"pods\", \"type\": \"portolan-cni\", \"serviceCIDRs\": [\"10.96.0.0/16\"],
 \"socket\": \"$1/state/sock\", \"state\": \"$1/state\",
 \"prevResult\": {\"cniVersion\": \"1.1.0\", \"ips\": [{\"address\": \"127.0.0.1/8\"}]}}"
for try in 1 2 3 4 5 6 7 8 9 10; do
  sleep 0.5
  echo "$conf" | CNI_COMMAND=STATUS "$2" >/dev/null && break
done
for command in STATUS ADD DEL DEL; do
  echo "$conf" | CNI_COMMAND=$command "$2" >"$1/said"
  echo "$command: $? $(grep msg "$1/said")"
done
echo "left: $(ls "$1/state" | grep -c json)"
kill %1
`

// inSandbox, in the environment, makes this program a web server.
const inSandbox = "PORTOLAN_CNI_TEST_IN_SANDBOX"

// asPod is a pod's program: a web server, which is waited for, and curl of each URL.
const asPod = `echo started; "$0" & for try in $(seq 100); do curl -sS -m 1 -o /dev/null http://127.0.0.1:8080 2>/dev/null && break; sleep 0.1; done
for url; do curl -sS --max-time 20 --noproxy '*' "$url"; done`

// privately runs a command where a setting is hidden that Linux has in every network namespace since version 6.14, and
// older gVisors take for the sign of the first one.
const privately = `nsenter --net="$0" mount -t tmpfs none /proc/sys/net/core && exec "$@"`

// runInGVisor runs a program in a sandbox of gVisor, which takes the pod's interfaces, addresses and routes to its own network
// stack. It says what the program printed, and skips the test where there is no such sandbox.
func (p *testPod) runInGVisor(arguments ...string) string {
	p.Helper()
	bundle := p.TempDir()
	text, err := json.Marshal(map[string]any{
		"ociVersion": "1.0.0", "hostname": p.name, "root": map[string]any{"path": "/", "readonly": true},
		"process": map[string]any{
			"args": arguments, "cwd": "/", "user": map[string]int{"uid": 0, "gid": 0},
			"env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", inSandbox + "=1"},
		},
		"mounts": []map[string]string{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux": map[string]any{"namespaces": []map[string]string{
			{"type": "network", "path": p.path(p.name)}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
		}},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600)
	}
	if err != nil {
		p.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.Context(), 2*time.Minute)
	defer cancel()
	root, name := filepath.Join(bundle, "root"), p.prefix+p.name
	said, err := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "sh", "-c", privately, p.path(p.name),
		"runsc", "--root", root, "--platform=ptrace", "--ignore-cgroups", "run", "--bundle", bundle, name).CombinedOutput()
	p.Cleanup(func() { _ = exec.Command("runsc", "--root", root, "delete", "--force", name).Run() })
	printed, ran := strings.CutPrefix(string(said), "started\n")
	if !ran {
		p.Skipf("runsc: %v: %s", err, said)
	}
	return printed
}

func TestAPodInGVisorReachesServices(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("runsc"); err != nil {
		t.Skip(err)
	}
	rig, client, _ := cluster(t, attachment.ModeWire)
	before := client.arrangement()
	client.mustAdd()
	said := client.runInGVisor("sh", "-c", asPod, own(), web4, web6, own4, own6)
	wanted := []struct{ server, from string }{
		{"server", client.ipv4}, {"server", client.ipv6},
		// By its own Service, a client is seen as an address that no Service has.
		{"client", "10.96.0.0"}, {"client", "fd00:96::"},
	}
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if len(lines) != len(wanted) {
		t.Fatalf("%d answers: %s", len(lines), said)
	}
	for i, each := range wanted {
		from, err := netip.ParseAddrPort(strings.TrimPrefix(lines[i], each.server+" saw "))
		if err != nil || from.Addr().String() != each.from {
			t.Errorf("%s; wanted %s to see %s", lines[i], each.server, each.from)
		}
	}
	for range 2 {
		if err := client.del(); err != nil {
			t.Errorf("DEL: %v", err)
		}
		if after := client.arrangement(); after != before {
			t.Errorf("DEL left something behind: %s", differences(before, after))
		}
	}
	if left := rig.records(); left != 0 {
		t.Errorf("%d records are left", left)
	}
}

// gVisor as Debian has it knows neither routing rules nor lasting names of namespaces, so there is nothing to attach to:
// what can be asked of the program there is that it runs, says so, and leaves nothing.
func TestInGVisorTheProgramRunsAndSaysWhatItCannot(t *testing.T) {
	t.Parallel()
	directory, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(directory, "script")
	if err := os.WriteFile(script, []byte(inGVisor), 0o700); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("runsc", "--network=none", "--platform=ptrace", "do", "sh", script, directory, built).CombinedOutput()
	text := string(said)
	if !strings.Contains(text, "STATUS: ") {
		t.Skipf("runsc: %v: %s", err, said)
	}
	for _, wanted := range []string{"STATUS: 0", "ADD: 1", "the network namespace is gone", "DEL: 0", "left: 0"} {
		if !strings.Contains(text, wanted) {
			t.Errorf("%q is missing:\n%s", wanted, text)
		}
	}
}
