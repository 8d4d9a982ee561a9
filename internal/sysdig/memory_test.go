package sysdig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// clientWith is a client that takes its part of a memory.
func clientWith(t *testing.T, m *Memory, base string, timeout time.Duration) *Client {
	t.Helper()
	address, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(Config{QueryURL: address, DataURL: address, Token: "token", Timeout: timeout, Memory: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// whole tells whether nothing of a memory is taken, and takes nothing itself.
func (m *Memory) whole() bool {
	if !m.pool.TryAcquire(m.most) {
		return false
	}
	m.pool.Release(m.most)
	if !m.last.TryAcquire(1) {
		return false
	}
	m.last.Release(1)
	return true
}

const late = 2 * time.Minute

// TestWhatAnswersAreSaidToTakeIsWhatTheyTake holds the estimates against the heap.
func TestWhatAnswersAreSaidToTakeIsWhatTheyTake(t *testing.T) {
	vector := func(labels, length int) []byte {
		var body bytes.Buffer
		body.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
		for i := range 100_000 / (labels + 4) {
			if i > 0 {
				body.WriteByte(',')
			}
			body.WriteString(`{"metric":{`)
			for l := range labels {
				fmt.Fprintf(&body, `"label_%d":"%d",`, l, i%(l+1))
			}
			fmt.Fprintf(&body, `"pod":"%s%d"},"value":[1,"1"]}`, strings.Repeat("x", length), i)
		}
		body.WriteString(`]}}`)
		return body.Bytes()
	}
	data := func() []byte {
		var body bytes.Buffer
		body.WriteString(`{"start":1,"end":2,"data":[`)
		for i := range 20_000 {
			fmt.Fprintf(&body, `{"t":%d,"d":["shop","web-%d",1]},`, i%10, i)
		}
		body.WriteString(`{"t":1,"d":["a","b",1]}]}`)
		return body.Bytes()
	}
	q := twoByOne(time.Second)
	q.To = 100_000
	for name, test := range map[string]struct {
		body []byte
		read func(*stream) (any, error)
	}{
		"one label":           {vector(0, 10), func(s *stream) (any, error) { return decodeAnswer(s) }},
		"4 labels":            {vector(3, 10), func(s *stream) (any, error) { return decodeAnswer(s) }},
		"8 labels":            {vector(7, 10), func(s *stream) (any, error) { return decodeAnswer(s) }},
		"9 labels":            {vector(8, 10), func(s *stream) (any, error) { return decodeAnswer(s) }},
		"15 labels":           {vector(14, 10), func(s *stream) (any, error) { return decodeAnswer(s) }},
		"100 labels":          {vector(99, 10), func(s *stream) (any, error) { return decodeAnswer(s) }},
		"4 labels, some long": {vector(3, 200), func(s *stream) (any, error) { return decodeAnswer(s) }},
		"the data API":        {data(), func(s *stream) (any, error) { return decodeData(s, q) }},
	} {
		t.Run(name, func(t *testing.T) {
			said := 0
			from := newStream(bytes.NewReader(test.body), func(bytes int) error { said += bytes; return nil })
			before := heap()
			answer, err := test.read(from)
			if err != nil {
				t.Fatal(err)
			}
			took := int(heap() - before)
			runtime.KeepAlive(answer)
			runtime.KeepAlive(test.body)
			t.Logf("said %d KiB, took %d KiB", said>>10, took>>10)
			if said < took*9/10 || said > took*5/2 {
				t.Errorf("it is said to take %d KiB and takes %d KiB", said>>10, took>>10)
			}
		})
	}
}

// heap is how much is in use, in bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestOneClientLeavesMemoryToTheOthers takes all that one can get.
func TestOneClientLeavesMemoryToTheOthers(t *testing.T) {
	m := NewMemory(64 * step)
	greedy, modest := clientWith(t, m, "https://a", late), clientWith(t, m, "https://b", late)
	held, release := greedy.share(t.Context())
	if err := held.take(t.Context(), 32*step); err != nil {
		t.Fatal(err)
	}
	if !held.last {
		t.Error("one answer took more than the part of a client without the last resort")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	small, releaseSmall := greedy.share(t.Context())
	if err := small.take(ctx, free); err != nil {
		t.Errorf("a small answer: %v", err)
	}
	if err := small.take(ctx, step); metric.AsFailure(err).Reason != metric.Unavailable {
		t.Errorf("a large answer, beside one that has all: %v", err)
	}
	other, releaseOther := modest.share(t.Context())
	if err := other.take(ctx, 16*step); err != nil {
		t.Errorf("an answer to another client: %v", err)
	}
	if err := other.take(ctx, 100*step); metric.AsFailure(err).Reason != metric.Truncated {
		t.Errorf("an answer that is larger than all: %v", err)
	}
	release()
	releaseSmall()
	releaseOther()
	releaseOther() // once more does nothing
	if !m.whole() {
		t.Error("something was not given back")
	}
}

// TestWhoWaitsForMemoryIsNext lets answers wait behind one that has the last resort.
func TestWhoWaitsForMemoryIsNext(t *testing.T) {
	m := NewMemory(8 * step)
	c := clientWith(t, m, "https://a", late)
	first, release := c.share(t.Context())
	if err := first.take(t.Context(), 4*step); err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	for range 20 {
		served.Go(func() {
			s, release := c.share(t.Context())
			defer release()
			ctx, cancel := context.WithTimeout(t.Context(), late)
			defer cancel()
			if err := s.take(ctx, 3*step); err != nil {
				t.Error(err)
			}
		})
	}
	release()
	served.Wait()
	if !m.whole() {
		t.Error("something was not given back")
	}
}

// TestTheSumOfAllAnswersHasABound has many answers of many clients grow at a time. None waits for ever.
func TestTheSumOfAllAnswersHasABound(t *testing.T) {
	const size, clients, answers = 64 * step, 5, 20
	m := NewMemory(size)
	var now, most atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		c := clientWith(t, m, "https://a", late)
		for j := range answers {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(j)))
				ctx, cancel := context.WithTimeout(t.Context(), late)
				defer cancel()
				s, release := c.share(ctx)
				mine := int64(0)
				for range random.IntN(60) {
					bytes := random.Int64N(step)
					if err := s.take(ctx, bytes); err != nil {
						if metric.AsFailure(err).Reason != metric.Truncated {
							t.Error(err)
						}
						break
					}
					mine += bytes
					for sum := now.Add(bytes); ; {
						if was := most.Load(); sum <= was || most.CompareAndSwap(was, sum) {
							break
						}
					}
					runtime.Gosched()
				}
				now.Add(-mine)
				release()
			})
		}
	}
	all.Wait()
	if got := most.Load(); got > size+clients*answers*free || got < step {
		t.Errorf("%d MiB were in use at a time, of %d MiB", got>>20, size>>20)
	}
	if !m.whole() {
		t.Error("something was not given back")
	}
}

