package object_test

import (
	"fmt"

	"github.com/nfpkit/nfpkit/bpf/object"
)

const text = `
.map hits array key=4 value=8 entries=16
.program xdp drop
    r1 = map[hits]
    r0 = 1
    exit
.program xdp pass
    r0 = 2
    exit
`

// Read reads an ELF object or eBPF text from memory; Load reads it from a file.
func ExampleRead() {
	obj, err := object.Read("two.bpf", []byte(text), &object.Options{Entries: []string{"hits=64"}})
	if err != nil {
		panic(err)
	}
	fmt.Println(obj.Programs, obj.Spec.Maps["hits"].MaxEntries)
	_, err = obj.Program("") // the object has two XDP programs
	fmt.Println(err)
	// Output:
	// [drop pass] 64
	// two.bpf: which program? Say two.bpf:NAME with one of: drop, pass (no-program)
}

// Code resolves a program for the verifier, the interpreter and the compiler.
func ExampleObject_Code() {
	obj, err := object.Read("two.bpf", []byte(text), nil)
	if err != nil {
		panic(err)
	}
	c, err := obj.Code("drop")
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Name, c.Type, len(c.Insns), c.Maps[0].Name)
	// Output:
	// drop XDP 3 hits
}
