package daemon

import (
	"context"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/portolan/portolan/bindings-go/kube"
)

// connect makes a client of the API server: of a kubeconfig file, or of the pod that this is.
func connect(kubeconfig string) (kubernetes.Interface, error) {
	config, err := rest.InClusterConfig()
	if kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// followCluster watches what kube-proxy watches, once for all pods, until ctx ends. The Node object says in which zone
// they are.
func followCluster(ctx context.Context, client kubernetes.Interface, node string, objects *objects) error {
	informers, err := kube.NewInformers(client, node, "", 0)
	if err != nil {
		return err
	}
	follower := kube.NewFollower(objects,
		kube.WithRender(func(context.Context, kube.Batch) error { return objects.publish() }),
		kube.WithLogger(logr.FromSlogHandler(objects.log.Handler())))
	if err := informers.Feed(follower); err != nil {
		return err
	}
	informers.Start(ctx.Done())
	defer informers.Shutdown()
	return follower.Run(ctx)
}
