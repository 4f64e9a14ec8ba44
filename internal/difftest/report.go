package difftest

import "fmt"

// padded is a count for a column.
func padded(n int) string { return fmt.Sprintf("%6d", n) }
