//go:build linux

package difftest

import (
	"bytes"
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

// Programs of the corpus that our verifier accepts, the running kernel's accepts
// too. Programs that the kernel accepts, ours accepts, with two exceptions:
// Features that docs/verifier.md leaves out are counted apart, and at most 2 %
// are listed there with a reason each.
func TestCorpusVerifiers(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the kernel's samples: not in short mode")
	}
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
	dirs := corpusDirs(t)
	doc, err := os.ReadFile("../../docs/verifier.md")
	if err != nil {
		t.Fatal(err)
	}
	var total verdicts
	for _, dir := range dirs {
		objects, err := filepath.Glob(filepath.Join(dir, "*.o"))
		if err != nil || len(objects) == 0 {
			t.Fatalf("no objects in %s: %v", dir, err)
		}
		v := verdicts{kernel: runningKernel(t)}
		for _, file := range objects {
			v.object(t, file)
		}
		v.report(t, dir)
		total.add(&v)
	}
	total.report(t, "all")
	t.Logf("suite: linux verdicts: of %d programs in %d objects, and of %d in odd sections with a type given, check and kernel %s agree but on %d",
		total.both+total.neither+total.feature+len(total.stricter)+len(total.wider), total.objects, total.odd, release(), len(total.linux))
	for _, s := range total.linux {
		name, _, _ := strings.Cut(s, ":")
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/verifier.md does not say why check and the kernel differ for Linux: %s", s)
		}
	}
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
	kernel                 [2]int
	objects, odd           int
	both, neither, feature int
	stricter, wider        []string // object/program: reason
	linux                  []string // what is said for Linux is not the kernel's verdict
	features               map[string]int
}

func (v *verdicts) add(o *verdicts) {
	v.both, v.neither, v.feature = v.both+o.both, v.neither+o.neither, v.feature+o.feature
	v.objects, v.odd = v.objects+o.objects, v.odd+o.odd
	v.linux = append(v.linux, o.linux...)
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
	v.objects++
	odd := oddSections(t, file)
	base := strings.TrimSuffix(filepath.Base(file), ".o")
	for _, name := range obj.Programs {
		if typ := obj.Spec.Programs[name].Type; typ != ebpf.XDP && typ != ebpf.SchedCLS && typ != ebpf.SchedACT {
			continue
		}
		ours := accepts(obj, name)
		accepted, why := kernelAccepts(obj.Spec, name)
		if why != nil || accepted {
			v.forLinux(base, obj, name, accepted, why)
			if o := odd[obj.Spec.Programs[name].Type]; o != nil && plainHook(obj.Spec.Programs[name]) {
				v.odd++
				v.forLinux(base+", odd section", o, name, accepted, why)
			}
		}
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

// forLinux compares what is said for Linux's driver with the kernel's verdict.
func (v *verdicts) forLinux(base string, obj *object.Object, name string, accepted bool, why error) {
	c, err := obj.Code(name)
	if err == nil {
		if _, r := verify.Survey(c, &verify.Options{Linux: true, Kernel: v.kernel}); r != nil {
			err = r
		}
	}
	if (err == nil) == accepted || err != nil && unmodelled(err) {
		return
	}
	said := "accepted"
	if err != nil {
		said = lastLine(err)
	}
	v.linux = append(v.linux, fmt.Sprintf("%s/%s: %s here, the kernel says %v", base, name, said, why))
}

// plainHook reports whether a program's section implies only its type.
func plainHook(p *ebpf.ProgramSpec) bool {
	name := strings.TrimPrefix(p.SectionName, "?")
	return name == "xdp" || name == "tc" || name == "classifier"
}

// oddSections reads the object with its sections renamed so that they imply no type,
// and gives the type as an option instead.
func oddSections(t *testing.T, file string) map[ebpf.ProgramType]*object.Object {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[ebpf.ProgramType]*object.Object{}
	for typ, names := range map[ebpf.ProgramType][]string{ebpf.XDP: {"xdp"}, ebpf.SchedCLS: {"tc", "classifier"}} {
		renamed := bytes.Clone(data)
		for _, name := range names {
			odd := "x" + strings.Repeat("_", len(name)-1)
			for _, before := range []string{"\x00", "\x00?", ".rel"} {
				renamed = bytes.ReplaceAll(renamed, []byte(before+name+"\x00"), []byte(before+odd+"\x00"))
			}
		}
		if bytes.Equal(renamed, data) {
			continue
		}
		path := filepath.Join(t.TempDir(), "odd.o")
		if err := os.WriteFile(path, renamed, 0o644); err != nil {
			t.Fatal(err)
		}
		if o, err := object.Load(path, &object.Options{Type: typ}); err == nil {
			all[typ] = o
		}
	}
	return all
}

// corpusDirs returns the directories with objects to ask both verifiers about: those of the
// kernel's samples and selftests, and those that Debian's xdp-tools and libxdp bring.
func corpusDirs(t *testing.T) []string {
	dir, _, err := BuildCorpus(t.Context())
	if errors.Is(err, ErrNoCorpus) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{dir, filepath.Join(dir, "tc")}
	for _, source := range strings.Fields(os.Getenv("NFPKIT_CORPUS_SOURCES")) {
		more, failed, err := buildCorpusOf(t.Context(), source)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: clang refuses %v", source, failed)
		dirs = append(dirs, more, filepath.Join(more, "tc"))
	}
	if installed, _ := filepath.Glob("/usr/lib/*/bpf/*.o"); len(installed) > 0 {
		dirs = append(dirs, filepath.Dir(installed[0]))
	}
	return dirs
}

func lastLine(err error) string {
	var r *verify.Rejection
	if errors.As(err, &r) {
		q := r.Reasons[0]
		return fmt.Sprintf("pc %d: %s: %s (%s)", q.PC, q.Insn, q.Message, q.Reason)
	}
	return err.Error()
}

// unmodelled reports whether a program was refused for a feature that is left out:
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

// kernelAccepts loads one program. why is nil if it failed for a reason other than the
// verifier's.
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
	// If this kernel's types cannot satisfy a relocation, the instruction becomes a
	// call of an unknown helper.
	if errors.As(err, &no) && !strings.Contains(err.Error(), "CO-RE") {
		return false, fmt.Errorf("%v", no)
	}
	return false, nil
}

// release returns the running kernel's release.
func release() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}
