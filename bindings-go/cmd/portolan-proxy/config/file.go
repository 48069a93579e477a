// Package config is kube-proxy's configuration, as its file and its flags give it.
package config

import (
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/utils/ptr"
)

// Configuration is a KubeProxyConfiguration with its defaults filled in.
type Configuration = v1alpha1.KubeProxyConfiguration

// Load reads a configuration file, YAML or JSON. Fields that are not known, or stand there twice, are read past and
// told of: the format drifts with every release, and a rolling upgrade meets both sides.
func Load(path string) (configuration *Configuration, warnings []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	configuration, warnings, err = Parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return configuration, warnings, nil
}

// Parse is Load of a file's text.
func Parse(text []byte) (configuration *Configuration, warnings []string, err error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, nil, err
	}
	strict := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	object, kind, err := strict.Decode(text, nil, nil)
	if err != nil && runtime.IsStrictDecodingError(err) {
		warnings = append(warnings, err.Error())
		lenient := serializer.NewCodecFactory(scheme).UniversalDeserializer()
		object, kind, err = lenient.Decode(text, nil, nil)
	}
	if err != nil {
		return nil, nil, err
	}
	configuration, ok := object.(*Configuration)
	if !ok {
		return nil, nil, fmt.Errorf("a %v, not a KubeProxyConfiguration", kind)
	}
	Default(configuration)
	return configuration, warnings, nil
}

// Ports that kube-proxy has always had.
const (
	HealthzPort = 10256
	MetricsPort = 10249
)

// Default fills in what a configuration leaves out, as kube-proxy does, but for minSyncPeriod: a change costs what it
// changes, and takes effect at once unless somebody asks for a pause.
func Default(c *Configuration) {
	c.APIVersion, c.Kind = v1alpha1.SchemeGroupVersion.String(), "KubeProxyConfiguration"
	orString(&c.BindAddress, "0.0.0.0")
	c.HealthzBindAddress = withPort(c.HealthzBindAddress, anyAddress(c.BindAddress), HealthzPort)
	c.MetricsBindAddress = withPort(c.MetricsBindAddress, loopback(c.BindAddress), MetricsPort)
	if c.OOMScoreAdj == nil {
		c.OOMScoreAdj = ptr.To[int32](-999)
	}
	if c.IPTables.MasqueradeBit == nil {
		c.IPTables.MasqueradeBit = ptr.To[int32](masqueradeDefault)
	}
	if c.NFTables.MasqueradeBit == nil {
		c.NFTables.MasqueradeBit = ptr.To[int32](masqueradeDefault)
	}
	if c.IPTables.LocalhostNodePorts == nil {
		c.IPTables.LocalhostNodePorts = ptr.To(true)
	}
	for _, each := range []struct {
		field   *metav1.Duration
		seconds int64
	}{
		{&c.IPTables.SyncPeriod, 30},
		{&c.IPVS.SyncPeriod, 30},
		{&c.NFTables.SyncPeriod, 30},
		{&c.ConfigSyncPeriod, 15 * 60},
	} {
		if each.field.Duration == 0 {
			each.field.Duration = seconds(each.seconds)
		}
	}
	defaultConntrack(&c.Conntrack)
	orString(&c.ClientConnection.ContentType, "application/vnd.kubernetes.protobuf")
	if c.ClientConnection.QPS == 0 {
		c.ClientConnection.QPS = 5
	}
	if c.ClientConnection.Burst == 0 {
		c.ClientConnection.Burst = 10
	}
	logsapi.SetRecommendedLoggingConfiguration(&c.Logging)
}

// defaultConntrack: nil is the default, 0 is "leave it alone".
func defaultConntrack(c *v1alpha1.KubeProxyConntrackConfiguration) {
	if c.MaxPerCore == nil {
		c.MaxPerCore = ptr.To[int32](32 * 1024)
	}
	if c.Min == nil {
		c.Min = ptr.To[int32](128 * 1024)
	}
	if c.TCPEstablishedTimeout == nil {
		c.TCPEstablishedTimeout = &metav1.Duration{Duration: seconds(24 * 3600)}
	}
	if c.TCPCloseWaitTimeout == nil {
		c.TCPCloseWaitTimeout = &metav1.Duration{Duration: seconds(3600)}
	}
}
