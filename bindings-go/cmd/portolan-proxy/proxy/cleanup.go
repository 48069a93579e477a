package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-logr/logr"
)

// Cleanup removes everything that this proxy or a kube-proxy programmed in this network namespace, and logs each thing.
// It needs neither a node nor an API server. Tools that are not here have left nothing to remove.
func Cleanup(ctx context.Context, logger logr.Logger) error {
	return errors.Join(cleanTables(ctx, logger), cleanOlderModes(ctx, logger))
}

// standIn ends the name of the table that serves while another of the same name is replaced.
const standIn = "-stand-in"

// cleanTables removes the tables of nftables, all in one transaction.
func cleanTables(ctx context.Context, logger logr.Logger) error {
	if _, err := exec.LookPath("nft"); err != nil {
		return nil
	}
	listed, err := exec.CommandContext(ctx, "nft", "list", "tables").Output()
	if err != nil {
		return fmt.Errorf("nft list tables: %w", withOutput(err))
	}
	var found []string
	for _, table := range []string{tableName, tableName + standIn, "portolan", "portolan" + standIn} {
		for _, family := range []string{"ip", "ip6"} {
			if slices.Contains(strings.Split(string(listed), "\n"), "table "+family+" "+table) {
				found = append(found, family+" "+table)
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	if err := pipe(ctx, "delete table "+strings.Join(found, "\ndelete table ")+"\n", "nft", "-f", "-"); err != nil {
		return err
	}
	for _, table := range found {
		logger.Info("Removed", "nftables table", table)
	}
	return nil
}

// cleanOlderModes removes what kube-proxy's modes iptables and ipvs programmed.
func cleanOlderModes(ctx context.Context, logger logr.Logger) error {
	var failed []error
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, table := range []string{"nat", "filter", "mangle"} {
			if err := cleanChains(ctx, logger, tool, table); err != nil {
				failed = append(failed, fmt.Errorf("%s -t %s: %w", tool, table, err))
			}
		}
	}
	return errors.Join(errors.Join(failed...), cleanIPVS(ctx, logger), cleanIPSets(ctx, logger))
}

// ipvsDevice holds every ClusterIP in kube-proxy's mode ipvs; where it is, virtual servers are kube-proxy's.
const ipvsDevice = "kube-ipvs0"

func cleanIPVS(ctx context.Context, logger logr.Logger) error {
	if _, err := os.Stat(filepath.Join("/sys/class/net", ipvsDevice)); err != nil {
		return nil
	}
	var failed []error
	for _, each := range []struct{ what, command string }{
		{"IPVS virtual servers", "ipvsadm --clear"},
		{"device " + ipvsDevice, "ip link delete " + ipvsDevice},
	} {
		command := strings.Fields(each.command)
		if _, err := exec.LookPath(command[0]); err != nil {
			continue
		}
		if err := pipe(ctx, "", command...); err != nil {
			failed = append(failed, err)
			continue
		}
		logger.Info("Removed", "tool", command[0], "removed", each.what)
	}
	return errors.Join(failed...)
}

func cleanIPSets(ctx context.Context, logger logr.Logger) error {
	if _, err := exec.LookPath("ipset"); err != nil {
		return nil
	}
	listed, err := exec.CommandContext(ctx, "ipset", "list", "-name").Output()
	if err != nil {
		return fmt.Errorf("ipset list: %w", withOutput(err))
	}
	var failed []error
	for _, set := range strings.Fields(string(listed)) {
		if !strings.HasPrefix(set, "KUBE-") {
			continue
		}
		if err := pipe(ctx, "", "ipset", "destroy", set); err != nil {
			failed = append(failed, err)
			continue
		}
		logger.Info("Removed", "tool", "ipset", "set", set)
	}
	return errors.Join(failed...)
}

// kept are chains of kubelet's, which a proxy leaves alone.
var kept = []string{"KUBE-KUBELET-CANARY", "KUBE-FIREWALL"}

// cleanChains removes kube-proxy's chains of one table of iptables, in one transaction.
func cleanChains(ctx context.Context, logger logr.Logger, tool, table string) error {
	if _, err := exec.LookPath(tool + "-save"); err != nil {
		return nil
	}
	saved, err := exec.CommandContext(ctx, tool+"-save", "-t", table).Output()
	if err != nil {
		return withOutput(err)
	}
	restore, chains := removal(string(saved), table)
	if len(chains) == 0 {
		return nil
	}
	if err := pipe(ctx, restore, tool+"-restore", "--noflush", "-w", "5"); err != nil {
		return err
	}
	logger.Info("Removed", "tool", tool, "table", table, "chains", chains)
	return nil
}

// removal is what to restore so that kube-proxy's chains, and the rules that lead to them, are gone; and which they are.
func removal(saved, table string) (restore string, chains []string) {
	var text strings.Builder
	ours := func(chain string) bool {
		return strings.HasPrefix(chain, "KUBE-") && !slices.Contains(kept, chain) && !usedByOthers(saved, chain)
	}
	for line := range strings.Lines(saved) {
		if chain, ok := strings.CutPrefix(line, ":"); ok {
			if chain, _, _ = strings.Cut(chain, " "); ours(chain) {
				chains = append(chains, chain)
			}
		}
	}
	fmt.Fprintf(&text, "*%s\n", table)
	for _, chain := range chains {
		fmt.Fprintf(&text, ":%s - [0:0]\n", chain) // flushes it
	}
	for line := range strings.Lines(saved) {
		rule, ok := strings.CutPrefix(strings.TrimSpace(line), "-A ")
		if !ok {
			continue
		}
		from, _, _ := strings.Cut(rule, " ")
		if !ours(from) && slices.ContainsFunc(strings.Fields(rule), ours) {
			fmt.Fprintf(&text, "-D %s\n", rule)
		}
	}
	for _, chain := range chains {
		fmt.Fprintf(&text, "-X %s\n", chain)
	}
	text.WriteString("COMMIT\n")
	return text.String(), chains
}

// usedByOthers: is the chain one that marks packets, and does somebody else's chain lead to it? CNI plugins do so.
func usedByOthers(saved, chain string) bool {
	if !strings.HasPrefix(chain, "KUBE-MARK-") {
		return false
	}
	for line := range strings.Lines(saved) {
		rule, ok := strings.CutPrefix(strings.TrimSpace(line), "-A ")
		if ok && !strings.HasPrefix(rule, "KUBE-") && slices.Contains(strings.Fields(rule), chain) {
			return true
		}
	}
	return false
}

// pipe runs a command with this on its standard input.
func pipe(ctx context.Context, input string, command ...string) error {
	running := exec.CommandContext(ctx, command[0], command[1:]...)
	running.Stdin = strings.NewReader(input)
	if said, err := running.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, bytes.TrimSpace(said))
	}
	return nil
}

// withOutput adds what a command said to its error.
func withOutput(err error) error {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(ended.Stderr))
	}
	return err
}
