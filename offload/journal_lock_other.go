//go:build !linux

package offload

import "os"

// journalLocks does not lock: cards are managed on Linux only, and a simulated card
// belongs to one process, which has to manage it from one goroutine.
type journalLocks struct{}

const journalByte = 0

func lockByte(string) int64                         { return 1 }
func openLocks(string, bool) (*journalLocks, error) { return &journalLocks{}, nil }
func (l *journalLocks) try(int64) (bool, error)     { return true, nil }
func (l *journalLocks) drop(int64)                  {}
func (l *journalLocks) taken(int64) bool            { return false }
func (l *journalLocks) close()                      {}
func whyDenied(string) string                       { return "permission denied" }
func heldByV1(*os.File) bool                        { return false }
