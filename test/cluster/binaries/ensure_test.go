package binaries

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLockFileExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var log strings.Builder
	if _, err := Lock(ctx, path, &log); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second lock gives %v, want a deadline", err)
	}
	if !strings.Contains(log.String(), "waiting") {
		t.Errorf("the log %q does not tell of the wait", log.String())
	}
	unlock()
	unlock, err = Lock(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
