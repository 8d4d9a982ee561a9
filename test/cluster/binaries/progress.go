package binaries

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// remaining knows what a build has to compile, and estimates when it ends: compiling takes about as long as there is source.
// Its methods may be called from several goroutines.
type remaining struct {
	started time.Time

	mu         sync.Mutex
	bytes      map[string]int64 // source of packages that were not begun yet, by import path
	begun, all int64            // bytes
	count      int              // packages in all
}

func newRemaining(started time.Time, bytes map[string]int64) *remaining {
	r := &remaining{started: started, bytes: bytes, count: len(bytes)}
	for _, n := range bytes {
		r.all += n
	}
	return r
}

// began notes a line that go build printed, and tells whether it was the name of a package.
func (r *remaining) began(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.bytes[line]
	delete(r.bytes, line)
	r.begun += n
	return ok
}

// progress says how far the build is.
func (r *remaining) progress(now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	so := now.Sub(r.started)
	if len(r.bytes) == 0 {
		return fmt.Sprintf("  compiled; linking (%s so far)", so.Round(time.Second))
	}
	text := fmt.Sprintf("  %d of %d packages, %s so far", r.count-len(r.bytes), r.count, so.Round(time.Second))
	if part := float64(r.begun) / float64(r.all); part >= 0.03 {
		left := time.Duration(float64(so) * (1 - part) / part)
		text += fmt.Sprintf(", about %s left", max(left, time.Second).Round(10*time.Second))
	}
	return text
}

// toCompile lists the packages that a build has to compile; those that the build cache holds are none of them.
func toCompile(ctx context.Context, module string, pkgs []string) (*remaining, error) {
	text, err := goCommand(ctx, module, append([]string{"list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}\t{{.Dir}}\t{{join .GoFiles \"\t\"}}{{end}}"}, pkgs...)...)
	if err != nil {
		return nil, fmt.Errorf("list what has to be compiled: %w", err)
	}
	bytes := map[string]int64{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(fields) < 3 {
			continue
		}
		bytes[fields[0]] = 0
		for _, file := range fields[2:] {
			if info, err := os.Stat(filepath.Join(fields[1], file)); err == nil {
				bytes[fields[0]] += info.Size()
			}
		}
	}
	return newRemaining(time.Now(), bytes), nil
}
