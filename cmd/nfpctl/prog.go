package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/offload"
)

func newProg(e *env) *cobra.Command {
	return group("prog", "load, replace, unload and show programs",
		e.completes(newProgShow(e), nil, "id", "tag", "name", "pinned"),
		e.completes(newProgLoad(e), []string{"file", ""}, "dev", "mode"),
		e.completes(newProgReload(e), []string{"file", "deployment"}, "dev", "mode"),
		e.completes(newProgUnload(e), []string{"deployment"}),
		e.completes(newProgDump(e), []string{"dump"}, "id", "tag", "name", "pinned"))
}

// modeHelp and progHelp describe MODE and PROG in the help of commands that take them.
const (
	modeHelp = "MODE is xdpoffload, xdpdrv, xdpgeneric, tcoffload or tcsoftware."
	progHelp = "PROG is id ID, tag TAG, name NAME (of a deployment, or the kernel's), or pinned FILE."
)

// progJSON is a program in prog show's JSON.
type progJSON struct {
	ID         uint32         `json:"id"`
	Type       string         `json:"type"`
	Name       string         `json:"name,omitempty"`
	Tag        string         `json:"tag"`
	Ifindex    int            `json:"ifindex,omitempty"`
	Device     string         `json:"dev,omitempty"`
	Netns      uint64         `json:"netns_ino,omitempty"`
	Gone       bool           `json:"device_gone,omitempty"`
	Xlated     int            `json:"bytes_xlated"`
	Jited      int            `json:"bytes_jited"`
	Words      int            `json:"words,omitempty"` // control-store words
	Memlock    uint64         `json:"bytes_memlock,omitempty"`
	Maps       []uint32       `json:"map_ids,omitempty"`
	Deployment string         `json:"deployment,omitempty"`
	Generation uint64         `json:"generation,omitempty"`
	Attached   []attachedJSON `json:"attached,omitempty"`
}

type attachedJSON struct {
	Device string       `json:"devname"`
	Mode   offload.Mode `json:"mode"`
}

// progTypes holds bpftool's names of the types that ports run; others have the
// library's.
var progTypes = map[ebpf.ProgramType]string{ebpf.XDP: "xdp", ebpf.SchedCLS: "sched_cls"}

func progType(t ebpf.ProgramType) string {
	if name := progTypes[t]; name != "" {
		return name
	}
	return strings.ToLower(t.String())
}

func newProgShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "show [PROG]", Aliases: []string{"list"}, Short: "list programs, or show one", Long: "Lists programs: those on cards, and those of the host.\n\n" + progHelp,
		Example: `  nfpctl prog show
  nfpctl prog show name edge`,
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := e.kernel()
			if err != nil {
				return err
			}
			var infos []offload.ProgramInfo
			if len(args) > 0 {
				w := words(args)
				p, _, err := e.parseProgram(k, &w)
				if err != nil {
					return err
				}
				defer p.Close()
				if err := w.end(); err != nil {
					return err
				}
				info, err := p.Info()
				if err != nil {
					return err
				}
				infos = append(infos, info)
			} else {
				objects, err := k.Objects()
				if err != nil {
					return err
				}
				for _, o := range objects {
					if o.Program != nil {
						infos = append(infos, *o.Program)
					}
				}
			}
			return e.showPrograms(cmd.OutOrStdout(), k, infos)
		},
	}
}

