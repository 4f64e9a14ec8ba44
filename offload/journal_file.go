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

// This file reads and writes the journal's files. Next to the journal are PATH.last, a
// copy of its state after the last completed operation, PATH.lock, and the previous
// file after a rebuild or a change of version.

// copyPath returns the path of the copy.
func copyPath(path string) string { return path + ".last" }

// journalError wraps an error of the journal's file.
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

// damaged returns the error for a damaged file.
func damaged(path, format string, args ...any) error {
	return &Error{Op: "read journal", Object: path, Reason: "journal-damaged", Msg: fmt.Sprintf(format, args...)}
}

// ReadJournal reads and checks a journal without taking its lock: writers replace the
// file atomically. If there is no file yet, it returns a Snapshot of version 0. If the
// file is truncated, changed or older than its copy, the error's reason is
// journal-damaged.
func ReadJournal(path string) (*Snapshot, error) {
	s, err := readJournalFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	// An unreadable copy is ignored.
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

// copySequence returns the sequence number of the copy, or 0 if it is missing or
// damaged.
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

// stampForm is the format of times: RFC 3339 in UTC.
const stampForm = "2006-01-02T15:04:05Z"

// readJournalFile reads one file. The error is fs.ErrNotExist if there is none.
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

// readPrivate reads a regular file to which only its owner has access.
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

// replaceFile replaces a file atomically, and returns after the new one is on the
// disk. The caller holds the journal's lock, so the temporary file's name is not in
// use.
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

// syncDir flushes the directory of a file to the disk.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems do not support this
		return err
	}
	return nil
}

// write replaces the journal's file by a snapshot. It keeps a copy of a file of an
// older version.
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

// copyJournal writes the copy of the journal's last good state.
func copyJournal(path string, s *Snapshot) error {
	data, err := s.encode()
	if err != nil {
		return err
	}
	return replaceFile(copyPath(path), data)
}
