package object

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestSettings sets variables of every kind and checks their bytes.
func TestSettings(t *testing.T) {
	data, err := os.ReadFile("testdata/settings.o")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ set, variable, want string }{
		{"port=443", "port", "\xbb\x01\x00\x00"},
		{"port=0xffffffff", "port", "\xff\xff\xff\xff"},
		{"offset=-128", "offset", "\x80"},
		{"enabled=true", "enabled", "\x01"},
		{"enabled=0", "enabled", "\x00"},
		{"mode=DROP_ALL", "mode", "\x07\x00\x00\x00"},
		{"mode=2", "mode", "\x02\x00\x00\x00"},
		{"name=nfp0", "name", "nfp0\x00\x00\x00\x00"},
		{`name="12345678"`, "name", "12345678"},
		{"large=18446744073709551615", "large", "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"hidden=513", "hidden", "\x01\x02"},
		{"counter=7", "counter", "\x07\x00\x00\x00"},
		{"list[1]=9", "list", "\x01\x00\x00\x00\x09\x00\x00\x00\x03\x00\x00\x00"},
		{"list=[4,5]", "list", "\x04\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00"},
		{"limits.high[1]=8", "limits", "\x01\x00\x00\x00\x02\x00\x08\x00\x04\x05\x00\x00"},
		{"limits.in.deep=-2", "limits", "\x01\x00\x00\x00\x02\x00\x03\x00\xfe\x05\x00\x00"},
		{`limits={"low":6,"high":[7],"bits":9}`, "limits", "\x06\x00\x00\x00\x07\x00\x00\x00\x00\x09\x00\x00"},
	} {
		o, err := Read("settings.o", data, &Options{Set: []string{tt.set}})
		if err != nil {
			t.Errorf("%s: %v", tt.set, err)
			continue
		}
		if got := o.variables()[tt.variable].bytes; string(got) != tt.want {
			t.Errorf("%s: %x, want %x", tt.set, got, tt.want)
		}
		if v := o.Spec.Variables[tt.variable]; v != nil && !bytes.Equal(v.Value, []byte(tt.want)) {
			t.Errorf("%s: the variable's own copy is %x", tt.set, v.Value)
		}
	}
	for set, want := range map[string]string{
		"port":              `"port" is not NAME=VALUE`,
		"prot=1":            "variable prot cannot be set: no such variable; there are: counter, enabled, hidden, large, limits, list, mode, name, offset, pointer, port",
		"port=4294967296":   "variable port cannot be set: ",
		"port=-1":           "variable port cannot be set: ",
		"offset=128":        "variable offset cannot be set: ",
		"enabled=2":         "variable enabled cannot be set: ",
		"mode=NONE":         "variable mode cannot be set: ",
		"name=123456789":    "variable name cannot be set: ",
		"list[3]=1":         "[3] is past the last element, [2]",
		"list[x]=1":         "[x] is no element [0] to [2]",
		"list=[1,2,3,4]":    "variable list cannot be set: ",
		"port.low=1":        ".low: a value of type unsigned int has no parts",
		"limits.none=1":     "no such member; there are: bits, high, in, low",
		"limits.bits=1":     ".bits is a bit field",
		"pointer=1":         "it is a pointer",
		"limits=1":          "variable limits cannot be set: ",
		"":                  `"" is not NAME=VALUE`,
		"limits.in.deep.=1": "has no parts",
	} {
		_, err := Read("settings.o", data, &Options{Set: []string{set}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), "(bad-setting)") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want %s", set, err, want)
		}
	}
	o, err := Read("settings.o", data, &Options{Entries: []string{"sized=0x10"}})
	if err != nil || o.Spec.Maps["sized"].MaxEntries != 16 {
		t.Errorf("entries: %v", err)
	}
	for entries, want := range map[string]string{
		"sized=0": "is not MAP=N", "sized=-1": "is not MAP=N", "sized": "is not MAP=N", "sized=4294967296": "is not MAP=N", "size=1": "no such map; there are: sized",
		".rodata=2": "no such map; there are: sized",
	} {
		_, err := Read("settings.o", data, &Options{Entries: []string{entries}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", entries, err, want)
		}
	}
}

// TestSettingsWithoutBTF sets variables by the sizes of their symbols.
func TestSettingsWithoutBTF(t *testing.T) {
	data, err := os.ReadFile("testdata/relocs.o")
	if err != nil {
		t.Fatal(err)
	}
	o, err := Read("relocs.o", data, &Options{Set: []string{"three=0x0000000900000008", "one=[1,0,0,0,2,0,0,0,3,0,0,0]"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := o.variables()["three"].bytes; !bytes.Equal(got, []byte{8, 0, 0, 0, 9, 0, 0, 0}) {
		t.Errorf("three: %x", got)
	}
	if _, err := Read("relocs.o", data, &Options{Set: []string{"three[0]=1"}}); err == nil || !strings.Contains(err.Error(), "compile with -g") {
		t.Errorf("error %v", err)
	}
}
