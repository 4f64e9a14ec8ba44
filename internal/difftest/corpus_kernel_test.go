package difftest

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// What our verifier accepts of the corpus, the kernel's accepts too. The reverse
// does not hold: kernel functions, sockets and maps in maps are not ours to run.
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
	objects, err := filepath.Glob(filepath.Join(dir, "*.o"))
	if err != nil {
		t.Fatal(err)
	}
	var both, neither, kernelOnly int
	for _, file := range objects {
		obj, err := object.Load(file, nil)
		if err != nil {
			continue // TestCorpus says why
		}
		for _, name := range obj.Programs {
			if obj.Spec.Programs[name].Type != ebpf.XDP {
				continue
			}
			ours := accepts(obj, name)
			kernels, known := kernelAccepts(obj.Spec, name)
			switch {
			case !known:
			case ours == nil && kernels:
				both++
			case ours != nil && !kernels:
				neither++
			case kernels:
				kernelOnly++
				t.Logf("only the kernel accepts %s: %v", name, ours)
			default:
				t.Errorf("%s: %s: only we accept it", filepath.Base(file), name)
			}
		}
	}
	t.Logf("suite: corpus: both verifiers accept %d, both refuse %d, only the kernel accepts %d", both, neither, kernelOnly)
}

func accepts(obj *object.Object, name string) error {
	c, err := obj.Code(name)
	if err != nil {
		return err
	}
	_, err = verify.Verify(c, nil)
	return err
}

// kernelAccepts loads one program; known is false where it failed for a reason
// other than its verifier's.
func kernelAccepts(spec *ebpf.CollectionSpec, name string) (accepted, known bool) {
	one := spec.Copy()
	for other := range one.Programs {
		if other != name {
			delete(one.Programs, other)
		}
	}
	coll, err := ebpf.NewCollection(one)
	if err == nil {
		coll.Close()
		return true, true
	}
	var no *ebpf.VerifierError
	return false, errors.As(err, &no)
}