func (e *env) showPrograms(w io.Writer, k offload.Kernel, infos []offload.ProgramInfo) error {
	records, err := e.records()
	if err != nil {
		return err
	}
	own, devices, standing := ownersOf(records).programs, deviceNames(k), e.standing(k, records)
	all := make([]progJSON, len(infos))
	for i, p := range infos {
		all[i] = progJSON{
			ID: p.ID, Type: progType(p.Type), Name: p.Name, Tag: p.Tag, Ifindex: p.Device, Device: devices[p.Device], Netns: p.Netns, Gone: p.Gone,
			Xlated: p.Insns, Jited: p.JitedBytes, Words: p.Words, Memlock: p.Locked, Maps: p.Maps, Attached: standing[p.ID],
		}
		if o := own[p.ID]; o.generation != nil {
			all[i].Deployment, all[i].Generation = o.deployment, o.generation.Number
		}
	}
	if e.json {
		return writeJSON(w, all)
	}
	for _, p := range all {
		fmt.Fprintf(w, "%d: %s", p.ID, p.Type)
		if p.Name != "" {
			fmt.Fprintf(w, "  name %s", p.Name)
		}
		fmt.Fprintf(w, "  tag %s%s\n", p.Tag, onDevice(p.Ifindex, p.Device, p.Gone))
		fmt.Fprintf(w, "\txlated %dB", p.Xlated)
		if p.Jited > 0 {
			fmt.Fprintf(w, "  jited %dB", p.Jited)
		}
		if p.Words > 0 {
			fmt.Fprintf(w, " (%d words)", p.Words)
		}
		if p.Memlock > 0 {
			fmt.Fprintf(w, "  memlock %dB", p.Memlock)
		}
		if len(p.Maps) > 0 {
			fmt.Fprintf(w, "  map_ids %s", strings.Trim(strings.ReplaceAll(fmt.Sprint(p.Maps), " ", ","), "[]"))
		}
		fmt.Fprintln(w)
		if p.Deployment != "" {
			fmt.Fprintf(w, "\tdeployment %s  generation %d\n", p.Deployment, p.Generation)
		}
		for _, a := range p.Attached {
			fmt.Fprintf(w, "\tattached %s  %s\n", a.Device, a.Mode)
		}
	}
	return nil
}

// standing returns the attachments of each program, in all namespaces that are known
// and readable.
func (e *env) standing(k offload.Kernel, records map[string]*offload.Record) map[uint32][]attachedJSON {
	all := map[uint32][]attachedJSON{}
	for _, netns := range namespaces(records) {
		ports, err := k.Ports(netns)
		if err != nil {
			continue
		}
		for i := range ports {
			stand, err := k.Attached(&ports[i])
			if err != nil {
				continue
			}
			for _, a := range stand {
				all[a.Program] = append(all[a.Program], attachedJSON{ports[i].Ref().String(), a.Mode})
			}
		}
	}
	return all
}

// namespaces returns the namespaces of deployments, the caller's first.
func namespaces(records map[string]*offload.Record) []string {
	names := []string{""}
	for _, r := range records {
		if r.Current == nil {
			continue
		}
		for _, ref := range r.Current.Deployment.Ports {
			if !slices.Contains(names, ref.Netns) {
				names = append(names, ref.Netns)
			}
		}
	}
	slices.Sort(names)
	return names
}

// changeFlags holds the flags of load and reload.
type changeFlags struct {
	check    bool
	bench    bool
	firmware string
	window   time.Duration
	maxDrop  float64
	maxAbort float64
	migrate  []string
	fresh    []string
	force    bool
	minimum  float64
	settings settingFlags
}

func (c *changeFlags) add(cmd *cobra.Command, reload bool) {
	f := cmd.Flags()
	f.BoolVar(&c.check, "check", true, "check first whether the card will take the program; --check=false skips that")
	f.BoolVar(&c.bench, "bench", true, "measure first how fast the program is on a simulated card; --bench=false skips that")
	f.StringVar(&c.firmware, "firmware", "stock", "`PROFILE` of the card's firmware that check and bench assume")
	f.Float64Var(&c.minimum, "min-mpps", 0, "refuse a program that bench finds slower than `MPPS` million packets per second")
	f.DurationVar(&c.window, "window", 0, "keep the program on trial for `TIME`, such as 10s or 500ms; 5s with --max-drop or --max-aborted")
	f.Float64Var(&c.maxDrop, "max-drop", 0, "largest `SHARE` of packets that it may drop on trial, 0 to 1; 0: any")
	f.Float64Var(&c.maxAbort, "max-aborted", 0, "largest `SHARE` of packets that it may abort on trial, 0 to 1; 0: any")
	c.settings.add(cmd, reload)
	if reload {
		f.StringArrayVar(&c.migrate, "migrate", nil, "`MAP` whose shape changed keeps its entries: values are cut off or lengthened with zeros")
		f.StringArrayVar(&c.fresh, "fresh", nil, "`MAP` starts empty")
		f.BoolVar(&c.force, "force", false, "replace any program at the ports")
	}
}

