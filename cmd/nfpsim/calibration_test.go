package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// TestCalibrationWords checks that the words with which the simulated chip is
// calibrated are those that the Linux driver generates for the programs next to them.
func TestCalibrationWords(t *testing.T) {
	for _, version := range uml.Versions() {
		t.Run(version, func(t *testing.T) { calibrationWords(t, version) })
	}
}

func calibrationWords(t *testing.T, version string) {
	ctx := context.Background()
	kernel, err := uml.Build(ctx, version, func(line string) { t.Log("suite:", line) })
	if errors.Is(err, uml.ErrUnavailable) {
		t.Skipf("no guest kernel: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	init := filepath.Join(t.TempDir(), "init")
	if err := uml.BuildInit(ctx, uml.GuestPackage, init); err != nil {
		t.Fatal(err)
	}
	names := []string{"drop", "slow"}
	dir := "../../driver/testdata/calibration"
	var programs []*code.Code
	for _, name := range names {
		obj, err := object.Load(filepath.Join(dir, name+".bpf"), nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := obj.Code(name)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, c)
	}
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	all, err := uml.Translate(ctx, &uml.TranslateOptions{Kernel: kernel, Init: init, Firmware: p}, programs)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range all {
		theirs, err := linux.Image(names[i], a.Words)
		if err != nil {
			t.Fatalf("%s: %v: %s", names[i], err, a.Refused)
		}
		src, err := os.ReadFile(filepath.Join(dir, names[i]+".s"))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := nfp.Assemble(string(src))
		if err != nil {
			t.Fatal(err)
		}
		if len(ours.Words) != len(theirs.Words) {
			t.Fatalf("%s: %d words, the driver makes %d", names[i], len(ours.Words), len(theirs.Words))
		}
		for j := range ours.Words {
			if x, y := ours.Words[j]&(1<<45-1), theirs.Words[j]&(1<<45-1); x != y {
				t.Errorf("%s: word %d is %#x, the driver's is %#x", names[i], j, x, y)
			}
		}
	}
}
