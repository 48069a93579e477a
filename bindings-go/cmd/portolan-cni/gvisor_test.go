package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
