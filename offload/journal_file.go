package offload

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Beside the journal lie PATH.last, a copy of it as it was after the last operation that
// came to its end, PATH.lock, and, after a rebuild or a change of version, the file as it
// was before.

// copyPath is the copy's file.
func copyPath(path string) string { return path + ".last" }

// journalError wraps what went wrong with the journal's file.
func journalError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	e := &Error{Op: op + " journal", Object: path, Reason: "journal", Msg: oneLine(err), Err: err}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Reason, e.Msg, e.Err = "journal-permission", whyDenied(path), nil
	case errors.Is(err, syscall.EROFS):
		e.Reason, e.Msg, e.Err = "journal-read-only", "the file system is mounted read-only", nil
	case errors.Is(err, syscall.ENOSPC):
		e.Msg, e.Err = "no space is left on the file system; the state before is kept", nil
	}
	return e
}

// damaged is the error of a file that is not as it was written.
func damaged(path, format string, args ...any) error {
	return &Error{Op: "read journal", Object: path, Reason: "journal-damaged", Msg: fmt.Sprintf(format, args...)}
}

// ReadJournal reads and checks a journal without waiting for anyone: writers replace the
// file in one step. One that is not there yet is a Snapshot of version 0. A file that is
// cut, changed or older than its copy is an error of reason journal-damaged.
func ReadJournal(path string) (*Snapshot, error) {
	s, err := readJournalFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	// A copy that cannot be read is of no use, but no reason to stop.
	last := copySequence(path)
	switch {
	case missing && last > 0:
		return nil, damaged(path, "it is not there, but its copy, write %d, is", last)
	case missing:
		return &Snapshot{Records: map[string]*Record{}}, nil
	case last > s.Sequence:
		return nil, damaged(path, "it is write %d, and its copy is write %d: an older file was put in its place", s.Sequence, last)
	}
	return s, nil
}

// copySequence is the sequence number of the copy; 0 if it is missing or damaged.
func copySequence(path string) uint64 {
	data, err := readPrivate(copyPath(path))
	if err != nil {
		return 0
	}
	s, _, err := journalHeader(data)
	if err != nil {
		return 0
	}
	return s.Sequence
}

// stampForm is the form of times: RFC 3339 in UTC.
const stampForm = "2006-01-02T15:04:05Z"

// readJournalFile reads one file; of one that is not there, the error is fs.ErrNotExist.
func readJournalFile(path string) (*Snapshot, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	s, err := decodeJournal(data)
	var newer errNewer
	switch {
	case errors.As(err, &newer):
		return nil, &Error{Op: "read journal", Object: path, Reason: "journal-newer", Msg: newer.Error()}
	case err != nil:
		return nil, damaged(path, "%s", oneLine(err))
	}
	return s, nil
}

// readPrivate reads a regular file that only its owner may use.
func readPrivate(path string) ([]byte, error) {
	bad := func(format string, args ...any) ([]byte, error) {
		return nil, &Error{Op: "read journal", Object: path, Reason: "journal", Msg: fmt.Sprintf(format, args...)}
	}
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, journalError("read", path, err)
	}
	switch {
	case before.IsDir():
		return bad("it is a directory, not a file")
	case !before.Mode().IsRegular():
		return bad("it is no regular file")
	case before.Mode().Perm()&0o077 != 0:
		return bad("its mode is %04o, it must be 0600", before.Mode().Perm())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, journalError("read", path, err)
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !now.Mode().IsRegular() {
		return bad("it is no regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err != nil {
		return nil, journalError("read", path, err)
	}
	if len(data) > maxJournal {
		return nil, damaged(path, "it has more than %d bytes", maxJournal)
	}
	if isV1(data) && heldByV1(f) {
		return nil, &Error{Op: "read journal", Object: path, Reason: "journal-busy", Msg: "an nfpctl of an older version has it open"}
	}
	return data, nil
}

// replaceFile puts a file in the place of another in one step, on the disk when it
// returns. The caller has the journal's lock, so that the new file's name is its own.
func replaceFile(path string, data []byte) error {
	half := path + ".new"
	if err := os.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(half, path)
	}
	if err != nil {
		os.Remove(half)
		return err
	}
	return syncDir(path)
}

// syncDir writes the names in a file's directory to the disk.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems have no such call
		return err
	}
	return nil
}

// write replaces the journal's file by a snapshot. The file of an older version stays
// beside it.
func (s *Snapshot) write(path string, old int) error {
	data, err := s.encode()
	if err != nil {
		return err
	}
	if old > 0 && old < journalVersion {
		if err := os.Link(path, fmt.Sprintf("%s.v%d", path, old)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return replaceFile(path, data)
}

// copyJournal keeps the journal's last good state beside it.
func copyJournal(path string, s *Snapshot) error {
	data, err := s.encode()
	if err != nil {
		return err
	}
	return replaceFile(copyPath(path), data)
}
