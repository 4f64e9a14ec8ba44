package uml

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/cache"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// capturedForm is the version of the files that Captured keeps; raise it if Translation
// changes.
const capturedForm = 1

// capturedTimeout is the driver's time limit for all programs.
const capturedTimeout = 10 * time.Minute

// Captured returns the translations of programs by the nfp driver of a release, one of
// Versions, as Translate does, from the user's cache if possible. The driver's output does not
// depend on our compiler, so a second measurement of the same programs boots nothing. A
// refusal for lack of a resource is returned and not kept: it is of the machine's load.
// Captured builds the kernel and the guest's program if they are missing. say, if not
// nil, is called with one line for each slow step.
func Captured(ctx context.Context, release string, profile *firmware.Profile, programs []*code.Code, say func(string)) ([]Translation, error) {
	if say == nil {
		say = func(string) {}
	}
	kernel, err := Build(ctx, release, say)
	if err != nil {
		return nil, err
	}
	dir, err := cache.Dir()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "captured", filepath.Base(filepath.Dir(kernel)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	all := make([]Translation, len(programs))
	files := make([]string, len(programs))
	var missing []int
	for i, c := range programs {
		key, err := capturedKey(profile, c)
		if err != nil {
			return nil, err
		}
		files[i] = filepath.Join(dir, key+".json")
		kept, err := recall(files[i])
		if err != nil {
			return nil, err
		}
		if kept == nil {
			missing = append(missing, i)
			continue
		}
		all[i] = *kept
	}
	if len(missing) == 0 {
		return all, nil
	}
	say(fmt.Sprintf("booting User Mode Linux to translate %d programs", len(missing)))
	var list []*code.Code
	for _, i := range missing {
		list = append(list, programs[i])
	}
	fresh, err := translateFresh(ctx, kernel, profile, list)
	if err != nil {
		return nil, err
	}
	for k, i := range missing {
		all[i] = fresh[k]
		if err := keep(files[i], &fresh[k]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// translateFresh builds the guest's program, which has the driver translate the
// programs.
func translateFresh(ctx context.Context, kernel string, profile *firmware.Profile, programs []*code.Code) ([]Translation, error) {
	dir, err := os.MkdirTemp("", "nfpkit-init-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	init := filepath.Join(dir, "init")
	if err := BuildInit(ctx, GuestPackage, init); err != nil {
		return nil, fmt.Errorf("the guest's program is built by go in a checkout of nfpkit: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, capturedTimeout)
	defer cancel()
	return Translate(ctx, &TranslateOptions{Kernel: kernel, Init: init, Firmware: profile}, programs)
}

// capturedKey is a digest of everything besides the kernel on which the
// translation depends: the program with its maps, and the card's firmware as the
// driver sees it.
func capturedKey(profile *firmware.Profile, c *code.Code) (string, error) {
	src, err := source(c)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal([]any{capturedForm, src, profile, driver.EncodeCaps(profile)})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))[:32], nil
}

// scarce reports whether a program was refused for lack of a resource, so that another
// attempt may succeed. If the driver itself gave a reason, such as a map of too many
// elements, it gives that again, whatever the error's number.
func (t *Translation) scarce() bool {
	if strings.Contains(t.Refused, "[nfp] ") || strings.Contains(t.Refused, "NFP net bpf: ") {
		return false
	}
	lacks := []syscall.Errno{
		syscall.ENOMEM, syscall.ENOSPC, syscall.EAGAIN, syscall.EINTR, syscall.EBUSY, syscall.EMFILE, syscall.ENFILE, syscall.ETIMEDOUT,
	}
	return slices.ContainsFunc(lacks, func(e syscall.Errno) bool { return strings.Contains(t.Refused+":", ": "+e.Error()+":") })
}

// recall returns the translation that keep wrote, nil if there is none.
func recall(path string) (*Translation, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &Translation{}
	if err := json.Unmarshal(text, t); err != nil {
		return nil, fmt.Errorf("%s: %w (remove it)", path, err)
	}
	if t.scarce() { // of a version that kept these
		return nil, nil
	}
	return t, nil
}

// keep writes a file atomically, since other processes may write the same one. It does
// not keep what a lack of resources caused.
func keep(path string, t *Translation) error {
	if t.scarce() {
		return nil
	}
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return err
	}
	return os.Rename(f.Name(), path)
}
