package offload

import "slices"

// A Reason is a kind of failure: a stable word, its cause, and the remedy.
type Reason struct {
	Word string
	Link Link
	Why  string
	Hint string
}

var reasons = []Reason{
	{"no-permission", LinkPermission, "loading for a card needs CAP_BPF and CAP_NET_ADMIN, maps on a card CAP_SYS_ADMIN",
		"run as root or give the process these capabilities; in a container also lift the seccomp filter on bpf(2)"},
	{"old-kernel", LinkKernel, "the kernel lacks what the operation needs: programs on cards since 4.13, maps on cards since 4.16, compare-and-swap since 5.7",
		"boot a kernel of 5.10 or later that has CONFIG_BPF_SYSCALL, and CONFIG_NET_CLS_BPF for traffic control"},
	{"jit-hardened", LinkKernel, "constant blinding rewrites the program with registers that the card's translator does not know",
		"sysctl net.core.bpf_jit_harden=0"},
	{"no-port", LinkPort, "no interface of that name is in the namespace",
		"nfpctl net show lists the interfaces; name another namespace as NETNS/PORT"},
	{"foreign-namespace", LinkPort, "a device is found in the caller's network namespace only, and the port is in another one",
		"name the port as NETNS/PORT"},
	{"port-gone", LinkPort, "the interface or the card was removed while in use",
		"see the kernel's log for why the card left; after it is back, nfpctl apply restores what should run"},
	{"port-busy", LinkPort, "the port is used in a way that excludes the operation",
		"take the port out of its bond or bridge, or lower its mtu, as the kernel's words at the end of the message say"},
	{"no-offload", LinkDriver, "the interface's driver cannot run programs in hardware",
		"choose a port of the card (nfpctl doctor lists them), or a mode on the host: xdpdrv or xdpgeneric"},
	{"no-driver", LinkDriver, "the card is on the bus and no driver is bound to it",
		"modprobe nfp; the kernel needs CONFIG_NFP"},
	{"no-native", LinkDriver, "the interface's driver does not implement xdp",
		"use mode xdpgeneric"},
	{"wrong-device", LinkDriver, "program, maps and port are not of the same card",
		"load the program once per card"},
	{"no-firmware", LinkFirmware, "the card runs a firmware application other than ebpf",
		"install the ebpf firmware (agilio-bpf-firmware), link it as nic_AMDA*.nffw below /lib/firmware/netronome and reload the driver"},
	{"firmware-timeout", LinkFirmware, "the firmware did not answer a control message in 5 seconds",
		"see the kernel's log; reload the driver if it does not recover"},
	{"firmware-error", LinkFirmware, "the firmware's answer was an error or invalid",
		"see the kernel's log; firmware and driver may not fit each other"},
	{"no-live-replace", LinkCapability, "the firmware cannot replace a program while it runs",
		"update the firmware, or unload first and accept the gap"},
	{"tc-offload-off", LinkCapability, "the interface's feature hw-tc-offload is off",
		"ethtool -K PORT hw-tc-offload on"},
	{"card-busy", LinkCapability, "the port's only hardware program is already in use by xdp or by traffic control",
		"unload the other one first"},
	{"map-type", LinkMap, "the card or the kernel has no maps of this type or with these flags in hardware",
		"use an array or a hash without flags"},
	{"card-full", LinkMap, "the card has no room for the map: number of maps, of entries, or size of key and value",
		"nfpctl feature probe shows the limits; unload what is not needed, or make the map smaller"},
	{"map-create", LinkMap, "the kernel refused the map", "the message ends with the kernel's error; nfpsim check says what is wrong with the definition"},
	{"map-shape", LinkMap, "a map of the new program differs in type, sizes or number of entries from the old map of that name",
		"give a migration (nfpctl prog reload --migrate NAME) or start empty (--fresh NAME)"},
	{"map-missing", LinkMap, "the program names a map that does not exist", "load the object that defines the map"},
	{"map-full", LinkMap, "the map has as many entries as it may have", "delete entries or make the map larger"},
	{"map-value", LinkMap, "key or value do not have the map's size", "nfpctl map show gives the sizes"},
	{"no-entry", LinkMap, "the map has no such key", "nfpctl map dump lists the keys"},
	{"entry-exists", LinkMap, "the map has this key already", "update without noexist"},
	{"migration-failed", LinkMap, "the function that carries entries from the old map to the new one failed; the old program stays",
		"correct the function as its error says, or start with an empty map (--fresh NAME)"},
	{"wrong-type", LinkProgram, "cards run xdp and tc classifier programs only, and each mode its own kind",
		"put the program in section xdp or tc, and choose the mode to fit"},
	{"bad-object", LinkProgram, "the file is not a readable object", "nfpsim check shows what is wrong"},
	{"bad-setting", LinkProgram, "the object does not accept one of its settings",
		"the message lists the names that there are; nfpctl prog reload --unset drops all settings"},
	{"no-program", LinkProgram, "the object has no program of that name, or several and none was named",
		"name it: FILE.o:PROGRAM"},
	{"rejected", LinkProgram, "the kernel's verifier refused the program", "read the end of the log (nfpctl -v), or run nfpsim check"},
	{"too-complex", LinkProgram, "the kernel's verifier gave up on the program before it had followed all paths",
		"bound loops to fewer steps or unroll them less, test less within loops, or move their body into a global function"},
	{"driver-rejected", LinkProgram, "the card's driver refused an instruction: lines with [nfp] in the log",
		"nfpsim check names every such instruction and the cure"},
	{"not-translated", LinkProgram, "the driver could not translate the program; it says why in the kernel's log only",
		"dmesg, and nfpsim check"},
	{"program-size", LinkProgram, "program, stack or packet reach are more than the card has",
		"nfpsim check shows the budget; a smaller mtu helps against the packet boundary"},
	{"too-slow", LinkProgram, "the bench before the load found the program slower than required",
		"nfpsim profile shows where its time goes; --min-mpps 0 or --bench=false loads it all the same"},
	{"mode-conflict", LinkAttach, "another mode is active on the port, which excludes this one",
		"unload the other one; xdpoffload goes with one of xdpdrv and xdpgeneric"},
	{"program-changed", LinkAttach, "another program is attached than the expected one",
		"nfpctl status shows what changed; nfpctl apply --repair restores the desired program"},
	{"link-held", LinkAttach, "the program there is held by a bpf_link and only its owner can replace it",
		"find the owner with bpftool link show"},
	{"attach-failed", LinkAttach, "the kernel refused to attach the program", "the message ends with the kernel's words; nfpctl net show lists what else is on the port"},
	{"unhealthy", LinkAttach, "the health check failed within the window; the change was rolled back",
		"read the check's message and the verdict counters"},
	{"unknown-deployment", LinkState, "no deployment of that name is loaded", "nfpctl status lists the names"},
	{"name-taken", LinkState, "a deployment of that name is loaded already", "reload it, or unload it first"},
	{"bad-name", LinkState, "names are 1 to 64 letters and digits, with _ and - after the first", "choose another name"},
	{"bad-state", LinkState, "the description of the desired state contradicts itself", "correct the file at the place that the message names"},
	{"port-taken", LinkState, "another deployment holds the port in this mode", "unload that one or choose another mode"},
	{"journal", LinkState, "the journal cannot be opened, read or written",
		"it must be a regular file of mode 0600 on a disk that is not full"},
	{"journal-busy", LinkState, "another nfpctl is changing the deployment or has locked the journal",
		"wait until it is done, or give more time with --wait; nfpctl status says what is under way"},
	{"journal-permission", LinkPermission, "this process may not read or write the journal, which belongs to one user alone",
		"run nfpctl as that user, usually root (sudo nfpctl ...), or name a journal of your own with --journal"},
	{"journal-read-only", LinkState, "the journal is on a file system that is mounted read-only, so nothing can be changed",
		"mount it writable (mount -o remount,rw); until then status, prog show, net show, map show and journal check work"},
	{"journal-damaged", LinkState, "the journal's file is not as it was written, so its contents are not trusted",
		"nfpctl journal check says more; nfpctl journal rebuild restores it from its copy and from what the kernel runs"},
	{"journal-newer", LinkState, "the journal was written by a newer nfpctl",
		"use that nfpctl; or export with it (nfpctl journal export DIR), move the journal away, and apply the export with this one"},
	{"gone", LinkState, "the object's device was removed, and the object with it", "nfpctl apply loads it again"},
	{"no-object", LinkState, "no object has this id or name", "nfpctl prog show and map show list them"},
	{"pin", LinkState, "the bpf file system refused a name", "mount it: mount -t bpf bpf /sys/fs/bpf; if it is mounted, the message ends with the kernel's error"},
	{"interrupted", LinkState, "the operation was interrupted", "run it again: the journal knows where it stopped"},
	{"unexpected", LinkKernel, "an error of unknown cause", "the message ends with the kernel's error; run it again with -v for the steps"},
}

// Reasons lists all reasons, in the order of the chain.
func Reasons() []Reason { return slices.Clone(reasons) }

// Explain returns the reason of a word, or that of unexpected if the word is unknown.
func Explain(word string) Reason {
	i := slices.IndexFunc(reasons, func(r Reason) bool { return r.Word == word })
	if i < 0 {
		i = len(reasons) - 1
	}
	return reasons[i]
}
