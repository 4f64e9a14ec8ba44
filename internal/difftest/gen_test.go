package difftest

import (
	"bytes"
	"encoding/binary"
	"errors"
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
		p := Generate(seed, AllFeatures)
		_, err := k.Run(p)
		var no *Refused
		switch {
		case errors.As(err, &no):
			refused[general(no.Reason)]++
			total++
		case err != nil:
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if total*20 > n {
		t.Errorf("kernel refused %d of %d programs: %v", total, n, refused)
	}
}
