package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func TestNiceStep(t *testing.T) {
	for least, want := range map[float64]float64{0: 1, 0.03: 0.05, 1: 1, 1.2: 2, 2.4: 5, 7: 10, 1300: 2000} {
		if got := niceStep(least); got < want*(1-1e-9) || got > want*(1+1e-9) {
			t.Errorf("niceStep(%g) = %g, want %g", least, got, want)
		}
	}
}

// The page needs nothing but itself.
func TestReportIsSelfContained(t *testing.T) {
	page := report(t)
	for _, m := range regexp.MustCompile(`(?i)(src|href)=|url\(|@import|https?://`).FindAllString(page, -1) {
		t.Errorf("the page refers to something outside: %q", m)
	}
	if again := report(t); again != page {
		t.Error("the same measurement gives another page")
	}
}

// report measures an example and reads the page.
func report(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	var stderr bytes.Buffer
	args := []string{"report", "../../examples/firewall.o", "--pcap", "../../examples/mixed.pcap", "--map", "blocked=../../examples/blocked.json",
		"--packets", "20000", "-o", file}
	if code := run(args, strings.NewReader(""), &bytes.Buffer{}, &stderr); code != 0 {
		t.Fatalf("report: exit %d: %s", code, stderr.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A browser shows the page as it is meant: each tab its section, a point its row,
// a source line its words, and on a phone nothing wider than the screen.
func TestReportInBrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium: the report is not clicked through (apt-get install chromium)")
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(report(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx := chromium(t, browser)
	link := (&url.URL{Scheme: "file", Path: file}).String()
	for _, screen := range []struct {
		name  string
		width int64
	}{{"phone", 360}, {"desk", 1200}} {
		t.Run(screen.name, func(t *testing.T) {
			b := tab{t, ctx}
			b.do(chromedp.EmulateViewport(screen.width, 740), chromedp.Navigate(link), chromedp.WaitVisible(chromedp.CSS("#load")))
			if !b.holds(`document.getElementById('source').hidden`) {
				t.Error("the source shows beside the charts")
			}
			b.narrow(screen.width)
			b.do(chromedp.Click(chromedp.CSS(`#load .dot[data-point="2"]`)), chromedp.WaitVisible(chromedp.CSS(`#point-2.on`)))
			if !b.holds(`document.querySelectorAll('tr.on').length === 1`) {
				t.Error("a press on a point marks more than its row")
			}
			for _, name := range []string{"units", "memory", "source"} {
				b.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`nav [data-tab=%q]`, name))), chromedp.WaitVisible(chromedp.CSS("#"+name)),
					chromedp.WaitNotVisible(chromedp.CSS("#load")))
			}
			b.do(chromedp.Click(chromedp.CSS(`#source summary`)), chromedp.WaitVisible(chromedp.CSS(`#source details[open] .word`)),
				chromedp.Click(chromedp.CSS(`#open-all`)))
			if !b.holds(`[...document.querySelectorAll('#source details')].every(d => d.open)`) {
				t.Error("open all leaves lines closed")
			}
			b.narrow(screen.width)
			if dir := os.Getenv("NFPKIT_SCREENSHOTS"); dir != "" {
				b.pictures(filepath.Join(dir, screen.name))
			}
		})
	}
}

// tab is a page in a browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func (b tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b tab) holds(script string) bool {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](script))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// narrow checks that the page is no wider than the screen.
func (b tab) narrow(width int64) {
	b.t.Helper()
	if !b.holds(fmt.Sprintf(`document.documentElement.scrollWidth <= %d`, width)) {
		b.t.Errorf("the page is wider than a screen of %d", width)
	}
}

// pictures saves a picture of each section, for inspection.
func (b tab) pictures(prefix string) {
	for _, name := range []string{"load", "units", "source", "memory"} {
		b.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`nav [data-tab=%q]`, name))))
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(prefix+"-"+name+".png", png, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
}

// chromium starts a browser without network access.
func chromium(t *testing.T, path string) context.Context {
	t.Helper()
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(2*time.Minute), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), flags...)
	t.Cleanup(stop)
	ctx, stop := chromedp.NewContext(alloc)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(stop)
	return ctx
}
