package offload

import (
	"context"
	"fmt"
	"time"
)

// A Sample holds the data of one call of perf_event_output: bytes that the program
// chose, then the requested number of bytes of the packet. The kernel adds up to 7
// zero bytes, so that the next sample is aligned, and does not record how many.
type Sample struct {
	CPU  int           // the CPU of the ring
	At   time.Duration // time since boot; 0 if unknown
	Data []byte
	Lost uint64 // number of samples lost before this one because the ring was full; then Data is empty
}

// SampleOptions configures Kernel.Samples. The zero value selects the defaults.
type SampleOptions struct {
	// Only opens one ring, of CPU, at element Index of the map. By default there is
	// one ring for each online CPU, at the CPU's number. A card's driver takes the
	// index from the firmware, whatever CPU it runs on.
	Only       bool
	CPU, Index int
	// Bytes is the size of a ring, rounded up to a power of two of pages; 0 selects
	// 256 KiB.
	Bytes int
}

// Samples is an open stream of samples.
type Samples interface {
	// Read returns the next sample. If there is none, it waits until ctx ends, and returns
	// its error.
	Read(ctx context.Context) (Sample, error)
	// Close frees the rings and clears their elements of the map.
	Close() error
}

// notEvents returns the error for a map without a stream.
func notEvents(m Map) error {
	info, err := m.Info()
	if err != nil {
		return err
	}
	return &Error{Op: "open the events of", Object: fmt.Sprintf("map %d %s", info.ID, info.Name), Reason: "map-type", Msg: fmt.Sprintf("it is %v; events come through maps of type perf_event_array", info.Shape)}
}
