package objdump

import (
	"errors"
	"slices"
	"testing"
)

func TestDisassemble(t *testing.T) {
	path, err := Build(t.Context())
	if errors.Is(err, ErrUnavailable) {
		t.Skipf("the oracle cannot be had: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := Disassemble(t.Context(), path, []uint64{0x0f0000c0300, 0xf22a080201002, 0x2a080205402})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"nop", "alu[gprA_2, gprA_2, +, gprB_4], gpr_wrboth", "alu[gprA_2, gprA_2, +, gprB_21], gpr_wrboth"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestVersion(t *testing.T) {
	if v := version("/usr/src/binutils/binutils-2.40.tar.xz"); v != "2.40" {
		t.Errorf("version %q", v)
	}
}
