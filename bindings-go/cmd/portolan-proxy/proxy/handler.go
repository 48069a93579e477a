package proxy

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// serviceHandler tells what each Service asks for; of one that is gone, that it asks for nothing.
func serviceHandler(know func(name types.NamespacedName, spec *corev1.ServiceSpec)) cache.ResourceEventHandler {
	look := func(object any) {
		if service, ok := object.(*corev1.Service); ok {
			know(types.NamespacedName{Namespace: service.Namespace, Name: service.Name}, &service.Spec)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    look,
		UpdateFunc: func(_, object any) { look(object) },
		DeleteFunc: func(object any) {
			if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
				namespace, name, _ := cache.SplitMetaNamespaceKey(key)
				know(types.NamespacedName{Namespace: namespace, Name: name}, &corev1.ServiceSpec{})
			}
		},
	}
}
