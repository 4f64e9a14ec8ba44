// Package metrics exports the state of a manager in Prometheus's format: the card's
// counters per port and verdict, the fill level of maps, the durations of reloads, and
// drift.
//
// Create a Collector with New, give it the manager by SetManager, pass its Report and
// Took to the watch and the manager, and register it. Listen and Serve provide an HTTP
// endpoint, on the loopback interface only. A scrape reads everything except map
// counts, which are cached. A value that cannot be read is left out of the scrape and
// counted as an error, never reported as zero.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nfpkit/nfpkit/offload"
)

// Options configures New. The zero value selects the defaults.
type Options struct {
	// CountEvery is the maximum age of a map's count of entries, 30 s if 0. CountFor
	// is the time limit for counting one map, 2 s if 0: a card returns entries one by
	// one.
	CountEvery, CountFor time.Duration
}

// Collector is a prometheus.Collector. Its Report is the callback of a watch.
type Collector struct {
	manager *offload.Manager
	opt     Options

	mu     sync.Mutex
	counts map[uint32]count // by map id
	last   *offload.Status  // used if a scrape cannot read the journal

	drifts, repairs *prometheus.CounterVec
	changes         *prometheus.HistogramVec
	errors          prometheus.Counter
}

// count is a map's number of entries.
type count struct {
	entries  int
	complete bool // all were counted
	at       time.Time
}

const space = "nfpkit"

// New returns a collector. SetManager must be called before the first scrape. That
// manager's patience is how long a scrape waits for the journal.
func New(opt *Options) *Collector {
	c := &Collector{counts: map[uint32]count{}}
	if opt != nil {
		c.opt = *opt
	}
	if c.opt.CountEvery == 0 {
		c.opt.CountEvery = 30 * time.Second
	}
	if c.opt.CountFor == 0 {
		c.opt.CountFor = 2 * time.Second
	}
	c.drifts = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Name: "drifts_total", Help: "Drifts seen by this watch."}, []string{"deployment", "kind"})
	c.repairs = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Name: "repairs_total", Help: "Repairs tried by this watch."}, []string{"deployment", "result"})
	c.changes = prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: space, Name: "change_seconds", Help: "Duration of this watch's changes, without time on trial.",
		Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5}}, []string{"op"})
	c.errors = prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Name: "scrape_errors_total", Help: "Parts of scrapes that could not be read."})
	return c
}

// SetManager sets the manager whose state is exported. Before that, only what Report and
// Took were told is. It must not be called while metrics are gathered.
func (c *Collector) SetManager(m *offload.Manager) { c.manager = m }

// Report counts the reports of a watch; see offload.WatchOptions.
func (c *Collector) Report(r offload.WatchReport) {
	switch r.State {
	case "appeared":
		c.drifts.WithLabelValues(r.Drift.Deployment, r.Drift.Kind).Inc()
	case "repaired", "not-repaired":
		c.repairs.WithLabelValues(r.Drift.Deployment, r.State).Inc()
	}
}

// Took records the duration of a change; see offload.Options.
func (c *Collector) Took(op string, d time.Duration) {
	c.changes.WithLabelValues(op).Observe(d.Seconds())
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(space, "", name), help, labels, nil)
}

// Descriptions of the values read at each scrape.
var (
	packets    = desc("verdict_packets_total", "Packets by verdict of the card's program, from the card's application counters.", "port", "card", "verdict")
	bytes      = desc("verdict_bytes_total", "Bytes of these packets.", "port", "card", "verdict")
	drift      = desc("drift", "1 for each difference between the desired and the actual program of a port.", "deployment", "port", "mode", "kind")
	generation = desc("generation", "How often the deployment was loaded and reloaded.", "deployment", "mode")
	took       = desc("last_change_seconds", "Duration of the load or reload of this generation, without time on trial.", "deployment")
	entries    = desc("map_entries", "Entries of a map when they were last counted; of an array, all.", "deployment", "map")
	most       = desc("map_max_entries", "Entries that a map may have.", "deployment", "map")
	complete   = desc("map_entries_complete", "0 if counting a map took too long and map_entries is a lower bound.", "deployment", "map")
	orphans    = desc("orphans", "Objects on cards and pins that no deployment uses.", "kind")
)

