package sysdigtest

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

func timeAggregations() []string {
	return []string{"avg", "timeAvg", "sum", "min", "max", "rateOfChange"}
}
func groupAggregations() []string { return []string{"avg", "sum", "min", "max"} }

// segment is what the entities with the same keys add up to.
type segment struct {
	keys []string
	// whole is the first value over the whole window, by which segments are sorted.
	whole group
	// buckets has the values of each bucket, in the order of the value columns.
	buckets [][]group
}

// group reduces the entities of a segment.
type group struct {
	n             int
	sum, min, max float64
}

func (g *group) add(v float64) {
	if g.n == 0 {
		g.min, g.max = v, v
	}
	g.n++
	g.sum += v
	// min and max of Go keep NaN.
	g.min, g.max = min(g.min, v), max(g.max, v)
}

// value reduces the group. It is false without entities.
func (g group) value(aggregation string) (float64, bool) {
	switch aggregation {
	case "sum":
		return g.sum, g.n > 0
	case "min":
		return g.min, g.n > 0
	case "max":
		return g.max, g.n > 0
	}
	return g.sum / float64(g.n), g.n > 0
}

// reducer reduces the points of one entity over time.
type reducer struct {
	aggregation string
	// divisor is what timeAvg divides by.
	divisor float64
}

// reducer returns the one for a column over a stretch of milliseconds.
func (q question) reducer(col column, width int64, sw ClassicSwitches) reducer {
	r := reducer{aggregation: col.time, divisor: float64(width) / 1000}
	if sw.TimeAvgPerInterval {
		r.divisor = float64(width) / float64(Interval.Milliseconds())
	}
	if sw.StoredPoints && q.sampled && width == Interval.Milliseconds() {
		r.aggregation = "avg"
	}
	return r
}

// over is false when the points do not tell.
func (r reducer) over(points []point) (float64, bool) {
	var g group
	for _, p := range points {
		g.add(p.v)
	}
	switch r.aggregation {
	case "timeAvg":
		return g.sum / r.divisor, g.n > 0
	case "rateOfChange":
		if len(points) < 2 {
			return 0, false
		}
		first, last := points[0], points[len(points)-1]
		return (last.v - first.v) / (float64(last.t-first.t) / 1000), true
	}
	return g.value(r.aggregation)
}

// rows answers a question.
func (v view) rows(q question, sw ClassicSwitches) []dataRow {
	segments := v.segments(q, sw)
	var first column
	for _, col := range q.columns {
		if col.metric != "" {
			first = col
			break
		}
	}
	page := slices.SortedFunc(maps.Values(segments), func(a, b *segment) int {
		return cmp.Or(byValue(a.whole, b.whole, first.group), slices.Compare(a.keys, b.keys))
	})
	page = page[min(q.from, len(page)):min(q.to+1, len(page))]

	var rows []dataRow
	for b := range int((q.end - q.start) / q.width) {
		for _, seg := range page {
			cells, told := q.cells(seg, b)
			if told || sw.NullGaps && q.sampled {
				rows = append(rows, dataRow{q.start + int64(b+1)*q.width, cells})
			}
		}
	}
	return rows
}

// byValue sorts segments: ascending when their values are minima or there is none, and otherwise descending.
func byValue(a, b group, aggregation string) int {
	x, okX := a.value(aggregation)
	y, okY := b.value(aggregation)
	switch {
	case aggregation == "" || !okX && !okY:
		return 0
	case okX != okY:
		return cmp.Compare(b.n, a.n)
	case aggregation == "min":
		return cmp.Compare(x, y)
	}
	return cmp.Compare(y, x)
}

// cells returns a row of a segment, and whether there is anything to tell in it.
func (q question) cells(seg *segment, bucket int) (cells []any, told bool) {
	var keys, values int
	for _, col := range q.columns {
		if col.metric == "" {
			cells = append(cells, cell(seg.keys[keys]))
			keys++
			continue
		}
		value, ok := seg.buckets[bucket][values].value(col.group)
		values++
		told = told || ok
		if !ok || math.IsNaN(value) || math.IsInf(value, 0) {
			cells = append(cells, nil)
			continue
		}
		cells = append(cells, value)
	}
	return cells, told || values == 0
}

// cell is a key in JSON, where null says that it does not apply.
func cell(key string) any {
	if key == "" {
		return nil
	}
	return key
}

// segments reduces everything that a question is about.
func (v view) segments(q question, sw ClassicSwitches) map[string]*segment {
	all := map[string]*segment{}
	var values []column
	for _, col := range q.columns {
		if col.metric != "" {
			values = append(values, col)
		}
	}
	if len(values) == 0 {
		for _, e := range v.entities(q, "") {
			q.segmentOf(all, e, 0)
		}
		return all
	}
	for i, col := range values {
		window, bucket := q.reducer(col, q.end-q.start, sw), q.reducer(col, q.width, sw)
		for _, e := range v.entities(q, col.metric) {
			whole, ok := window.over(e.points)
			if !ok {
				continue
			}
			seg := q.segmentOf(all, e, len(values))
			if i == 0 {
				seg.whole.add(whole)
			}
			for points := e.points; len(points) > 0; {
				b := (points[0].t - q.start - 1) / q.width
				end, _ := search(points, q.start+(b+1)*q.width+1)
				if value, ok := bucket.over(points[:end]); ok {
					seg.buckets[b][i].add(value)
				}
				points = points[end:]
			}
		}
	}
	return all
}

// segmentOf returns the segment of an entity, which is made when it is the first of it.
func (q question) segmentOf(all map[string]*segment, e entity, values int) *segment {
	var keys []string
	for _, col := range q.columns {
		if col.metric == "" {
			keys = append(keys, e.label(col.label))
		}
	}
	id := strings.Join(keys, "\xff")
	if seg, ok := all[id]; ok {
		return seg
	}
	seg := &segment{keys: keys, buckets: make([][]group, (q.end-q.start)/q.width)}
	for b := range seg.buckets {
		seg.buckets[b] = make([]group, values)
	}
	all[id] = seg
	return seg
}

// entities returns what has points in the window and passes the filter; an empty metric stands for all of the source. Points
// belong to the bucket that they end.
func (v view) entities(q question, metric string) []entity {
	var matchers []*labels.Matcher
	if metric != "" {
		matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, metric)}
	}
	var out []entity
	for _, sel := range v.match(q.start+1, q.end, matchers) {
		e := entity{sel}
		if !q.filter.holds(e) || metric == "" && !q.measures(sel.lset.Get(model.MetricNameLabel)) {
			continue
		}
		if v.nan {
			e.points = slices.Clone(e.points)
			for i := range e.points {
				e.points[i].v = math.NaN()
			}
		}
		out = append(out, e)
	}
	return out
}

// measures tells whether a metric belongs to the source of the question.
func (q question) measures(metric string) bool {
	source := sourceOf(metric)
	return source == "" || source == q.source
}
