package firmware

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/nfpkit/nfpkit/internal/jsonfile"
)

//go:embed profiles/*.json
var files embed.FS

// Names lists the profiles that come with nfpkit, sorted.
func Names() []string {
	var names []string
	entries, err := fs.ReadDir(files, "profiles")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	sort.Strings(names)
	return names
}

// Load returns a profile by its name, or from a file if name ends in .json.
func Load(name string) (*Profile, error) {
	var data []byte
	var err error
	if strings.HasSuffix(name, ".json") {
		if data, err = os.ReadFile(name); err != nil {
			return nil, err
		}
	} else if data, err = files.ReadFile(path.Join("profiles", name+".json")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("firmware %q: unknown profile; known are %s, or a .json file", name, strings.Join(Names(), ", "))
	} else if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("firmware %s: %w", name, err)
	}
	return p, nil
}

// Parse reads a profile and checks that it describes a possible firmware.
func Parse(data []byte) (*Profile, error) {
	p := new(Profile)
	if err := jsonfile.Decode(data, p); err != nil {
		return nil, err
	}
	return p, p.check()
}

// codeStore is the highest word address plus one: branch targets have 14 bits.
const codeStore = 1 << 14

func (p *Profile) check() error {
	in := func(what string, v, low, high int) error {
		if v < low || v > high {
			return fmt.Errorf("%s is %d, must be %d to %d", what, v, low, high)
		}
		return nil
	}
	errs := []error{
		in("start", p.Start, 0, codeStore-1),
		in("done", p.Done, 0, codeStore-1),
		in("max_len", p.MaxLen, 9, codeStore-p.Start),
		in("stack_bytes", p.Stack, 64, 1024),
		in("inl_mtu", p.InlMTU, 1, 255),
		in("abi", p.ABI, 2, 3),
		in("adjust_head.off_max", p.AdjustHead.OffMax, p.AdjustHead.OffMin, 255),
	}
	if len(p.Signals) == 0 {
		errs = append(errs, errors.New("signals: a program needs at least one"))
	}
	errs = append(errs, p.checkSteps())
	for _, s := range p.Signals {
		errs = append(errs, in("signal", s, 1, 15))
	}
	ids := make([]int, 0, len(p.Helpers))
	for id := range p.Helpers {
		ids = append(ids, int(id))
	}
	sort.Ints(ids)
	for _, id := range ids {
		at := p.Helpers[int32(id)]
		errs = append(errs, in(fmt.Sprintf("helpers.%d", id), at, 0, codeStore-1))
		if at >= p.Start && at < p.Start+p.MaxLen {
			errs = append(errs, fmt.Errorf("helpers.%d at word %d lies in the program's area", id, at))
		}
	}
	return errors.Join(errs...)
}

// checkSteps checks the firmware's work on a packet.
func (p *Profile) checkSteps() error {
	if n := len(p.After); n == 0 || p.After[n-1].Wait != WaitPacket {
		return fmt.Errorf("packet_after: its last step must have \"wait\": %q", WaitPacket)
	}
	for i, s := range p.Before {
		if err := s.check(false); err != nil {
			return fmt.Errorf("packet_before: step %d: %w", i+1, err)
		}
	}
	for i, s := range p.After {
		if err := s.check(i == len(p.After)-1); err != nil {
			return fmt.Errorf("packet_after: step %d: %w", i+1, err)
		}
	}
	return nil
}

// maxIssue is more than a code store of instructions.
const maxIssue = 1 << 20

func (s *Step) check(last bool) error {
	memory := slices.Contains([]string{"cls", "ctm", "imem", "emem"}, s.Wait)
	switch {
	case s.Issue < 0 || s.Issue > maxIssue:
		return fmt.Errorf("issue is %d, must be 0 to %d", s.Issue, maxIssue)
	case s.Wait != "" && !slices.Contains(Waits(), s.Wait):
		return fmt.Errorf("wait is %q, must be one of %s", s.Wait, strings.Join(Waits(), ", "))
	case s.Wait == WaitPacket && !last:
		return fmt.Errorf("wait is %q, which only the last step of packet_after can have", s.Wait)
	case s.Op != "" && !slices.Contains(Ops(), s.Op):
		return fmt.Errorf("op is %q, must be one of %s", s.Op, strings.Join(Ops(), ", "))
	case (s.Op != "" || s.Bytes != 0) && !memory:
		return fmt.Errorf("op and bytes are for waits for cls, ctm, imem and emem, not for %q", s.Wait)
	case s.Bytes < 0 || s.Bytes > 128:
		return fmt.Errorf("bytes is %d, must be 1 to 128", s.Bytes)
	case s.Bank != nil && (s.Wait != "imem" && s.Wait != "emem" || *s.Bank < 0):
		return fmt.Errorf("bank must be 0 or more, and of imem or emem")
	case !(s.Share >= 0 && s.Share <= 1):
		return fmt.Errorf("share is %g, must be above 0 and at most 1", s.Share)
	case last && s.Share != 0 && s.Share != 1:
		return fmt.Errorf("share is %g, but all packets take the last step", s.Share)
	}
	return nil
}
