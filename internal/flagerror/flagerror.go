// Package flagerror words the errors of command-line flags for users. Package pflag quotes
// the parser of Go's library, as in "strconv.ParseUint: parsing ...".
package flagerror

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// Of returns the error of parsing flags, with the name of the flag, the value, and what
// the flag takes.
func Of(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	f, takes := bad.GetFlag(), ""
	switch f.Value.Type() {
	case "uint32":
		takes = "a whole number, 0 to 4294967295"
	case "uint64":
		takes = "a whole number, 0 to 18446744073709551615"
	case "int":
		takes = "a whole number of 64 bits"
	case "float64":
		takes = "a number"
	case "duration":
		takes = "a duration, such as 10s or 500ms"
	case "bool":
		takes = "true or false"
	default:
		return err
	}
	return fmt.Errorf("--%s is %q, must be %s", f.Name, bad.GetValue(), takes)
}