// TestMemoryIsGivenBack asks for answers of all kinds, alone and held together.
func TestMemoryIsGivenBack(t *testing.T) {
	large := workloads(20_000)
	for name, body := range map[string][]byte{"an answer": large, "half of an answer": large[:len(large)/2], "no answer": []byte("{}")} {
		m := NewMemory(256 * step)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
		c := clientWith(t, m, s.URL, late)
		ctx, release := Hold(t.Context())
		if _, err := c.Query(ctx, "x", time.Unix(1, 0)); (err == nil) != (name == "an answer") {
			t.Errorf("%s: %v", name, err)
		}
		if m.whole() != (name == "no answer") {
			t.Errorf("%s is not held", name)
		}
		release()
		if !m.whole() {
			t.Errorf("%s is held after it was released", name)
		}
		_, _ = c.Query(t.Context(), "x", time.Unix(1, 0))
		if !m.whole() {
			t.Errorf("%s is held though nobody asked for it", name)
		}
		s.Close()
	}
}

// TestAnswersThatAreHeldTogetherAreOne adds up what they take.
func TestAnswersThatAreHeldTogetherAreOne(t *testing.T) {
	large := workloads(20_000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(large) }))
	defer s.Close()
	c := clientWith(t, NewMemory(48*step), s.URL, late)
	ctx, release := Hold(t.Context())
	defer release()
	if _, err := c.Query(ctx, "x", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 5 {
		_, err = c.Query(ctx, "x", time.Unix(1, 0))
	}
	if f := metric.AsFailure(err); f.Reason != metric.Truncated || !strings.Contains(f.Message, "24 MiB of memory") {
		t.Errorf("got %v", err)
	}
}

// endless goes on and on, and cancels after a while.
type endless struct {
	reads  int
	cancel func()
}

func (e *endless) Read(p []byte) (int, error) {
	if e.reads++; e.reads == 10 {
		e.cancel()
	}
	return copy(p, bytes.Repeat([]byte(" "), len(p))), nil
}

// TestDecodingEndsWithTheContext also of what has come already.
func TestDecodingEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	from := &endless{cancel: cancel}
	_, err := decodeAnswer(newStream(&body{ctx: ctx, from: from}, nil))
	if !errors.Is(err, context.Canceled) || from.reads != 10 {
		t.Errorf("got %v after %d reads, want the context's end after 10", err, from.reads)
	}
}

// TestAnEndlessAnswerEndsAtTheDeadline comes in pieces that are each in time.
func TestAnEndlessAnswerEndsAtTheDeadline(t *testing.T) {
	for name, piece := range map[string]string{"blanks": " ", "rows": `{"metric":{"a":"b"},"value":[1,"1"]},`} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[`))
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				<-tick.C
				_, _ = w.Write([]byte(piece))
				_ = http.NewResponseController(w).Flush()
			}
		}))
		c := clientWith(t, NewMemory(64*step), s.URL, 300*time.Millisecond)
		_, err := c.Query(t.Context(), "x", time.Unix(1, 0))
		if f := metric.AsFailure(err); f.Reason != metric.Unavailable || !strings.Contains(f.Message, "in time") {
			t.Errorf("%s: got %v", name, err)
		}
		s.Close()
	}
}
