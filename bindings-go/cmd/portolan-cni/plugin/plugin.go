// Package plugin is the CNI plugin: it asks the daemon, and ends.
package plugin

import (
	"errors"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/daemon"
)

// ErrPluginNotAvailable is the specification's number for a plugin that cannot serve ADD.
const ErrPluginNotAvailable = 50

// Main does what CNI_COMMAND says (CNI specification 1.1, "Section 2: Execution Protocol").
func Main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add, Del: del, Check: check, GC: collect, Status: status},
		version.All, "portolan-cni: access to Services through a TUN")
}

// add gives the pod access to Services, and passes on what the plugins before have made.
func add(arguments *skel.CmdArgs) error {
	conf, err := parse(arguments.StdinData)
	if err != nil {
		return err
	}
	wanted, err := conf.attachment(arguments)
	if err != nil {
		return err
	}
	if err := ask(conf.Socket, "attach", wanted); err != nil {
		return tryLater(err)
	}
	return types.PrintResult(conf.PrevResult, conf.CNIVersion)
}

// check fails if the pod has no access any more.
func check(arguments *skel.CmdArgs) error {
	conf, err := parse(arguments.StdinData)
	if err != nil {
		return err
	}
	wanted, err := conf.attachment(arguments)
	if err != nil {
		return err
	}
	return tryLater(ask(conf.Socket, "check", wanted))
}

// del takes the pod's access away. Where no daemon runs it does that itself: the next one must not bring it back.
func del(arguments *skel.CmdArgs) error {
	conf, err := parse(arguments.StdinData)
	if err != nil {
		return err
	}
	id := attachment.ID{ContainerID: arguments.ContainerID, IfName: arguments.IfName}
	return conf.orWithoutDaemon(ask(conf.Socket, "detach", id), func(store *attachment.Store) error {
		return daemon.Detach(store, id)
	})
}

// collect ends this network's attachments that the runtime does not know.
func collect(arguments *skel.CmdArgs) error {
	conf, err := parse(arguments.StdinData)
	if err != nil {
		return err
	}
	valid := attachment.Valid{Network: conf.Name}
	for _, each := range conf.ValidAttachments {
		valid.Attachments = append(valid.Attachments, attachment.ID{ContainerID: each.ContainerID, IfName: each.IfName})
	}
	return conf.orWithoutDaemon(ask(conf.Socket, "collect", valid), func(store *attachment.Store) error {
		records, err := store.All()
		failed := []error{err}
		for _, record := range records {
			if record.Network == conf.Name && !slices.Contains(valid.Attachments, record.ID) {
				failed = append(failed, daemon.Undo(store, record))
			}
		}
		return errors.Join(failed...)
	})
}

// status says whether ADD would be served (CNI specification 1.1, "STATUS": 50 if not).
func status(arguments *skel.CmdArgs) error {
	conf, err := parse(arguments.StdinData)
	if err != nil {
		return err
	}
	if err := ask(conf.Socket, "status", struct{}{}); err != nil {
		return types.NewError(ErrPluginNotAvailable, "portolan-cni cannot serve ADD", err.Error())
	}
	return nil
}

// orWithoutDaemon does it itself if the daemon was not there to be asked.
func (c *configuration) orWithoutDaemon(asked error, do func(*attachment.Store) error) error {
	if !errors.Is(asked, errNoDaemon) {
		return asked
	}
	store, err := attachment.Open(c.State)
	if errors.Is(err, attachment.ErrOwned) {
		return tryLater(asked) // it is just starting
	}
	if err != nil {
		return err
	}
	defer store.Close()
	return do(store)
}

// tryLater gives an error the specification's number, if the runtime should ask again.
func tryLater(err error) error {
	if errors.Is(err, errNoDaemon) || errors.Is(err, attachment.ErrNotReady) {
		return types.NewError(types.ErrTryAgainLater, "portolan-cni cannot serve yet", err.Error())
	}
	return err
}
