package pods

import (
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/labelled"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// retention is how long it is remembered that a selector selected a pod, and how long a selector is followed that nobody asks about:
	// the longest window of a query plus the longest lag.
	retention = 70 * time.Minute
	// maxFollowed is how many selectors of a namespace are followed: twice the bindings that a namespace may have by default, since one
	// binding may be about many Services. The one that was asked about longest ago makes room.
	maxFollowed = 2000
	// maxDepartures is how often it is remembered, in a namespace, that one of its selectors selected a pod, which takes some 100 bytes.
	// A rollout of 1,000 pods of one Service takes 1,000. What is longest ago makes room.
	maxDepartures = 50_000
	// maxGone is how many of the last labels that pods of a namespace have lost are remembered, for selectors that are not followed yet.
	maxGone = 256
)

// gone are labels that a pod has no more: it has others, or has ended.
type gone struct {
	name   string
	labels *labelled.Set
	until  time.Time
}

// followed is a selector that somebody asks about, and the pods that it does not select any more.
type followed struct {
	selector labels.Selector
	// left are those pods and until when it selected them.
	left map[string]time.Time
	// blind is until when pods may have left that nobody remembers.
	blind time.Time
	// asked is when somebody asked last, in Unix nanoseconds.
	asked atomic.Int64
}

// history is what is remembered of the pods of a namespace that were other pods. Only changes that move a pod out of a selector that
// is followed take memory for long, whatever else its labels do.
type history struct {
	followed map[string]*followed // by the text of the selector
	// departures is how many pods have left all selectors together.
	departures int
	// gone are in the order of time.
	gone []gone
	// blind is until when labels were lost that are not in gone any more.
	blind time.Time
}

// follow begins to follow a selector, with what is remembered of labels that are gone.
func (h *history) follow(text string, selector labels.Selector, now time.Time) *followed {
	if len(h.followed) >= maxFollowed {
		h.unfollow(h.longestAgo())
	}
	f := &followed{selector: selector, left: map[string]time.Time{}, blind: h.blind}
	f.asked.Store(now.UnixNano())
	h.followed[text] = f
	for _, g := range h.gone {
		switch {
		case g.labels.Selects(selector):
			h.leave(f, g.name, g.until)
		case !g.labels.Knows(selector):
			f.blind = g.until
		}
	}
	return f
}

func (h *history) longestAgo() (oldest string) {
	var least int64
	for text, f := range h.followed {
		if asked := f.asked.Load(); oldest == "" || asked < least {
			oldest, least = text, asked
		}
	}
	return oldest
}

func (h *history) unfollow(text string) {
	h.departures -= len(h.followed[text].left)
	delete(h.followed, text)
}

// lose notes that a pod has other labels from now on; nil when it has ended.
func (h *history) lose(name string, was, is *labelled.Set, now time.Time) {
	for _, f := range h.followed {
		switch {
		case is != nil && is.Selects(f.selector): // it is there
		case was.Selects(f.selector):
			h.leave(f, name, now)
		case !was.Knows(f.selector):
			f.blind = now
		}
	}
	if h.gone = append(h.gone, gone{name, was, now}); len(h.gone) > maxGone {
		h.blind = h.gone[0].until
		h.gone = append(h.gone[:0], h.gone[1:]...)
	}
	for keep := retention / 2; h.departures > maxDepartures && keep > 0; keep /= 2 {
		h.forget(now.Add(-keep))
	}
}

// leave notes that a selector selected a pod until a time.
func (h *history) leave(f *followed, name string, until time.Time) {
	if _, again := f.left[name]; !again {
		h.departures++
	}
	f.left[name] = until
}

// forget drops what has left before a time, or then.
func (h *history) forget(before time.Time) {
	for _, f := range h.followed {
		for name, until := range f.left {
			if !until.After(before) {
				delete(f.left, name)
				h.departures--
				f.blind = latest(f.blind, until)
			}
		}
	}
}

// sweep drops what no window reaches any more.
func (h *history) sweep(now time.Time) {
	before := now.Add(-retention - 1)
	h.forget(before)
	for len(h.gone) > 0 && !h.gone[0].until.After(before) {
		h.blind, h.gone = h.gone[0].until, h.gone[1:]
	}
	for text, f := range h.followed {
		if f.asked.Load() < before.UnixNano() {
			h.unfollow(text)
		}
	}
}

// empty tells whether nothing is remembered.
func (h *history) empty() bool { return len(h.followed)+len(h.gone) == 0 }

// since lists the pods that have left a selector since a time.
func (f *followed) since(from time.Time) (names []string) {
	for name, until := range f.left {
		if !until.Before(from) {
			names = append(names, name)
		}
	}
	return names
}

// unknown is why pods of a Service may be missing that have left since a time; nil when all are known.
func (f *followed) unknown(namespace, selector string, from time.Time) *metric.Failure {
	if f.blind.IsZero() || f.blind.Before(from) {
		return nil
	}
	return metric.Failf(metric.Partial,
		"so many pods of namespace %s came, went or changed their labels that it is not known which of them %q selected before %s; it is known when the window begins after that, so use a shorter window, or fewer changes of labels",
		namespace, short(selector), f.blind.UTC().Format(time.TimeOnly))
}

// shown is how many bytes of a text a message shows.
const shown = 100

func short(text string) string {
	if len(text) <= shown {
		return text
	}
	return text[:shown] + "…"
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
