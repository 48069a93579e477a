// Package daemon moves the packets of a node's pods: for each attachment a dataplane on a TUN in the pod's namespace, all
// fed from one watch of the cluster.
package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

// Options are what `portolan-cni daemon` is told.
type Options struct {
	// Socket is where the plugin asks, State the directory of attachments.
	Socket, State string
	// NodeName is this node's.
	NodeName string
	// Kubeconfig is the file that says where the API server is; empty: as a pod of the cluster.
	Kubeconfig string
	// Objects, if not empty, is a directory of manifests, instead of an API server.
	Objects string
	// Limits are the capacities of each pod's dataplane.
	Limits portolan.Limits
}

// tendPeriod is how often attachments are looked after.
const tendPeriod = 5 * time.Second

// Main runs the command.
func Main(arguments []string) int {
	var options Options
	flags := flag.NewFlagSet("portolan-cni daemon", flag.ContinueOnError)
	flags.StringVar(&options.Socket, "socket", attachment.DefaultSocket, "where the plugin asks")
	flags.StringVar(&options.State, "state", attachment.DefaultState, "directory of attachments, kept over restarts")
	flags.StringVar(&options.NodeName, "node-name", os.Getenv("NODE_NAME"), "this node's name ($NODE_NAME)")
	flags.StringVar(&options.Kubeconfig, "kubeconfig", "", "where the API server is (as a pod of the cluster)")
	flags.StringVar(&options.Objects, "objects", "", "directory of manifests, instead of an API server")
	limit := func(to *uint32, name string, standard uint, usage string) {
		*to = uint32(standard)
		flags.Func(name, fmt.Sprintf("%s of each pod (default %d)", usage, standard), func(text string) error {
			_, err := fmt.Sscanf(text, "%d", to)
			return err
		})
	}
	limit(&options.Limits.ConnectionsIPv4, "connections-ipv4", 16<<10, "IPv4 connections to Services")
	limit(&options.Limits.ConnectionsIPv6, "connections-ipv6", 16<<10, "IPv6 connections to Services")
	limit(&options.Limits.Services, "services", 8<<10, "ServicePorts, once for each family,")
	limit(&options.Limits.Frontends, "frontends", 16<<10, "addresses of Services")
	limit(&options.Limits.Endpoints, "endpoints", 32<<10, "endpoints")
	options.Limits.Workers, options.Limits.Affinities, options.Limits.Fragments = 1, 1<<10, 1<<8
	if err := flags.Parse(arguments); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := Run(ctx, options, log); err != nil {
		log.Error("portolan-cni daemon", "error", err)
		return 1
	}
	return 0
}

// Run serves until ctx ends. Attachments stay: their pods have no Services until the next daemon takes them up.
func Run(ctx context.Context, options Options, log *slog.Logger) error {
	store, err := attachment.Open(options.State)
	if err != nil {
		return err
	}
	defer store.Close()
	follow, err := origin(&options)
	if err != nil {
		return err
	}
	objects, err := newObjects(options.NodeName, log)
	if err != nil {
		return err
	}
	defer objects.node.Close()
	attachments := &attachments{
		limits: options.Limits, objects: objects, store: store, log: log,
		pods: map[attachment.ID]*pod{},
	}
	defer attachments.closeAll()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	following := make(chan struct{})
	go func() {
		defer close(following)
		cancel(follow(ctx, objects))
	}()
	defer func() { cancel(nil); <-following }()

	listener, err := listen(options.Socket)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(attachments), ReadHeaderTimeout: 10 * time.Second}
	go func() { cancel(server.Serve(listener)) }()
	defer server.Close()
	log.Info("serving", "socket", options.Socket, "node", options.NodeName)
	tend(ctx, attachments)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, http.ErrServerClosed) {
		return cause
	}
	return nil
}

// tend looks after attachments until ctx ends, from when there is something to serve.
func tend(ctx context.Context, attachments *attachments) {
	for wait := 100 * time.Millisecond; ; {
		if attachments.objects.ready() {
			attachments.tend()
			wait = tendPeriod
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// origin is where objects come from.
func origin(options *Options) (func(context.Context, *objects) error, error) {
	if options.Objects != "" {
		if options.NodeName == "" {
			options.NodeName = "node"
		}
		return func(ctx context.Context, objects *objects) error {
			return followFiles(ctx, options.Objects, objects)
		}, nil
	}
	if options.NodeName == "" {
		return nil, errors.New("--node-name: give it, or NODE_NAME in the environment")
	}
	client, err := connect(options.Kubeconfig)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, objects *objects) error {
		return followCluster(ctx, client, options.NodeName, objects)
	}, nil
}
