package object

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Objects and instructions in other forms are named, with a cure, in every spelling.
func TestForms(t *testing.T) {
	elf, err := os.ReadFile("../../examples/counters.o")
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte{0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}
	array := func(data []byte) string { // as xxd -i writes it
		var words []string
		for _, b := range data {
			words = append(words, fmt.Sprintf("%#02x", b))
		}
		return "{ " + strings.Join(words, ", ") + " }"
	}
	lines := func(text string) string {
		var b strings.Builder
		for i := 0; i < len(text); i += 60 {
			b.WriteString(text[i:min(i+60, len(text))] + "\n")
		}
		return b.String()
	}
	const (
		object = " of an ELF object: make it binary first, with "
		insns  = " of instructions without an object: " + rawCure
	)
	for _, tt := range []struct{ text, want string }{
		{string(raw), "it is 2 instructions without an object: " + rawCure},
		{lines(hex.EncodeToString(elf)), "it is hex text" + object + "xxd -r -p"},
		{hex.EncodeToString(raw), "it is hex text" + insns + "; nfpsim plugin runs such text from standard input"},
		{strings.ToUpper(hex.EncodeToString(raw)), "it is hex text" + insns},
		{"b7 00 00 00 02 00 00 00\n95 00 00 00 00 00 00 00\n", "it is hex text" + insns},
		{`"\xb7\x00\x00\x00\x02\x00\x00\x00\x95\x00\x00\x00\x00\x00\x00\x00"`, "it is hex text" + insns},
		{strings.ReplaceAll(array(raw), "0x0,", "0x00,"), "it is hex text" + insns},
		{lines(base64.StdEncoding.EncodeToString(elf)), "it is base64 text" + object + "base64 -d"},
		{base64.StdEncoding.EncodeToString(raw), "it is base64 text" + insns},
		{"b7000000", "(bad-text)"},
		{string(raw[:15]), "neither an ELF object nor eBPF text (bad-object)"},
		{string(raw[:8]), "neither an ELF object nor eBPF text (bad-object)"},
	} {
		_, err := Read("p", []byte(tt.text), nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: %v, want %s", tt.text, err, tt.want)
		}
	}
	if o, err := Read("p.o", []byte(".program xdp p\n r0 = 2\n exit\n"), nil); err != nil || len(o.Programs) != 1 {
		t.Errorf("text in a file called .o: %v", err)
	}
}
