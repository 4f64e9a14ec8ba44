//go:build !linux

package main

import (
	"context"
	"errors"
	"os"
)

func openTap(string) (*os.File, error) { return nil, errors.New("tap devices are Linux's") }

func readTap(context.Context, *os.File, func([]byte)) {}
