package sysdig

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// defaultMemory is a quarter of 512 MiB, the operator's limit in its manifests, in bytes.
	defaultMemory = 128 << 20
	// free is what each answer may take without asking, in bytes: some 150 series. So small answers never wait.
	free = 64 << 10
	// step is how much of the Memory an answer takes at a time, in bytes.
	step = 1 << 20
)

// Memory is what the answers of all clients may take at a time, from when they are decoded until they are done with. It bounds the sum:
//
//   - Answers share one half of it, the pool. Those of one client may take half of that, so that one Sysdig leaves some to the others.
//   - When that is used up, an answer waits for the last resort, until the end of its context. It is the other half, and of one answer at
//     a time, in the order in which they come. No answer takes more than that.
//
// So an answer that holds memory never waits for one that waits for it: who has the last resort needs no more. And a large answer is
// not let in before others for ever, since whoever waits is next.
//
// What is counted are estimates, which a test holds against what the runtime says. The window of an answer, and what is free, come on
// top of it: some 100 KiB for each of the few answers of each client that are under way.
type Memory struct {
	most int64
	pool *semaphore.Weighted
	last *semaphore.Weighted
}

// NewMemory returns a Memory of a size in bytes.
func NewMemory(bytes int64) *Memory {
	half := max(bytes/2, 4*step)
	return &Memory{most: half, pool: semaphore.NewWeighted(half), last: semaphore.NewWeighted(1)}
}

// part is what one client may take of the pool.
func (m *Memory) part() int64 { return m.most / 2 }

// share is what an answer, or several that are held together, have taken. One goroutine uses it at a time.
type share struct {
	used, granted int64
	// pooled is what of granted is of the pool, and last set when the last resort is held.
	pooled int64
	last   bool
	of     *Client
}

type heldShare struct{}

// Hold makes the answers that are asked for with a context, one after the other, one in memory: what they take is given back by
// release. That of other answers is when they are decoded.
func Hold(ctx context.Context) (held context.Context, release func()) {
	s := &share{}
	return context.WithValue(ctx, heldShare{}, s), s.release
}

// share is what an answer that is asked for with a context takes from.
func (c *Client) share(ctx context.Context) (of *share, release func()) {
	if held, ok := ctx.Value(heldShare{}).(*share); ok {
		held.begin(c)
		return held, func() {}
	}
	s := &share{}
	s.begin(c)
	return s, s.release
}

func (s *share) begin(c *Client) {
	if s.of == nil {
		s.of = c
	}
	s.granted += free
}

// take takes some more memory, in bytes. It waits for it until the context ends.
func (s *share) take(ctx context.Context, bytes int64) error {
	s.used += bytes
	memory := s.of.config.Memory
	if s.used > memory.most {
		return metric.Failf(metric.Truncated, "the answer takes more than %d MiB of memory; let the query return fewer series, with fewer or shorter labels, or raise resources.limits.memory of the operator", memory.most>>20)
	}
	for s.used > s.granted && !s.last {
		if s.grow() {
			continue
		}
		if err := memory.last.Acquire(ctx, 1); err != nil {
			return metric.Failf(metric.Unavailable, "the answers of other queries left no memory for this one in time; let queries return fewer series, or raise resources.limits.memory of the operator")
		}
		s.last = true
	}
	return nil
}

// grow takes a step of the pool, if there is one.
func (s *share) grow() bool {
	if !s.of.part.TryAcquire(step) {
		return false
	}
	if !s.of.config.Memory.pool.TryAcquire(step) {
		s.of.part.Release(step)
		return false
	}
	s.pooled += step
	s.granted += step
	return true
}

// release gives all of it back.
func (s *share) release() {
	if s.of == nil {
		return
	}
	s.of.part.Release(s.pooled)
	s.of.config.Memory.pool.Release(s.pooled)
	if s.last {
		s.of.config.Memory.last.Release(1)
	}
	*s = share{}
}
