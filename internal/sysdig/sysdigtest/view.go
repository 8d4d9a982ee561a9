package sysdigtest

import (
	"hash/fnv"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// view is what one caller sees of the store at one moment.
type view struct {
	store *Store
	// oldest and newest bound the visible timestamps, inclusive, in milliseconds.
	oldest, newest int64
	// partial is the fraction of pods that are missing from the bucket that contains newest.
	partial float64
	// visible is the team's scope; nil sees everything.
	visible func(labels.Labels) bool
	// veils cover some points.
	veils []Veil
	// nan replaces every value by NaN.
	nan bool
}

var _ storage.Queryable = view{}

// selected is a series together with the points of it that a caller asked for and may see.
type selected struct {
	lset    labels.Labels
	service string
	points  []point
}

func (s *Store) view() view {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := s.clk.Now()
	return view{
		store:   s,
		oldest:  now.Add(-Retention).UnixMilli(),
		newest:  now.Add(-s.lag).UnixMilli(),
		partial: s.partial,
		veils:   s.veils,
	}
}

// Querier implements [storage.Queryable] as of now.
func (s *Store) Querier(mint, maxt int64) (storage.Querier, error) {
	return s.view().Querier(mint, maxt)
}

// Querier implements [storage.Queryable].
func (v view) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{view: v, mint: mint, maxt: maxt}, nil
}

// match returns the visible series that match all matchers and have points between mint and maxt, both inclusive.
func (v view) match(mint, maxt int64, matchers []*labels.Matcher) []selected {
	mint, maxt = max(mint, v.oldest), min(maxt, v.newest)
	bucket := v.newest - mod(v.newest, Interval.Milliseconds())

	v.store.mu.RLock()
	defer v.store.mu.RUnlock()
	var out []selected
	for _, name := range v.store.names(matchers) {
		for _, ser := range v.store.byName[name] {
			if !matches(ser.lset, matchers) || v.visible != nil && !v.visible(ser.lset) {
				continue
			}
			end := maxt
			if ser.pod != "" && late(ser.pod, v.partial) {
				end = min(end, bucket-1)
			}
			i, _ := search(ser.points, mint)
			j, _ := search(ser.points, end+1)
			if i >= j {
				continue
			}
			if points := v.veiled(ser.lset, ser.points[i:j:j]); len(points) > 0 {
				out = append(out, selected{lset: ser.lset, service: ser.service, points: points})
			}
		}
	}
	return out
}

// names returns the metric names that the matchers on __name__ allow, sorted. The caller holds the lock.
func (s *Store) names(matchers []*labels.Matcher) []string {
	onName := slices.DeleteFunc(slices.Clone(matchers), func(m *labels.Matcher) bool { return m.Name != model.MetricNameLabel })
	for _, m := range onName {
		if m.Type == labels.MatchEqual {
			return []string{m.Value}
		}
	}
	var names []string
	for name := range s.byName {
		if !slices.ContainsFunc(onName, func(m *labels.Matcher) bool { return !m.Matches(name) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func matches(lset labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(lset.Get(m.Name)) {
			return false
		}
	}
	return true
}

// late tells whether the pod belongs to the given fraction of pods that report late.
func late(pod string, fraction float64) bool {
	if fraction <= 0 {
		return false
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(pod))
	// Names of pods differ in few characters: spread that difference over all bits.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x)/math.MaxUint64 < fraction
}

// mod is the non-negative remainder of a divided by b.
func mod(a, b int64) int64 { return ((a % b) + b) % b }
