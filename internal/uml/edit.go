package uml

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// edit is one change to the kernel's source: find must be in file exactly once.
// docs/hardware-in-the-loop.md says for each what fails without it.
type edit struct {
	file, find, put string
}

// edits are all the changes the guest kernel needs; the driver under test is
// not among the files.
var edits = []edit{
	// An emulated mapping is a pointer that packs an area number and an offset inside
	// the BAR. 24 offset bits end at 16 MiB; the card's second BAR has 128 MiB.
	{"lib/logic_iomem.c", "#define AREA_SHIFT\t24\n", "#define AREA_SHIFT\t28\n"},
	{"lib/logic_iomem.c", "#define MAX_AREAS\t((1U << 31) / MAX_AREA_SIZE)\n", "#define MAX_AREAS\t((1UL << 36) / MAX_AREA_SIZE)\n"},
	{"lib/logic_iomem.c", "#define IOREMAP_MASK\t0xFFFFFFFF00000000UL\n", "#define IOREMAP_MASK\t0xFFFFFFF000000000UL\n"},
	{"lib/logic_iomem.c", "(i << AREA_SHIFT)", "((unsigned long)i << AREA_SHIFT)"},
	// The verifier is as strict about alignment as the architecture says it is;
	// a kernel on a real x86 machine accepts unaligned packet loads, and offloaded programs cannot ask for leniency.
	{"arch/x86/um/Kconfig", "config UML_X86\n\tdef_bool y\n", "config UML_X86\n\tdef_bool y\n\tselect HAVE_EFFICIENT_UNALIGNED_ACCESS\n"},
}

// apply applies the change to the tree at root.
func (e edit) apply(root string) error {
	path := filepath.Join(root, e.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), e.find); n != 1 {
		return fmt.Errorf("%s: %q is there %d times, not once: the kernel source is not the one this change was made for", e.file, e.find, n)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), e.find, e.put, 1)), 0o644)
}
