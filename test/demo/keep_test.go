package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAFolderIsClaimedOnceAndRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	if err := claim(dir); err != nil {
		t.Fatal(err)
	}
	if err := claim(dir); !errors.Is(err, errKept) {
		t.Errorf("the second claim says %v", err)
	}
	if err := release(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	if err := release(t.Context(), dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the second release says %v", err)
	}
}

func TestAStrangersFolderIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "notes")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := claim(dir); err == nil || errors.Is(err, errKept) {
		t.Errorf("claimed with %v", err)
	}
	if err := release(t.Context(), dir); err == nil {
		t.Error("released")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
