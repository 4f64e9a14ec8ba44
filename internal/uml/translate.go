package uml

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/driver/card/vhost"
	"github.com/nfpkit/nfpkit/internal/uml/report"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// TranslateOptions configures Translate. Kernel and Init are required.
type TranslateOptions struct {
	Kernel   string // path of the kernel that Build built
	Init     string // path of the guest's program, see GuestPackage and BuildInit
	Firmware *firmware.Profile
	// Attach attaches each program to a port, so that its words reach the card:
	// Translation.Arrived.
	Attach  bool
	Console io.Writer
}

// GuestPackage is the guest's program, for BuildInit.
const GuestPackage = "github.com/nfpkit/nfpkit/internal/uml/guest"

// Translation is the output of the kernel's nfp driver for a program.
type Translation struct {
	// Words are in the form that BPF_OBJ_GET_INFO_BY_FD has: see Image of
	// driver/linux. None: Refused says why.
	Words []uint64
	// Tables are the table ids of the program's maps, in order of Code.Maps; they
	// are constants in Words.
	Tables []uint32
	// Arrived are the words that the card received for port 0, with check bits.
	Arrived []uint64
	// Refused is the error, with what verifier and driver said last.
	Refused string
	Log     []string // the verifier's last lines, then the kernel's log
}

// translateBatch is how many programs are translated in one boot, so that no guest
// needs much memory.
const translateBatch = 500

