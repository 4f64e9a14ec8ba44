package offload

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// journalLocks holds locks on bytes of a file next to the journal: byte 0 for the
// journal, one for each deployment. Open-file-description locks end with the process
// in all cases, exclude threads as well as processes, and can be queried without being
// taken.
type journalLocks struct{ file *os.File }

// journalByte is the lock of the journal itself.
const journalByte = 0

// lockByte returns a deployment's byte. If two names share a byte, they only wait for
// each other.
func lockByte(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return int64(h.Sum64()>>2) + 1
}

// openLocks opens the file, and creates it if take is set.
func openLocks(path string, take bool) (*journalLocks, error) {
	mode := os.O_RDONLY
	if take {
		mode = os.O_RDWR | os.O_CREATE
	}
	f, err := os.OpenFile(path+".lock", mode|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if !take && errors.Is(err, fs.ErrNotExist) {
		return &journalLocks{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &journalLocks{f}, nil
}

func (l *journalLocks) control(cmd int, kind int16, at int64) (int16, error) {
	k := unix.Flock_t{Type: kind, Start: at, Len: 1}
	for {
		err := unix.FcntlFlock(l.file.Fd(), cmd, &k)
		if !errors.Is(err, unix.EINTR) {
			return k.Type, err
		}
	}
}

// try takes a lock and reports whether it was free.
func (l *journalLocks) try(at int64) (bool, error) {
	_, err := l.control(unix.F_OFD_SETLK, unix.F_WRLCK, at)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

// drop releases a lock.
func (l *journalLocks) drop(at int64) { l.control(unix.F_OFD_SETLK, unix.F_UNLCK, at) }

// taken reports whether another owner holds a lock.
func (l *journalLocks) taken(at int64) bool {
	if l.file == nil {
		return false
	}
	kind, err := l.control(unix.F_OFD_GETLK, unix.F_WRLCK, at)
	return err == nil && kind != unix.F_UNLCK
}

// close releases all locks.
func (l *journalLocks) close() {
	if l.file != nil {
		l.file.Close()
	}
}

// whyDenied names the owner of a file, or of the directory that hides it, and the user
// of this process.
func whyDenied(path string) string {
	what := "it"
	var s unix.Stat_t
	for unix.Stat(path, &s) != nil && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		what = "directory " + path
	}
	who := fmt.Sprintf("uid %d", os.Geteuid())
	if os.Geteuid() == 0 {
		who += " without the capability to pass over modes"
	}
	return fmt.Sprintf("permission denied: %s belongs to uid %d and has mode %04o, this process runs as %s", what, s.Uid, s.Mode&0o7777, who)
}

// heldByV1 reports whether a program that writes journals of version 1 has the file
// open.
func heldByV1(f *os.File) bool {
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		unix.Flock(int(f.Fd()), unix.LOCK_UN)
	}
	return errors.Is(err, unix.EWOULDBLOCK)
}
