// Command nfpctl manages eBPF programs on Agilio cards: it loads them, attaches them
// to ports, replaces them while traffic flows, and unloads them.
//
// Each command is a function newX in a file of its own that returns a cobra command.
// The type env holds the flags that all commands share, opens the kernel and the
// manager of package offload, and finds programs and maps by name. Data goes to
// standard output, everything else to standard error. The exit status is 0 for
// success, 1 for a refusal, failure or drift, and 2 for a wrong command line.
// docs/operations.md is the operator's manual.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := dropPrivileges(); err != nil {
		fmt.Fprintf(os.Stderr, "nfpctl: %v\n", err)
		os.Exit(exitNo)
	}
	os.Exit(run(hostKernel, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
