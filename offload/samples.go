package offload

import (
	"context"
	"fmt"
	"time"
)

// A Sample is what one call of perf_event_output sent: data of the program's choice, then as
// many bytes of the packet as it asked for. The kernel adds up to 7 bytes of zeros, so that
// the next sample is aligned; nothing says how many.
type Sample struct {
	CPU  int           // whose ring it came through
	At   time.Duration // since boot; 0 if not known
	Data []byte
	Lost uint64 // samples that found no room before this one; then there is no Data
}

// SampleOptions for Kernel.Samples; the zero value is the default.
type SampleOptions struct {
	// Only opens one ring, of CPU, at element Index of the map. By default there is one for
	// each CPU that is online, at the CPU's number. A card's driver takes the index from the
	// firmware, whatever CPU it runs on.
	Only       bool
	CPU, Index int
	// Bytes of a ring, rounded up to a power of two of pages; 0: 256 KiB.
	Bytes int
}

// Samples is an open stream.
type Samples interface {
	// Read returns the next sample. If there is none, it waits until ctx ends, and returns
	// its error.
	Read(ctx context.Context) (Sample, error)
	// Close gives the rings back. The map's elements are empty again.
	Close() error
}

// notEvents is the error of a map that has no stream.
func notEvents(m Map) error {
	info, err := m.Info()
	if err != nil {
		return err
	}
	return &Error{Op: "open the events of", Object: fmt.Sprintf("map %d %s", info.ID, info.Name), Reason: "map-type", Msg: fmt.Sprintf("it is %v; events come through maps of type perf_event_array", info.Shape)}
}
