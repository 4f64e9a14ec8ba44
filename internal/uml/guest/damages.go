//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nfpkit/nfpkit/offload"
)

// damagedJournals is the result for journals that were damaged on purpose.
type damagedJournals struct {
	Damages int      `json:"damages"`
	Copies  int      `json:"copies"` // rebuilt with the help of the copy
	Wrong   []string `json:"wrong"`
}

// damages loads two programs onto the card, damages the journal a number of times, every
// second time its copy as well, and rebuilds it each time from what the kernel has.
func damages(_ *env, arg string) (any, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	devs, err := ports(2)
	if err != nil {
		return nil, err
	}
	m, k := newManager(nil)
	a := deploy(recipe{Mark: 1, Verdict: xdpPass, Entries: 1, Value: 8}, offload.XDPOffload, devs[0].Name)
	b := deploy(recipe{Mark: 2, Verdict: xdpPass, Entries: 1, Value: 8}, offload.XDPOffload, devs[1].Name)
	b.Name = "other"
	for _, d := range []*offload.Deployment{a, b} {
		if err := m.Load(background, d, nil); err != nil {
			return nil, err
		}
	}
	before, err := standing(m)
	if err != nil {
		return nil, err
	}
	good, err := os.ReadFile(journalPath)
	if err != nil {
		return nil, err
	}
	out := damagedJournals{}
	dice := rand.New(rand.NewPCG(7, 4))
	for out.Damages < n && len(out.Wrong) < 5 {
		out.Damages++
		wrong := func(format string, args ...any) {
			out.Wrong = append(out.Wrong, fmt.Sprintf("damage %d: ", out.Damages)+fmt.Sprintf(format, args...))
		}
		bad := bytes.Clone(good)
		switch at := dice.IntN(len(good)); dice.IntN(4) {
		case 0:
			bad = bad[:at]
		case 1:
			clear(bad[at:min(at+512, len(bad))])
			bad = append(bad, 0)
		default:
			bad[at] ^= 1 << dice.IntN(8)
		}
		files := []string{journalPath}
		if out.Damages%2 == 0 {
			files = append(files, journalPath+".last")
		} else {
			out.Copies++
		}
		for _, f := range files {
			if err := os.WriteFile(f, bad, 0o600); err != nil {
				return out, err
			}
		}
		if _, err := m.Status(background); offload.ReasonOf(err) != "journal-damaged" {
			wrong("status: error %v, want reason journal-damaged", err)
		}
		if err := m.Reload(background, a, nil); offload.ReasonOf(err) != "journal-damaged" {
			wrong("reload: error %v, want reason journal-damaged", err)
		}
		if _, err := m.RebuildJournal(background, false); err != nil {
			wrong("rebuild: %v", err)
			continue
		}
		if now, err := standing(m); err != nil || now != before {
			wrong("rebuilt: %s (%v), was %s", now, err, before)
		}
	}
	kept, _ := filepath.Glob(journalPath + ".damaged-*")
	for _, f := range kept {
		os.Remove(f)
	}
	// The rebuilt journal must be usable, and no object may remain.
	for _, d := range []*offload.Deployment{a, b} {
		if err := m.Reload(background, d, nil); err != nil {
			out.Wrong = append(out.Wrong, err.Error())
		}
		if err := m.Unload(background, d.Name); err != nil {
			out.Wrong = append(out.Wrong, err.Error())
		}
	}
	if pins, err := k.Pins(""); err != nil || len(pins) > 0 {
		out.Wrong = append(out.Wrong, fmt.Sprintf("pins %v are left, %v", pins, err))
	}
	return out, nil
}

// standing returns the deployments in status, without the parts that a rebuild cannot
// know.
func standing(m *offload.Manager) (string, error) {
	s, err := m.Status(background)
	if err != nil {
		return "", err
	}
	text := ""
	for _, d := range s.Deployments {
		text += fmt.Sprintf("%s: generation %d program %d on %v, drift %v, %s;", d.Name, d.Generation, d.ID, d.Ports[0].Attached, d.Drift, d.Error)
		for _, e := range d.Maps {
			text += fmt.Sprintf(" map %s %d %v", e.Name, e.ID, e.Shape)
		}
	}
	return text + fmt.Sprint(s.Orphans), nil
}