// Translate boots guests with our card and has their kernel load programs for the
// card's hardware, one after the other; the i-th Translation is of the i-th
// program. The error is one of the test bed, never about a program.
func Translate(ctx context.Context, opt *TranslateOptions, programs []*code.Code) ([]Translation, error) {
	var all []Translation
	for part := range slices.Chunk(programs, translateBatch) {
		found, err := translate(ctx, opt, part)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// translate is Translate in one boot.
func translate(ctx context.Context, opt *TranslateOptions, programs []*code.Code) ([]Translation, error) {
	work := report.Translate{Attach: opt.Attach}
	for _, c := range programs {
		src, err := source(c)
		if err != nil {
			return nil, err
		}
		work.Programs = append(work.Programs, src)
	}
	text, err := json.Marshal(&work)
	if err != nil {
		return nil, err
	}
	t := &translator{opt: opt, out: make([]Translation, len(programs)), seen: map[*driver.Map]bool{}}
	t.transport = vhost.New(nil)
	if t.card, err = card.New(&card.Options{Firmware: opt.Firmware}); err != nil {
		return nil, err
	}
	t.card.Attach(t.transport)
	dir, err := os.MkdirTemp("", "nfpkit-card-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "card")
	l, err := vhost.Listen(socket)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if conn, err := l.AcceptUnix(); err == nil {
			_ = t.transport.Serve(ctx, conn, t.card) // ends with the guest, which says what was wrong
		}
	}()
	g, err := Start(ctx, &Options{
		Kernel: opt.Kernel, Init: opt.Init, Socket: socket, Steps: []string{"translate"}, Console: opt.Console,
		Files: map[string][]byte{report.TranslatePath: text}, Memory: 128,
	})
	if err != nil {
		return nil, err
	}
	if err := t.follow(g); err != nil {
		cancel()
		for {
			if _, end := g.Next(); end != nil {
				break
			}
		}
		return nil, fmt.Errorf("after %d programs (the next is %s): %w", t.done, programs[min(t.done, len(programs)-1)].Name, err)
	}
	return t.out, nil
}

// translator is the host's side of one boot.
type translator struct {
	opt       *TranslateOptions
	card      *card.Card
	transport *vhost.Transport
	seen      map[*driver.Map]bool
	tables    []uint32 // of the program that is being loaded
	out       []Translation
	done      int // programs that the guest answered for
}

// follow answers the guest until it has powered off.
func (t *translator) follow(g *Guest) error {
	for {
		r, err := g.Next()
		switch {
		case errors.Is(err, io.EOF) && t.done != len(t.out):
			return fmt.Errorf("the guest answered for %d of %d programs", t.done, len(t.out))
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case r.Error != "":
			return fmt.Errorf("step %s: %s", r.Step, r.Error)
		case !r.Waits:
			continue
		}
		var found report.Translated
		if err := json.Unmarshal(r.Data, &found); err != nil {
			return fmt.Errorf("step %s: %w", r.Step, err)
		}
		if found.Program != t.done || t.done >= len(t.out) {
			return fmt.Errorf("the guest tells of program %d, the next is %d", found.Program, t.done)
		}
		switch {
		case found.Drain:
			err = t.drain()
		case found.Map != nil:
			err = t.newTable()
		default:
			err = t.take(&found)
			t.done++
		}
		if err != nil {
			return err
		}
		if err := g.Tell(""); err != nil {
			return err
		}
	}
}

// onCard runs do when the card's state may be read.
func (t *translator) onCard(do func()) error {
	done := make(chan struct{})
	if err := t.transport.Do(func() { do(); close(done) }); err != nil {
		return err
	}
	<-done
	return nil
}

// drain waits until the card has no maps left: the guest's kernel frees those of a
// program some time after their last use, and until then counts them.
func (t *translator) drain() error {
	for range 1000 {
		left := 0
		err := t.onCard(func() {
			for _, m := range t.card.NIC().Maps() {
				if t.card.NIC().Table(m.ID) != nil {
					left++
				}
			}
		})
		if err != nil || left == 0 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the guest's kernel does not free the maps of earlier programs")
}

// newTable returns the map that the card created last.
func (t *translator) newTable() error {
	var fresh []uint32
	err := t.onCard(func() {
		now := map[*driver.Map]bool{}
		for _, m := range t.card.NIC().Maps() {
			now[m] = true
			if !t.seen[m] && t.card.NIC().Table(m.ID) != nil {
				fresh = append(fresh, m.ID)
			}
		}
		t.seen = now
	})
	if err == nil && len(fresh) != 1 {
		err = fmt.Errorf("the kernel made a map, the card made %d", len(fresh))
	}
	t.tables = append(t.tables, fresh...)
	return err
}

// take keeps what became of a program.
func (t *translator) take(found *report.Translated) error {
	out := &t.out[found.Program]
	out.Tables, t.tables = t.tables, nil
	for i := 0; i+8 <= len(found.Words); i += 8 {
		out.Words = append(out.Words, binary.LittleEndian.Uint64(found.Words[i:]))
	}
	if found.Error != "" {
		out.Words = nil
		out.Log = append(found.Log, found.Kernel...)
		out.Refused = refusal(found)
	} else if t.opt.Attach {
		if err := t.onCard(func() { out.Arrived, _ = t.card.Words(0) }); err != nil {
			return err
		}
	}
	return nil
}

// refusal is why, in one line: the driver's words in the verifier's log, or the
// verifier's last ones, or the kernel's log.
func refusal(r *report.Translated) string {
	said := ""
	for _, l := range r.Log {
		if strings.HasPrefix(l, "[nfp] ") {
			said = l
		}
	}
	for i := len(r.Log) - 1; i >= 0 && said == ""; i-- {
		if l := r.Log[i]; !statistics(l) {
			said = l
		}
	}
	if len(r.Kernel) > 0 {
		said = strings.TrimPrefix(said+"; "+r.Kernel[len(r.Kernel)-1], "; ")
	}
	return strings.TrimSuffix(r.Error+": "+said, ": ")
}

// statistics reports whether a line of the verifier's log says how much it did.
func statistics(line string) bool {
	for _, head := range []string{"processed ", "verification time ", "stack depth "} {
		if strings.HasPrefix(line, head) {
			return true
		}
	}
	return false
}

// source is a program as bpf(2) takes it.
func source(c *code.Code) (report.TranslateSource, error) {
	src := report.TranslateSource{Type: uint32(c.Type), Flags: c.Flags, Hook: uint32(c.Attach)}
	switch c.Attach {
	case ebpf.AttachTCXIngress, ebpf.AttachTCXEgress, ebpf.AttachNetkitPrimary, ebpf.AttachNetkitPeer:
		src.Link = c.Type == ebpf.SchedCLS && !strings.HasPrefix(c.Section, "tc/")
	}
	for _, m := range c.Maps {
		src.Maps = append(src.Maps, report.TranslateMap{Type: uint32(m.Type), Key: m.KeySize, Value: m.ValueSize, Entries: m.MaxEntries, Flags: m.Flags,
			Host: m.Type == ebpf.PerfEventArray})
	}
	var b bytes.Buffer
	for i := range c.Insns {
		in := &c.Insns[i]
		ins := in.Instruction
		switch op := ins.OpCode; {
		case in.Callee != code.None && op.JumpOp() == asm.Call && op.Class().IsJump():
			ins.Constant = int64(c.Insns[c.Funcs[in.Callee].Start].PC - in.PC - 1)
		case in.Target != code.None && op.Class() == asm.Jump32Class && op.JumpOp() == asm.Ja:
			ins.Constant = int64(c.Insns[in.Target].PC - in.PC - 1)
		case in.Target != code.None:
			ins.Offset = int16(c.Insns[in.Target].PC - in.PC - 1)
		case in.Map != code.None:
			src.Refs = append(src.Refs, report.TranslateRef{Slot: in.PC, Map: in.Map})
			ins.Constant = 0
		case op.AtomicOp() != asm.InvalidAtomic:
			ins.Constant = int64(op.AtomicOp() >> 8)
		}
		if _, err := ins.Marshal(&b, binary.LittleEndian); err != nil {
			return src, fmt.Errorf("%s: pc %d: %w", c.Name, in.PC, err)
		}
	}
	src.Insns = b.Bytes()
	return src, nil
}
