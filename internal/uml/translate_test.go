//go:build linux

package uml

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// translated returns the translations of programs by the guest's driver.
func (k *kernel) translated(t testing.TB, attach bool, programs []*code.Code) []Translation {
	t.Helper()
	o := k.options(t)
	p, err := firmware.Load("unlimited")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start := time.Now()
	var console lockedBuffer
	all, err := Translate(ctx, &TranslateOptions{Kernel: o.Kernel, Init: o.Init, Firmware: p, Attach: attach, Console: &console}, programs)
	if err != nil {
		t.Fatalf("%v\nconsole:\n%s", err, &console)
	}
	t.Logf("%d programs in %v", len(programs), time.Since(start).Round(time.Millisecond))
	return all
}

// exampleCodes are all programs of examples.
func exampleCodes(t testing.TB) []*code.Code {
	t.Helper()
	files, err := filepath.Glob("../../examples/*.[ob]*")
	if err != nil {
		t.Fatal(err)
	}
	var all []*code.Code
	for _, file := range files {
		if ext := filepath.Ext(file); ext != ".o" && ext != ".bpf" {
			continue
		}
		o, err := object.Load(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range o.Programs {
			c, err := o.Code(name)
			if err != nil {
				t.Fatal(err)
			}
			c.Name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) + ":" + name
			all = append(all, c)
		}
	}
	return all
}

// textCode reads eBPF text.
func textCode(t testing.TB, name, text string) *code.Code {
	t.Helper()
	f, err := asmtext.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	c, faults := code.New(f.Spec.Programs[f.Programs[0]], f.Spec.Maps)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return c
}

// The words that the kernel shows, placed and given check bits by our linker, are
// those that came to the card by DMA; between them the programs have every type of
// relocation.
func TestLinkKernel(t *testing.T) { everyKernel(t, testLinkKernel) }

func testLinkKernel(t *testing.T, k *kernel) {
	programs := exampleCodes(t)
	files, err := filepath.Glob("testdata/kernel/*.bpf")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, textCode(t, file, string(text)))
	}
	p, err := firmware.Load("unlimited")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[nfp.RelocKind]int{}
	linked := 0
	for i, tr := range k.translated(t, true, programs) {
		name := programs[i].Name
		if tr.Words == nil {
			t.Logf("%s: %s", name, tr.Refused)
			if strings.HasPrefix(name, "link") {
				t.Errorf("%s was refused", name)
			}
			continue
		}
		words, err := linux.Link(tr.Words, nfp.Placement{Start: p.Start, Done: p.Done, Helpers: p.Helpers})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := make([]uint64, len(words))
		for k, w := range words {
			want[k] = nfp.WithECC(w)
		}
		if !slices.Equal(want, tr.Arrived) {
			t.Errorf("%s: %s", name, firstDifference(want, tr.Arrived))
		}
		for _, w := range tr.Words {
			kinds[nfp.RelocKind(w>>56)]++
		}
		linked++
	}
	t.Logf("%d programs linked, relocations: %v", linked, kinds)
	for k := nfp.RelocBranch; k <= nfp.RelocImmed; k++ {
		if kinds[k] == 0 {
			t.Errorf("no program has a relocation of type %d (%v)", k, k)
		}
	}
}

func firstDifference(want, got []uint64) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d words linked, %d arrived", len(want), len(got))
	}
	for i := range want {
		if want[i] != got[i] {
			return fmt.Sprintf("word %d: 0x%016x linked, 0x%016x arrived", i, want[i], got[i])
		}
	}
	return "no difference"
}
