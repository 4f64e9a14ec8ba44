package flagerror

import (
	"testing"

	"github.com/spf13/pflag"
)

func TestOf(t *testing.T) {
	f := pflag.NewFlagSet("x", pflag.ContinueOnError)
	f.Uint32("queue", 0, "")
	f.Uint64("seed", 0, "")
	f.IntP("number", "n", 0, "")
	f.Float64("ci", 0, "")
	f.Duration("wait", 0, "")
	f.Bool("json", false, "")
	for arg, want := range map[string]string{
		"--queue=-1":                     `--queue is "-1", must be a whole number, 0 to 4294967295`,
		"--queue=4294967296":             `--queue is "4294967296", must be a whole number, 0 to 4294967295`,
		"--seed=two":                     `--seed is "two", must be a whole number, 0 to 18446744073709551615`,
		"-n=1.5":                         `--number is "1.5", must be a whole number of 64 bits`,
		"--ci=":                          `--ci is "", must be a number`,
		"--wait=7":                       `--wait is "7", must be a duration, such as 10s or 500ms`,
		"--json=maybe":                   `--json is "maybe", must be true or false`,
		"--nosuch":                       "unknown flag: --nosuch",
		"--seed":                         "flag needs an argument: --seed",
		"--seed=99999999999999999999999": `--seed is "99999999999999999999999", must be a whole number, 0 to 18446744073709551615`,
	} {
		err := f.Parse([]string{arg})
		if err == nil || Of(err).Error() != want {
			t.Errorf("%s: %v, want %s", arg, Of(err), want)
		}
	}
}
