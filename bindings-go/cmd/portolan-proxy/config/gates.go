package config

import (
	"errors"

	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	zpages "k8s.io/component-base/zpages/features"
)

// Gates are the feature gates that mean something here, logging's and those of pages that show the process, as the
// configuration sets them; and those that it sets and that mean nothing.
func Gates(c *Configuration) (gates featuregate.FeatureGate, unknown []string, err error) {
	known := featuregate.NewFeatureGate()
	if err := errors.Join(logsapi.AddFeatureGates(known), zpages.AddFeatureGates(known)); err != nil {
		return nil, nil, err
	}
	all, given := known.GetAll(), map[string]bool{}
	for gate, on := range c.FeatureGates {
		if _, isKnown := all[featuregate.Feature(gate)]; isKnown {
			given[gate] = on
		} else {
			unknown = append(unknown, gate)
		}
	}
	return known, unknown, known.SetFromMap(given)
}
