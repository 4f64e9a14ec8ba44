package linux

import (
	"regexp"
	"slices"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/verify"
)

// TestMeaning uses lines as the driver, the kernel's verifier and tools print them.
func TestMeaning(t *testing.T) {
	for line, want := range map[string]string{
		"[nfp] map flags are not supported":                               "driver-map-flags",
		"map flags are not supported":                                     "driver-map-flags",
		"[nfp] stack access changed location":                             "driver-stack-moved",
		"stack access changed":                                            "driver-stack-moved",
		"[nfp] unsupported exit state 1":                                  "driver-tc-exit",
		"[nfp] instruction 0x97 not supported":                            "driver-opcode",
		"[nfp] instruction 0x18 not supported":                            "driver-global-data",
		"[nfp] map value use type conflict, off: 8":                       "driver-map-word-use",
		"nfp 0000:00:00.0 eth0: Translation failed with error -95":        "driver-store-immediate",
		"Error: BPF_XDP_DEVMAP programs can not be attached to a device.": "driver-attach-type",
		"invalid access to packet, off=34 size=4, R2(id=0,off=34,r=0)":    "packet-bounds",
		"R0 invalid mem access 'map_value_or_null'":                       "null-check",
		"R5 !read_ok": "uninit-register",
		"the sequence of 8193 jumps is too complex.":       "too-complex",
		"BPF program is too large. Processed 1000001 insn": "too-complex",
	} {
		if got := Meaning(line); !slices.Contains(got, want) {
			t.Errorf("%q: %v, want %s", line, got, want)
		}
	}
	for _, line := range []string{"", "map", "hello world", "processed 12 insns (limit 1000000)"} {
		if got := Meaning(line); len(got) > 0 {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// TestMeaningsAreReasons checks that every reason a line may stand for can be
// explained, and that the patterns are valid.
func TestMeaningsAreReasons(t *testing.T) {
	for _, r := range Rules() {
		if _, err := regexp.Compile(r.Says); err != nil {
			t.Errorf("%s: %v", r.Reason, err)
		}
	}
	for _, v := range verifierWords {
		if _, err := regexp.Compile(v.says); err != nil {
			t.Errorf("%v: %v", v.words, err)
		}
		for _, word := range v.words {
			_, known := verify.Explain(word)
			if !known && !slices.ContainsFunc(rules, func(r Rule) bool { return r.Reason == word }) {
				t.Errorf("%v: %s is no reason", v.says, word)
			}
		}
	}
}