// change converts the flags.
func (c *changeFlags) change(k offload.Kernel, ports []offload.Ref) (*offload.Change, error) {
	ch := &offload.Change{Fresh: c.fresh, Window: c.window, Force: c.force, Migrate: map[string]offload.Migration{}}
	for _, name := range c.migrate {
		ch.Migrate[name] = offload.Resize
	}
	if !isShare(c.maxDrop) {
		return nil, usagef("--max-drop %g is not from 0 to 1", c.maxDrop)
	}
	if !isShare(c.maxAbort) {
		return nil, usagef("--max-aborted %g is not from 0 to 1", c.maxAbort)
	}
	if !(c.minimum >= 0) { // also refuses NaN
		return nil, usagef("--min-mpps %g is not 0 or above", c.minimum)
	}
	if c.window < 0 {
		return nil, usagef("--window %v is negative", c.window)
	}
	if c.maxDrop > 0 || c.maxAbort > 0 {
		if ch.Window == 0 {
			ch.Window = 5 * time.Second
		}
		h := &health{kernel: k, ports: ports, maxDrop: c.maxDrop, maxAborted: c.maxAbort}
		ch.Health = h.check
	}
	return ch, nil
}

func newProgLoad(e *env) *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use: "load OBJ NAME dev PORT [dev PORT]... [mode MODE]", Short: "load a program and attach it",
		Long: `Loads a program of OBJ (file.o, file.o:PROGRAM, file.bpf, or "-") with its maps, and
attaches it to ports, as deployment NAME. In an offloaded mode the ports are of one
card and share program and maps. The default mode is xdpoffload. The mode says the
type of a program whose section does not. Doing the same again changes nothing.

` + modeHelp,
		Args: atLeast("OBJ", "NAME", "dev PORT"),
		Example: `  nfpctl prog load firewall.o edge dev nfp0
  nfpctl prog load counters.o stats dev nfp1 --window 1s --max-drop 0.5`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var to where
			if err := to.parse(args[2:]); err != nil {
				return err
			}
			if len(to.ports) == 0 {
				return usagef("dev PORT is missing")
			}
			s, err := readSource(cmd, args[0])
			if err != nil {
				return err
			}
			mode, _ := offload.ParseMode(string(to.mode)) // it has been checked
			d := &offload.Deployment{Name: args[1], Object: s.data, Source: s.path, Program: s.program, Mode: mode, Ports: to.ports}
			if d.Settings, err = flags.settings.over(offload.Settings{}); err != nil {
				return err
			}
			return e.bringAbout(cmd, d, &flags, (*offload.Manager).Load)
		},
	}
	flags.add(cmd, false)
	return cmd
}

func newProgReload(e *env) *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use: "reload OBJ NAME [dev PORT]... [mode MODE]", Short: "replace a program while packets flow",
		Long: `Replaces the program of deployment NAME by one of OBJ; ports and mode stay as they
are unless they are named. Each packet is processed by the old program or by the
new one. Maps of the same name and shape keep their entries. The old program is
removed when the new one is attached to every port and, with --window, has been
there for so long and was healthy; otherwise the old one is attached again.

` + modeHelp,
		Args:    atLeast("OBJ", "NAME"),
		Example: `  nfpctl prog reload firewall.o edge --window 1s --max-drop 0.5`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var to where
			if err := to.parse(args[2:]); err != nil {
				return err
			}
			records, err := e.records()
			if err != nil {
				return err
			}
			r := records[args[1]]
			if r == nil || r.Current == nil {
				return &offload.Error{Op: "reload", Object: args[1], Reason: "unknown-deployment", Msg: "no deployment of that name"}
			}
			s, err := readSource(cmd, args[0])
			if err != nil {
				return err
			}
			now := r.Current.Deployment
			d := &offload.Deployment{Name: args[1], Object: s.data, Source: s.path, Program: s.program, Mode: now.Mode, Ports: now.Ports}
			if to.mode != "" {
				d.Mode = to.mode
			}
			if len(to.ports) > 0 {
				d.Ports = to.ports
			}
			if d.Settings, err = flags.settings.over(now.Settings); err != nil {
				return err
			}
			return e.bringAbout(cmd, d, &flags, (*offload.Manager).Reload)
		},
	}
	flags.add(cmd, true)
	return cmd
}