// Describe sends the descriptions of all metrics.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{packets, bytes, drift, generation, took, entries, most, complete, orphans} {
		ch <- d
	}
	for _, v := range []prometheus.Collector{c.drifts, c.repairs, c.changes, c.errors} {
		v.Describe(ch)
	}
}

// Collect reads everything. It leaves out and counts the values that cannot be read.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if s := c.status(); s != nil {
		ports := map[offload.Ref]bool{}
		for _, d := range s.Deployments {
			gauge(generation, float64(d.Generation), d.Name, string(d.Mode))
			gauge(took, float64(d.Took)/1e9, d.Name)
			for _, x := range d.Drift {
				gauge(drift, 1, x.Deployment, x.Port.String(), string(x.Mode), x.Kind)
			}
			for _, p := range d.Ports {
				ports[p.Port] = ports[p.Port] || d.Mode.Offloaded()
			}
			for _, m := range d.Maps {
				c.mapFill(gauge, d.Name, m)
			}
		}
		kinds := map[string]int{"program": 0, "map": 0, "pins": 0}
		for _, o := range s.Orphans {
			kinds[o.Kind]++
		}
		for kind, n := range kinds {
			gauge(orphans, float64(n), kind)
		}
		for ref, offloaded := range ports {
			if offloaded {
				c.verdicts(ch, ref)
			}
		}
	}
	for _, v := range []prometheus.Collector{c.drifts, c.repairs, c.changes, c.errors} {
		v.Collect(ch)
	}
}

// status returns the manager's status or, if that cannot be read, the last one. It is
// nil before the first, and without a manager.
func (c *Collector) status() *offload.Status {
	if c.manager == nil {
		return nil
	}
	s, err := c.manager.Status(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.errors.Inc()
		return c.last
	}
	c.last = s
	return s
}

// verdicts reads a port's counters.
func (c *Collector) verdicts(ch chan<- prometheus.Metric, ref offload.Ref) {
	k := c.manager.Kernel()
	all, err := k.Ports(ref.Netns, ref.Name)
	if err != nil || len(all) == 0 {
		c.errors.Inc()
		return
	}
	v, err := k.Verdicts(&all[0])
	if err != nil {
		c.errors.Inc()
		return
	}
	for _, x := range []struct {
		verdict string
		n       offload.Count
	}{{"pass", v.Pass}, {"drop", v.Drop}, {"redirect", v.Redirect}, {"aborted", v.Aborted}} {
		for d, n := range map[*prometheus.Desc]uint64{packets: x.n.Packets, bytes: x.n.Bytes} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), ref.String(), all[0].Card, x.verdict)
		}
	}
}

// mapFill counts a map's entries, unless the last count is recent.
func (c *Collector) mapFill(gauge func(*prometheus.Desc, float64, ...string), deployment string, m offload.MapEntry) {
	gauge(most, float64(m.Shape.Entries), deployment, m.Name)
	n := count{entries: int(m.Shape.Entries), complete: true}
	if m.Shape.Type != "array" && m.Shape.Type != "percpu_array" {
		var err error
		if n, err = c.count(m.ID); err != nil {
			c.errors.Inc()
			return
		}
	}
	gauge(entries, float64(n.entries), deployment, m.Name)
	gauge(complete, map[bool]float64{true: 1}[n.complete], deployment, m.Name)
}

func (c *Collector) count(id uint32) (count, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.counts[id]; ok && time.Since(n.at) < c.opt.CountEvery {
		return n, nil
	}
	m, err := c.manager.Kernel().Map(id)
	if err != nil {
		return count{}, err
	}
	defer m.Close()
	n := count{complete: true, at: time.Now()}
	err = m.Dump(func(_, _ []byte) bool {
		n.entries++
		n.complete = time.Since(n.at) < c.opt.CountFor
		return n.complete
	})
	if err == nil {
		c.counts[id] = n
	}
	return n, err
}

// errNotLoopback is the error of an address that is not loopback.
var errNotLoopback = errors.New("it is not an address of the loopback interface, such as 127.0.0.1:9464")

// Listen opens a listener, on the loopback interface only. Remote access to the
// metrics needs a proxy that authenticates its users.
func Listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("metrics address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("metrics address %q: %w", address, errNotLoopback)
	}
	return net.Listen("tcp", address)
}

// Serve answers GET /metrics until ctx ends, which is no error.
func Serve(ctx context.Context, l net.Listener, c prometheus.Collector) error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(c); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2}))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 1 << 16}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
