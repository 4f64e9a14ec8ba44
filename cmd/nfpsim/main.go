// Command nfpsim is the developer's tool: it checks, compiles and runs eBPF
// programs on a simulated NFP card. It touches no host kernel and needs no
// privilege.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
