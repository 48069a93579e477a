//go:build cgo

package portolan_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A newcomer's program: what README.md shows, in a module of its own.
func TestTheProgramOfTheReadmeRunsAsItStands(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	_, program, found := strings.Cut(string(readme), "```go\n")
	program, _, ends := strings.Cut(program, "\n```\n")
	if !found || !ends {
		t.Fatal("README.md has no program in Go")
	}
	here, err := os.Getwd()
	must(t, err)
	directory := t.TempDir()
	module := "module example\n\ngo 1.24\n\nrequire github.com/portolan/portolan/bindings-go v0.0.0\n\n" +
		"replace github.com/portolan/portolan/bindings-go => " + here + "\n"
	must(t, os.WriteFile(filepath.Join(directory, "go.mod"), []byte(module), 0o644))
	must(t, os.WriteFile(filepath.Join(directory, "main.go"), []byte(program+"\n"), 0o644))
	run := exec.Command("go", "run", ".")
	run.Dir = directory
	said, err := run.CombinedOutput()
	if err != nil || string(said) != "web 10.96.0.80:80 -> 10.200.2.7:8080\n" {
		t.Errorf("%v: %s", err, said)
	}
}
