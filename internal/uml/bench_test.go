//go:build linux

package uml

import (
	"strconv"
	"testing"

	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// BenchmarkBoot is a guest without a card, from start to end.
func BenchmarkBoot(b *testing.B) {
	k := kernelOf(b, Newest)
	k.options(b)
	for b.Loop() {
		boot(b, k.options(b, "uname"))
	}
}

// BenchmarkBootAndProbe is a guest whose driver binds to a card.
func BenchmarkBootAndProbe(b *testing.B) {
	k := kernelOf(b, Newest)
	k.options(b)
	for b.Loop() {
		l := k.goLive(b, nil, "probe")
		l.next("probe")
		l.end()
	}
}

// BenchmarkMapUpdate is bpf(BPF_MAP_UPDATE_ELEM) of an offloaded hash: a message to
// the card and its answer.
func BenchmarkMapUpdate(b *testing.B) {
	k := kernelOf(b, Newest)
	l := k.goLive(b, nil, report.Word("updates", strconv.Itoa(b.N)))
	l.next("updates")
	b.ResetTimer()
	l.tell()
	l.next("updates")
	b.StopTimer()
	l.tell()
	l.next("updates")
	l.end()
}
