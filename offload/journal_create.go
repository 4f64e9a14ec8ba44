package offload

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// createJournal makes an empty journal that is whole from the moment it has its name: bbolt
// writes a new file in place, and one that was half written when its process was killed
// could never be opened again. Whoever is first of several processes wins.
func createJournal(path string) error {
	half := path + ".new-*"
	if stale, err := filepath.Glob(half); err == nil { // of processes that were killed here
		for _, s := range stale {
			if info, err := os.Stat(s); err == nil && time.Since(info.ModTime()) > time.Minute {
				os.Remove(s)
			}
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(f.Name(), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
