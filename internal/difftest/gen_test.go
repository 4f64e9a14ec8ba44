package difftest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The same seed gives the same program, byte for byte.
func TestGenerateIsDeterministic(t *testing.T) {
	for seed := range uint64(50) {
		a, b := Generate(seed, AllFeatures), Generate(seed, AllFeatures)
		var x, y bytes.Buffer
		if err := errors.Join(a.Spec.Instructions.Marshal(&x, binary.LittleEndian), b.Spec.Instructions.Marshal(&y, binary.LittleEndian)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(x.Bytes(), y.Bytes()) || !cmp.Equal(a.Packets, b.Packets) || !cmp.Equal(a.Initial, b.Initial) {
			t.Fatalf("seed %d: two different programs", seed)
		}
	}
}

// Of what the generator writes for it, the kernel's verifier accepts 95 in 100.
func TestKernelAcceptsGenerated(t *testing.T) {
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
	k, err := NewKernel(0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	const n = 400
	refused := map[string]int{}
	total := 0
	for seed := range uint64(n) {
		p := Generate(seed, KernelFeatures)
		_, err := k.Run(p)
		var no *Refused
		switch {
		case errors.As(err, &no):
			refused[reasonOf(no.Reason)]++
			total++
		case err != nil:
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if total*20 > n {
		t.Errorf("kernel refused %d of %d programs:\n%s", total, n, counts(refused))
	}
}

// reasonOf leaves the registers and numbers out of a message, so that it counts.
func reasonOf(msg string) string {
	return strings.Join(strings.FieldsFunc(msg, func(r rune) bool { return r >= '0' && r <= '9' }), "#")
}

func counts(m map[string]int) string {
	var lines []string
	for reason, n := range m {
		lines = append(lines, strings.TrimSpace(strings.Join([]string{padded(n), reason}, " ")))
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}
