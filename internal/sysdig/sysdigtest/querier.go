package sysdigtest

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// querier implements [storage.Querier] on a view.
type querier struct {
	view       view
	mint, maxt int64
}

var _ storage.Querier = (*querier)(nil)

// Select implements [storage.Querier].
func (q *querier) Select(_ context.Context, sortSeries bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
	}
	found := q.view.match(mint, maxt, matchers)
	if sortSeries {
		slices.SortFunc(found, func(a, b selected) int { return labels.Compare(a.lset, b.lset) })
	}
	return &seriesSet{found: found, nan: q.view.nan, at: -1}
}

// LabelValues implements [storage.LabelQuerier].
func (q *querier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values := map[string]struct{}{}
	for _, s := range q.view.match(q.mint, q.maxt, matchers) {
		if v := s.lset.Get(name); v != "" {
			values[v] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(values)), nil, nil
}

// LabelNames implements [storage.LabelQuerier].
func (q *querier) LabelNames(_ context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names := map[string]struct{}{}
	for _, s := range q.view.match(q.mint, q.maxt, matchers) {
		s.lset.Range(func(l labels.Label) { names[l.Name] = struct{}{} })
	}
	return slices.Sorted(maps.Keys(names)), nil, nil
}

// Close implements [storage.LabelQuerier].
func (*querier) Close() error { return nil }

type seriesSet struct {
	found []selected
	nan   bool
	at    int
}

func (s *seriesSet) Next() bool {
	s.at++
	return s.at < len(s.found)
}

func (s *seriesSet) At() storage.Series {
	sel := s.found[s.at]
	return &storage.SeriesEntry{
		Lset: sel.lset,
		SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
			return storage.NewListSeriesIterator(samples{sel.points, s.nan})
		},
	}
}

func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// samples implements [storage.Samples] on the points of one series.
type samples struct {
	points []point
	nan    bool
}

func (s samples) Len() int { return len(s.points) }

func (s samples) Get(i int) chunks.Sample {
	if s.nan {
		return &point{s.points[i].t, math.NaN()}
	}
	return &s.points[i]
}

// The methods of point implement [chunks.Sample]. The store holds no histograms and no start times.

func (p *point) T() int64                    { return p.t }
func (*point) ST() int64                     { return 0 }
func (p *point) F() float64                  { return p.v }
func (*point) H() *histogram.Histogram       { return nil }
func (*point) FH() *histogram.FloatHistogram { return nil }
func (*point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p *point) Copy() chunks.Sample         { return &point{p.t, p.v} }
