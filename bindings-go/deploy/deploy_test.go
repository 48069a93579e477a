// Package deploy holds what runs the programs in a cluster: a container file and manifests.
package deploy

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

// objects decodes a file of manifests with the API's own types: what they do not know is an error.
func objects(t *testing.T, path string) (found []runtime.Object) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer documents.Close()
	for room := make([]byte, 1<<20); ; {
		size, err := documents.Read(room)
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(bytes.Clone(room[:size]), nil, nil)
		if err != nil {
			t.Fatalf("%s: document %d: %v", path, len(found), err)
		}
		found = append(found, object)
	}
}

// only is the one object of a type.
func only[T runtime.Object](t *testing.T, path string) T {
	t.Helper()
	var found []T
	for _, object := range objects(t, path) {
		if typed, ok := object.(T); ok {
			found = append(found, typed)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s: %d objects of type %T", path, len(found), *new(T))
	}
	return found[0]
}

const (
	proxyFile = "portolan-proxy.yaml"
	cniFile   = "portolan-cni.yaml"
)

func TestManifestsFitTogether(t *testing.T) {
	for _, file := range []string{proxyFile, cniFile} {
		set := only[*appsv1.DaemonSet](t, file)
		account, binding := only[*corev1.ServiceAccount](t, file), only[*rbacv1.ClusterRoleBinding](t, file)
		pod := set.Spec.Template.Spec
		if pod.ServiceAccountName != account.Name || set.Namespace != account.Namespace {
			t.Errorf("%s: the pods are not of account %s/%s", file, account.Namespace, account.Name)
		}
		subject := rbacv1.Subject{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name}
		if binding.RoleRef.Name != "system:node-proxier" || !slices.Contains(binding.Subjects, subject) {
			t.Errorf("%s: the account has no role: %v", file, binding)
		}
		for key, value := range set.Spec.Selector.MatchLabels {
			if set.Spec.Template.Labels[key] != value {
				t.Errorf("%s: the selector does not match the pods' labels", file)
			}
		}
		var volumes []string
		for _, volume := range pod.Volumes {
			volumes = append(volumes, volume.Name)
			if source := volume.ConfigMap; source != nil && source.Name != only[*corev1.ConfigMap](t, file).Name {
				t.Errorf("%s: volume %s: there is no ConfigMap %s", file, volume.Name, source.Name)
			}
		}
		for _, container := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
			for _, mount := range container.VolumeMounts {
				if !slices.Contains(volumes, mount.Name) {
					t.Errorf("%s: container %s mounts %s, which is no volume", file, container.Name, mount.Name)
				}
			}
		}
	}
}

// What kubeadm makes, an operator changes by `kubectl -n kube-system set image ds/kube-proxy kube-proxy=IMAGE`: names,
// paths and arguments are kubeadm's, and so the image has a program at that path.
func TestOnlyTheImageDiffersFromKubeadms(t *testing.T) {
	set := only[*appsv1.DaemonSet](t, proxyFile)
	container := set.Spec.Template.Spec.Containers[0]
	if set.Namespace != "kube-system" || set.Name != "kube-proxy" || container.Name != "kube-proxy" ||
		set.Spec.Template.Labels["k8s-app"] != "kube-proxy" || !set.Spec.Template.Spec.HostNetwork {
		t.Errorf("%s is not shaped as kubeadm's", proxyFile)
	}
	wanted := []string{"/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf", "--hostname-override=$(NODE_NAME)"}
	if !slices.Equal(container.Command, wanted) {
		t.Errorf("command %v", container.Command)
	}
	if named := container.Env[0]; named.Name != "NODE_NAME" || named.ValueFrom.FieldRef.FieldPath != "spec.nodeName" {
		t.Errorf("environment %v", container.Env)
	}
}

// The pod's own arguments, over the ConfigMap as it is mounted.
func TestTheConfigMapIsAccepted(t *testing.T) {
	mounted := t.TempDir()
	for name, text := range only[*corev1.ConfigMap](t, proxyFile).Data {
		if err := os.WriteFile(filepath.Join(mounted, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	within := strings.NewReplacer("/var/lib/kube-proxy", mounted, "$(NODE_NAME)", "n1")
	var arguments []string
	for _, argument := range only[*appsv1.DaemonSet](t, proxyFile).Spec.Template.Spec.Containers[0].Command[1:] {
		arguments = append(arguments, within.Replace(argument))
	}
	flags := pflag.NewFlagSet("portolan-proxy", pflag.ContinueOnError)
	options := config.NewOptions(flags)
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	configuration, warnings, err := options.Complete()
	if err != nil || len(warnings) != 0 {
		t.Fatalf("config.conf: %v %v", err, warnings)
	}
	if configuration.HostnameOverride != "n1" || configuration.Mode != config.ModeNFTables {
		t.Errorf("node %q, mode %q", configuration.HostnameOverride, configuration.Mode)
	}
	kubeconfig, err := clientcmd.LoadFromFile(within.Replace(configuration.ClientConnection.Kubeconfig))
	if err != nil {
		t.Fatalf("kubeconfig.conf: %v", err)
	}
	// What the kubelet mounts into the pod is not here.
	for _, cluster := range kubeconfig.Clusters {
		cluster.CertificateAuthority = ""
	}
	for _, user := range kubeconfig.AuthInfos {
		user.TokenFile = ""
	}
	if err := clientcmd.ConfirmUsable(*kubeconfig, ""); err != nil {
		t.Errorf("kubeconfig.conf: %v", err)
	}
}

func TestTheContainerFileMakesWhatTheManifestsRun(t *testing.T) {
	text, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	makes := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case len(words) > 2 && words[0] == "COPY" && strings.HasPrefix(words[1], "--from="):
			makes[words[3]] = true
		case len(words) > 2 && words[0] == "COPY":
			for _, source := range words[1 : len(words)-1] {
				if _, err := os.Stat(filepath.Join("../..", source)); err != nil {
					t.Errorf("%s: %v", strings.TrimSpace(line), err)
				}
			}
		case len(words) > 3 && words[0] == "RUN" && words[1] == "ln":
			makes[words[4]] = makes[filepath.Join(filepath.Dir(words[4]), words[3])]
		}
	}
	for _, file := range []string{proxyFile, cniFile} {
		pod := only[*appsv1.DaemonSet](t, file).Spec.Template.Spec
		for _, container := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
			if !makes[container.Command[0]] {
				t.Errorf("%s: no image has %s", file, container.Command[0])
			}
		}
	}
}
