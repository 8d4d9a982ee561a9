package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
)

// marker is the file by which the folder of a kept demo is known, so that no other folder is ever removed.
const marker = "kept-demo"

var errKept = errors.New("a kept demo is there already")

// keptDir is the folder that was asked for, or the one in the user's cache.
func keptDir(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a folder for the demo: %w", err)
	}
	return filepath.Join(cache, "sysdig-metrics-operator", "demo"), nil
}

// claim makes the folder of a demo that is kept. It has to be new or empty.
func claim(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the demo's folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the demo's folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() == marker {
			return fmt.Errorf("%w, in %s", errKept, dir)
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: choose a new folder", dir)
	}
	// Only the first of two demos that start at once can make the file.
	f, err := os.OpenFile(filepath.Join(dir, marker), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w, in %s", errKept, dir)
	}
	if err != nil {
		return fmt.Errorf("claiming the demo's folder: %w", err)
	}
	return f.Close()
}

// release ends a kept demo, from any process, and removes its folder.
func release(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
		return fmt.Errorf("no demo is kept in %s: %w", dir, err)
	}
	// A demo that was killed before its first process has none to end.
	if err := cluster.StopDir(ctx, dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("ending the demo in %s: %w", dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the demo's folder: %w", err)
	}
	return nil
}
