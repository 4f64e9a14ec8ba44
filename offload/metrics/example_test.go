package metrics_test

import (
	"fmt"
	"log"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nfpkit/nfpkit/offload/metrics"
)

// Register a collector, tell it how long a change took, and gather what Prometheus would
// be sent. Collector.Report is the callback of offload.Manager.Watch.
func Example() {
	c := metrics.New(nil)
	c.Took("load", 12*time.Millisecond)
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		if h := f.GetMetric()[0].GetHistogram(); h != nil {
			fmt.Println(f.GetName(), h.GetSampleCount())
		}
	}
	// Output:
	// nfpkit_change_seconds 1
}
