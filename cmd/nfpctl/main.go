// Command nfpctl loads eBPF programs onto Agilio cards, replaces them while traffic runs,
// and takes them off.
package main

import "os"

func main() { os.Exit(run(hostKernel, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
