// Package cluster has tests only: see its cluster_test.go.
package cluster
