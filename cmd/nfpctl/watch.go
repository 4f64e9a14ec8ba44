package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/offload"
	"github.com/nfpkit/nfpkit/offload/metrics"
)

func newWatch(e *env) *cobra.Command {
	var opt offload.WatchOptions
	var address string
	cmd := &cobra.Command{
		Use: "watch", Short: "report drift as it happens, and repair it if asked",
		Long: `Prints a line for each drift that appears and goes, until it is interrupted: a
program that was removed or replaced by someone else, or that left with its port.
With --repair, restores the desired program. With --metrics, serves Prometheus
metrics on an address of the loopback interface. With --json, prints one JSON object
a line.`,
		Args:    cobra.NoArgs,
		Example: `  nfpctl watch --repair --metrics 127.0.0.1:9464`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opt.Every <= 0 {
				return usagef("--every %v is not above 0", opt.Every)
			}
			var c *metrics.Collector
			var took func(string, time.Duration)
			if address != "" {
				c = metrics.New(nil)
				took = c.Took
			}
			m, err := e.managerThat(cmd, took)
			if err != nil {
				return err
			}
			var line sync.Mutex
			opt.Report = func(r offload.WatchReport) {
				line.Lock()
				defer line.Unlock()
				if c != nil {
					c.Report(r)
				}
				printReport(cmd.OutOrStdout(), &r, e.json)
			}
			if c == nil {
				return m.Watch(cmd.Context(), &opt)
			}
			brief := *e
			brief.wait = scrapePatience
			scraped, err := brief.manager(cmd)
			if err != nil {
				return err
			}
			c.SetManager(scraped)
			return watchAndServe(cmd, m, &opt, c, address)
		},
	}
	cmd.Flags().BoolVar(&opt.Repair, "repair", false, "restore the desired program")
	cmd.Flags().DurationVar(&opt.Every, "every", 30*time.Second, "check every `TIME`, such as 30s, even without an event")
	cmd.Flags().StringVar(&address, "metrics", "", "serve Prometheus metrics at `ADDRESS`, such as 127.0.0.1:9464")
	return cmd
}

// printReport prints one line. It ignores errors: a closed output does not end the
// watch.
func printReport(w io.Writer, r *offload.WatchReport, asJSON bool) {
	if asJSON {
		_ = json.NewEncoder(w).Encode(r)
		return
	}
	line := fmt.Sprintf("%s drift %s: %v", r.Time.UTC().Format(time.RFC3339), r.State, r.Drift)
	if r.Error != "" {
		line += ": " + r.Error
	}
	if r.State == "repaired" {
		line += ", in " + r.Duration
	}
	fmt.Fprintln(w, line)
}

// scrapePatience is how long a scrape waits for another process that is changing
// something, if it finds an unfinished operation. After that it shows the last known
// state.
const scrapePatience = time.Second

// watchAndServe ends when the watch or the server does.
func watchAndServe(cmd *cobra.Command, m *offload.Manager, opt *offload.WatchOptions, c *metrics.Collector, address string) error {
	l, err := metrics.Listen(address)
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "nfpctl: metrics at http://%s/metrics\n", l.Addr())
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	served := make(chan error, 1)
	go func() {
		served <- metrics.Serve(ctx, l, c)
		stop()
	}()
	err = m.Watch(ctx, opt)
	stop()
	if serveErr := <-served; err == nil {
		err = serveErr
	}
	return err
}
