package difftest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// What our verifier accepts of the corpus, the running kernel's accepts too; what
// the kernel accepts we accept, but for features that docs/verifier.md leaves out
// (counted apart) and at most 2 % that it lists with a reason each.
func TestCorpusVerifiers(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the kernel's samples: not in short mode")
	}
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
	dir, _, err := BuildCorpus(t.Context())
	if errors.Is(err, ErrNoCorpus) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/verifier.md")
	if err != nil {
		t.Fatal(err)
	}
	var total verdicts
	for _, part := range []struct {
		name, glob string
	}{{"xdp", "*.o"}, {"tc", "tc/*.o"}} {
		objects, err := filepath.Glob(filepath.Join(dir, part.glob))
		if err != nil || len(objects) == 0 {
			t.Fatalf("no objects: %v", err)
		}
		var v verdicts
		for _, file := range objects {
			v.object(t, file)
		}
		v.report(t, part.name)
		total.add(&v)
	}
	total.report(t, "all")
	t.Logf("suite: corpus: kernel %s and check both accept %d, both refuse %d; %d have features left out; of the others the kernel accepts, %d are refused",
		release(), total.both, total.neither, total.feature, len(total.stricter))
	for _, w := range total.wider {
		name, _, _ := strings.Cut(w, ":")
		if strings.Contains(string(doc), "`"+name+"`") {
			t.Logf("only we accept %s, and docs/verifier.md says why it is safe", w)
			continue
		}
		t.Errorf("only we accept %s", w)
	}
	if n := len(total.stricter); 50*n > total.both+n {
		t.Errorf("%d of %d programs that the kernel accepts are refused, more than 2 %%", n, total.both+n)
	}
	for _, s := range total.stricter {
		name, _, _ := strings.Cut(s, ":")
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/verifier.md does not say why %s is refused", s)
		}
	}
}

// verdicts compares two verifiers.
type verdicts struct {
	both, neither, feature int
	stricter, wider        []string // object/program: reason
	features               map[string]int
}

func (v *verdicts) add(o *verdicts) {
	v.both, v.neither, v.feature = v.both+o.both, v.neither+o.neither, v.feature+o.feature
	v.stricter, v.wider = append(v.stricter, o.stricter...), append(v.wider, o.wider...)
	if v.features == nil {
		v.features = map[string]int{}
	}
	for k, n := range o.features {
		v.features[k] += n
	}
}

func (v *verdicts) report(t *testing.T, what string) {
	t.Logf("%s: both accept %d, both refuse %d, features left out %d, stricter %d, wider %d", what, v.both, v.neither, v.feature, len(v.stricter), len(v.wider))
	for _, k := range slices.Sorted(maps.Keys(v.features)) {
		t.Logf("  left out: %d %s", v.features[k], k)
	}
	for _, s := range v.stricter {
		t.Logf("  stricter: %s", s)
	}
}

func (v *verdicts) object(t *testing.T, file string) {
	obj, err := object.Load(file, nil)
	if err != nil {
		return // TestCorpus says why
	}
	base := strings.TrimSuffix(filepath.Base(file), ".o")
	for _, name := range obj.Programs {
		if typ := obj.Spec.Programs[name].Type; typ != ebpf.XDP && typ != ebpf.SchedCLS && typ != ebpf.SchedACT {
			continue
		}
		ours := accepts(obj, name)
		accepted, why := kernelAccepts(obj.Spec, name)
		switch {
		case why == nil && !accepted:
		case ours == nil && accepted:
			v.both++
		case ours != nil && !accepted:
			v.neither++
		case ours == nil:
			v.wider = append(v.wider, fmt.Sprintf("%s/%s: %v", base, name, why))
		case unmodelled(ours):
			v.feature++
			if v.features == nil {
				v.features = map[string]int{}
			}
			v.features[general(lastLine(ours))]++
		default:
			v.stricter = append(v.stricter, fmt.Sprintf("%s/%s: %v", base, name, lastLine(ours)))
		}
	}
}

func lastLine(err error) string {
	var r *verify.Rejection
	if errors.As(err, &r) {
		q := r.Reasons[0]
		return fmt.Sprintf("pc %d: %s: %s (%s)", q.PC, q.Insn, q.Message, q.Reason)
	}
	return err.Error()
}

// unmodelled reports that a program was refused for a feature that is left out:
// what else is wrong with it may follow from that.
func unmodelled(err error) bool {
	var r *verify.Rejection
	if errors.As(err, &r) {
		return slices.ContainsFunc(r.Reasons, func(q verify.Reason) bool { return q.Reason == "feature-unsupported" })
	}
	var f *object.FaultError
	return errors.As(err, &f)
}

func accepts(obj *object.Object, name string) error {
	c, err := obj.Code(name)
	if err != nil {
		return err
	}
	_, err = verify.Verify(c, nil)
	return err
}

// kernelAccepts loads one program. Where it failed for a reason other than the
// verifier's, there is no why.
func kernelAccepts(spec *ebpf.CollectionSpec, name string) (accepted bool, why error) {
	one := spec.Copy()
	for other := range one.Programs {
		if other != name {
			delete(one.Programs, other)
		}
	}
	coll, err := ebpf.NewCollection(one)
	if err == nil {
		coll.Close()
		return true, nil
	}
	var no *ebpf.VerifierError
	// A relocation that this kernel's types cannot fill makes a call of no helper.
	if errors.As(err, &no) && !strings.Contains(err.Error(), "CO-RE") {
		return false, fmt.Errorf("%v", no)
	}
	return false, nil
}

// release is the running kernel's.
func release() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}
