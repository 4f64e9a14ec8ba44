package object

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// isRaw reports whether bytes are instructions of a program without an object around them:
// slots of 8 bytes, of which the last is an exit.
func isRaw(data []byte) bool {
	return len(data) >= 16 && len(data)%8 == 0 && bytes.HasSuffix(data, []byte{0x95, 0, 0, 0, 0, 0, 0, 0})
}

const rawCure = "give the ELF object or a listing of it (llvm-objdump -d, bpftool prog dump xlated)"

// encoded returns an error that names the encoding, if text is an object or instructions
// in hex (digits, 0x and commas between them) or base64; otherwise nil.
func encoded(text []byte) error {
	words := strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" \t\r\n,;{}[]\"", r) })
	for _, form := range []struct {
		name, cure string
		decode     func() ([]byte, error)
	}{
		{"hex text", "xxd -r -p", func() ([]byte, error) {
			var b strings.Builder
			for _, w := range words {
				w = strings.TrimPrefix(strings.TrimPrefix(w, "0x"), `\x`)
				b.WriteString(strings.ReplaceAll(w, `\x`, ""))
			}
			return hex.DecodeString(b.String())
		}},
		{"base64 text", "base64 -d", func() ([]byte, error) { return base64.StdEncoding.DecodeString(strings.Join(words, "")) }},
	} {
		switch data, err := form.decode(); {
		case err != nil:
		case isELF(data):
			return fmt.Errorf("it is %s of an ELF object: make it binary first, with %s", form.name, form.cure)
		case isRaw(data) && form.name == "hex text":
			return errors.New("it is hex text of instructions without an object: " + rawCure + "; nfpsim plugin runs such text from standard input")
		case isRaw(data):
			return fmt.Errorf("it is %s of instructions without an object: %s", form.name, rawCure)
		}
	}
	return nil
}
