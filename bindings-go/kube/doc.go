// Package kube feeds a [portolan.Node] from Kubernetes informers.
//
// A host that has informers already gives their events to a [Follower]; nothing is watched a second time:
//
//	follower := kube.NewFollower(node, kube.WithRender(publish))
//	follower.Follow(portolan.KindService, factory.Core().V1().Services().Informer())
//	follower.Follow(portolan.KindEndpointSlice, factory.Discovery().V1().EndpointSlices().Informer())
//	err := follower.Run(ctx)
//
// A host without them lets [NewInformers] watch what kube-proxy watches, with its selectors.
//
// The follower is level-triggered: what changed while a change was being rendered is taken together, each object in its
// last state. It starts no goroutine of its own; Run is one, the host's. While it runs the node is its own: read it, and
// what is made from it, in the function given to [WithRender].
package kube
