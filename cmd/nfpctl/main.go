// Command nfpctl loads eBPF programs onto Agilio cards, replaces them while traffic runs,
// and takes them off.
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
