package sysdigtest

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"k8s.io/utils/clock"
)

const (
	// Interval is the distance between two points of a series: Sysdig's agent reports every 10 seconds.
	Interval = 10 * time.Second
	// DefaultLag is the time from a point's timestamp until queries see it. Sysdig does not publish its ingestion
	// delay; 20 s lies inside what its users report.
	DefaultLag = 20 * time.Second
	// Retention is how far back queries see points, and about how long they are kept.
	Retention = 30 * time.Minute

	// sweepEvery bounds how often all series are searched for points older than Retention.
	sweepEvery = time.Minute
)

// point is one sample: milliseconds since the epoch and a value.
type point struct {
	t int64
	v float64
}

// series holds the points of one label set in ascending time. The part of points that was handed out to a reader is
// never written again: appending goes behind it, trimming moves the start, and everything else replaces the slice.
type series struct {
	// lset lacks LabelService, which is in service.
	lset    labels.Labels
	key     string
	pod     string
	service string
	points  []point
}

// Store is an in-memory set of time series with an ingestion lag. It implements [storage.Queryable] as of the moment
// each querier is opened, and is safe for concurrent use.
type Store struct {
	clk clock.PassiveClock

	mu       sync.RWMutex
	lag      time.Duration
	partial  float64
	byKey    map[string]*series
	byName   map[string][]*series
	metadata map[string]Metadata
	// metrics and labels are the names that were ever stored: what has no points any more is still known.
	metrics   map[string]struct{}
	labels    map[string]struct{}
	veils     []Veil // replaced as a whole
	lastSweep time.Time
}

var _ storage.Queryable = (*Store)(nil)

// Metadata describes a metric in answers of the metadata endpoint.
type Metadata struct {
	// Type is counter, gauge, histogram, summary or unknown.
	Type string `json:"type"`
	// Help is a sentence about the metric.
	Help string `json:"help"`
	// Unit is Sysdig's unit word, mostly "number".
	Unit string `json:"unit"`
}

// NewStore returns an empty store with [DefaultLag].
func NewStore(clk clock.PassiveClock) *Store {
	return &Store{
		clk:       clk,
		lag:       DefaultLag,
		byKey:     map[string]*series{},
		byName:    map[string][]*series{},
		metadata:  map[string]Metadata{},
		metrics:   map[string]struct{}{},
		labels:    map[string]struct{}{},
		lastSweep: clk.Now(),
	}
}

// SetLag sets the ingestion lag: a point becomes visible when the clock reaches its timestamp plus d.
func (s *Store) SetLag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = d
}

// SetPartialNewest leaves the given fraction (0 to 1) of the pods out of the newest visible bucket. Which pods are left
// out follows from their names. One [Interval] later that bucket is complete and its successor is the partial one.
// Series without a pod label are never left out.
func (s *Store) SetPartialNewest(fraction float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial = fraction
}

// SetMetadata declares the type, help and unit of a metric. A metric without a declaration is a counter when its name
// ends in _total, and otherwise a gauge.
func (s *Store) SetMetadata(name string, m Metadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metadata[name] = m
}

// knowsMetric tells whether the metric was ever stored or declared.
func (s *Store) knowsMetric(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, stored := s.metrics[name]
	_, declared := s.metadata[name]
	return stored || declared
}

// knowsLabel tells whether a series with the label was ever stored.
func (s *Store) knowsLabel(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.labels[name]
	return ok
}

// Horizon returns the timestamp up to which points are visible now.
func (s *Store) Horizon() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.clk.Now().Add(-s.lag)
}

// Append adds one point to the series with the given labels, which must include __name__. A second point with the same
// timestamp replaces the first. Only the classic API shows [LabelService]: series that differ in nothing else are the same
// series, and the Service named last counts.
func (s *Store) Append(lset map[string]string, t time.Time, v float64) {
	s.append(labels.FromMap(lset), point{t.UnixMilli(), v})
}

func (s *Store) append(lset labels.Labels, points ...point) {
	if len(points) == 0 {
		return
	}
	service := lset.Get(LabelService)
	if service != "" {
		lset = labels.NewBuilder(lset).Del(LabelService).Labels()
	}
	key := string(lset.Bytes(nil))
	now := s.clk.Now()

	s.mu.Lock()
	defer s.mu.Unlock()
	ser, ok := s.byKey[key]
	if !ok {
		ser = &series{lset: lset, key: key, pod: lset.Get(LabelPod)}
		s.byKey[key] = ser
		name := lset.Get(model.MetricNameLabel)
		s.byName[name] = append(s.byName[name], ser)
		s.metrics[name] = struct{}{}
		lset.Range(func(l labels.Label) { s.labels[l.Name] = struct{}{} })
	}
	ser.service = service
	for _, p := range points {
		ser.add(p)
	}
	if now.Sub(s.lastSweep) >= sweepEvery {
		s.lastSweep = now
		s.sweep(now.Add(-Retention).UnixMilli())
	}
}

func (s *series) add(p point) {
	n := len(s.points)
	if n == 0 || s.points[n-1].t < p.t {
		s.points = append(s.points, p)
		return
	}
	i, found := search(s.points, p.t)
	next := slices.Clone(s.points)
	if found {
		next[i] = p
	} else {
		next = slices.Insert(next, i, p)
	}
	s.points = next
}

// sweep drops points before oldest, and series without points. The caller holds the lock.
func (s *Store) sweep(oldest int64) {
	for name, all := range s.byName {
		kept := make([]*series, 0, len(all))
		for _, ser := range all {
			i, _ := search(ser.points, oldest)
			ser.points = ser.points[i:]
			if len(ser.points) == 0 {
				delete(s.byKey, ser.key)
				continue
			}
			kept = append(kept, ser)
		}
		if len(kept) == 0 {
			delete(s.byName, name)
			continue
		}
		s.byName[name] = kept
	}
}

// search returns the index of the first point at or after t, and whether that point is at t.
func search(points []point, t int64) (int, bool) {
	return slices.BinarySearchFunc(points, t, func(p point, t int64) int {
		switch {
		case p.t < t:
			return -1
		case p.t > t:
			return 1
		}
		return 0
	})
}
