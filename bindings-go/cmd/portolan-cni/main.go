// Portolan-cni gives pods access to Services where the kernel has a TUN device but no NAT.
//
// Called by a container runtime (CNI_COMMAND is set) it is a chained CNI plugin. As `portolan-cni daemon` it moves the
// packets. README.md says how, and how replies come back.
package main

import (
	"fmt"
	"os"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/daemon"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/plugin"
)

const usage = `portolan-cni daemon [FLAGS]       move the packets of this node's pods (--help names the flags)
portolan-cni install DIRECTORY    put this program where the container runtime looks for plugins
CNI_COMMAND=... portolan-cni      as a CNI plugin; a container runtime does this
`

func main() {
	switch arguments := os.Args[1:]; {
	case os.Getenv("CNI_COMMAND") != "":
		plugin.Main()
	case len(arguments) > 0 && arguments[0] == "daemon":
		os.Exit(daemon.Main(arguments[1:]))
	case len(arguments) == 2 && arguments[0] == "install":
		if err := install(arguments[1]); err != nil {
			fmt.Fprintln(os.Stderr, "portolan-cni:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
}