func newProgUnload(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "unload NAME", Short: "detach a deployment from its ports and delete it",
		Long: "Detaches the program of deployment NAME from its ports and frees it and its maps. Programs\nthat others attached instead stay.", Args: exactly("NAME"),
		Example: `  nfpctl prog unload edge`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := e.manager(cmd)
			if err != nil {
				return err
			}
			return m.Unload(cmd.Context(), args[0])
		},
	}
}

func newProgDump(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "dump xlated|jited PROG", Short: "print a program's instructions, or its microcode",
		Long: "Prints the eBPF as the verifier left it (xlated), or the card's microcode (jited).\n\n" + progHelp, Args: atLeast("xlated|jited", "PROG"),
		Example: `  nfpctl prog dump xlated name edge
  nfpctl prog dump jited name edge`,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := words(args)
			what := w.next()
			if what != "xlated" && what != "jited" {
				return usagef("%q is neither xlated nor jited", what)
			}
			k, err := e.kernel()
			if err != nil {
				return err
			}
			p, _, err := e.parseProgram(k, &w)
			if err != nil {
				return err
			}
			defer p.Close()
			if err := w.end(); err != nil {
				return err
			}
			info, err := p.Info()
			if err != nil {
				return err
			}
			if what == "jited" {
				return e.dumpJited(cmd.OutOrStdout(), &info)
			}
			return e.dumpXlated(cmd.OutOrStdout(), k, &info)
		},
	}
}

// nothing returns the error for a program without the requested property.
func nothing(info *offload.ProgramInfo, what string) error {
	return &offload.Error{Op: "dump", Object: fmt.Sprintf("program %d", info.ID), Reason: "no-object", Msg: "the kernel shows no " + what + " of it"}
}

// dumpJited prints microcode. Words that cannot be decoded are printed as numbers.
func (e *env) dumpJited(w io.Writer, info *offload.ProgramInfo) error {
	if len(info.Jited) == 0 {
		return nothing(info, "microcode")
	}
	if e.json {
		all := make([]string, len(info.Jited))
		for i, word := range info.Jited {
			all[i] = fmt.Sprintf("0x%016x", word)
		}
		return writeJSON(w, map[string]any{"id": info.ID, "words": all})
	}
	if im, err := linux.Image(info.Name, info.Jited); err == nil {
		_, err = io.WriteString(w, nfp.Disassemble(im))
		return err
	}
	for i, word := range info.Jited {
		fmt.Fprintf(w, "%d:\t%016x\n", 8*i, word)
	}
	return nil
}

// dumpXlated prints eBPF, one instruction per line, with pc in slots of 8 bytes.
func (e *env) dumpXlated(w io.Writer, k offload.Kernel, info *offload.ProgramInfo) error {
	if info.Undecoded != nil {
		return &offload.Error{Op: "dump", Object: fmt.Sprintf("program %d", info.ID), Reason: "unexpected", Msg: "its instructions cannot be decoded: " + oneLine(info.Undecoded), Err: info.Undecoded}
	}
	if len(info.Xlated) == 0 {
		return nothing(info, "instructions")
	}
	var symbols map[int64]string
	if on, ok := k.(interface {
		Symbols(asm.Instructions) map[int64]string
	}); ok {
		symbols = on.Symbols(info.Xlated)
	}
	type line struct {
		PC   int    `json:"pc"`
		Insn string `json:"insn"`
	}
	all := make([]line, len(info.Xlated))
	it := info.Xlated.Iterate()
	for i := 0; it.Next(); i++ {
		all[i] = line{int(it.Offset), asmtext.FormatXlated(*it.Ins, symbols)}
	}
	if e.json {
		return writeJSON(w, all)
	}
	for i, l := range all {
		fmt.Fprintf(w, "%4d: (%02x) %s\n", l.PC, byte(info.Xlated[i].OpCode), l.Insn)
	}
	return nil
}
