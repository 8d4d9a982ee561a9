package query

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// rowKey tells the rows of an answer apart; which fields are set depends on the shape.
type rowKey struct {
	namespace, workloadType, workload, pod, object string
	dimensions                                     dimensions
}

// row is one value. A row that more than one series is in has none.
type row struct {
	key    rowKey
	value  float64
	labels map[string]string
	// others is how many further series are in the row, and differ the labels in which they differ from the first.
	others int
	differ map[string]bool
}

// meet notes another series that is in the same row.
func (r *row) meet(of map[string]string) {
	r.others++
	if r.differ == nil {
		r.differ = map[string]bool{}
	}
	for name, value := range of {
		r.differ[name] = r.differ[name] || r.labels[name] != value
	}
	for name := range r.labels {
		if _, ok := of[name]; !ok {
			r.differ[name] = true
		}
	}
	maps.DeleteFunc(r.differ, func(_ string, differs bool) bool { return !differs })
}

// table is an answer by row.
type table struct {
	shape Shape
	// rows are the values by the object that they describe.
	rows map[rowKey][]*row
	// objects are the keys of rows, by namespace.
	objects map[string][]rowKey
	times   map[string]*timeVector
	// few is how many points there are of rows that have too few for a value.
	few map[rowKey]int
	// at is the time that was asked about.
	at time.Time
	// silent are the rows of which there are points and no value, by namespace and object.
	silent map[string]map[rowKey][]silence
	// size is about how many rows there are.
	size int
}

// timeVector holds the time of the newest point of one selector by row.
type timeVector struct {
	at map[rowKey]time.Time
	// has are the labels that any of its rows has. A selector without a label speaks for all values of it.
	has rowKey
}

// tabulate files the series of an answer: values, and the time vectors marked by partLabel.
func tabulate(s Shape, series []sysdig.Series, at time.Time) *table {
	// Each row has one series with its value and one with a time for each selector; a typed shape has one.
	t := &table{shape: s, at: at, size: len(series) / (1 + max(s.Selectors, 1)), objects: map[string][]rowKey{}, times: map[string]*timeVector{}, few: map[rowKey]int{}, silent: map[string]map[rowKey][]silence{}}
	t.rows = make(map[rowKey][]*row, t.size)
	byKey := make(map[rowKey]*row, t.size)
	for _, one := range series {
		key := s.key(one.Labels)
		switch part, marked := one.Labels[partLabel]; {
		case strings.HasPrefix(part, fewPart):
			t.few[key] = max(t.few[key], int(one.Value))
			continue
		case marked:
			t.date(part, key, one.Value)
			continue
		}
		if first := byKey[key]; first != nil {
			first.meet(one.Labels)
			continue
		}
		entry := &row{key: key, value: one.Value, labels: one.Labels}
		byKey[key] = entry
		t.add(entry)
	}
	t.hush(byKey)
	return t
}

// add files a row under the object that it describes.
func (t *table) add(entry *row) {
	object := t.shape.objectKey(entry.key)
	if len(t.rows[object]) == 0 {
		t.objects[t.namespace(object)] = append(t.objects[t.namespace(object)], object)
	}
	t.rows[object] = append(t.rows[object], entry)
}

// namespace is the one that an object is in. Raw PromQL is asked for one namespace and does not tell it.
func (t *table) namespace(object rowKey) string {
	if t.shape.Grain == Raw {
		return t.shape.Namespace
	}
	return object.namespace
}

// date files the time of the newest point of a row.
func (t *table) date(part string, key rowKey, seconds float64) {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return
	}
	v := t.times[part]
	if v == nil {
		v = &timeVector{at: make(map[rowKey]time.Time, t.size)}
		t.times[part] = v
	}
	v.at[key] = time.UnixMilli(int64(math.Floor(seconds * 1000))).UTC()
	if key.object != "" {
		v.has.object = key.object
	}
	for i, value := range key.dimensions {
		if value != "" {
			v.has.dimensions[i] = value
		}
	}
}

// key is the row that a series is in.
func (s Shape) key(of map[string]string) rowKey {
	l := s.Scope.Labels
	var key rowKey
	if s.Grain != Raw {
		key.namespace = of[l.Namespace]
	}
	switch s.Grain {
	case ByWorkload:
		key.workloadType, key.workload = of[l.WorkloadType], of[l.Workload]
	case ByService:
		key.object = of[serviceLabel]
	case Raw:
		key.object = of[s.ObjectLabel]
	case ByPod, ByNamespace:
	}
	if s.Grain != Raw && s.Group == "" {
		key.pod = of[l.Pod]
	}
	for i, name := range s.Dimensions.list() {
		key.dimensions[i] = of[name]
	}
	return key
}

// objectKey is the object that a row describes: dimensions tell rows of one object apart, and so do pods, unless they are
// the objects.
func (s Shape) objectKey(key rowKey) rowKey {
	key.dimensions = dimensions{}
	if s.Grain != ByPod {
		key.pod = ""
	}
	return key
}

// viewKey is the object that a view is about.
func (s Shape) viewKey(v View) rowKey {
	switch s.Grain {
	case ByWorkload:
		return rowKey{namespace: v.Namespace, workloadType: v.WorkloadType, workload: v.Workload}
	case ByPod:
		return rowKey{namespace: v.Namespace, pod: v.Pod}
	case ByService:
		return rowKey{namespace: v.Namespace, object: v.Service}
	case ByNamespace:
		return rowKey{namespace: v.Namespace}
	default:
		return rowKey{object: v.Object}
	}
}

// undated is why a row is no value: it is more than one, or nobody knows when it was measured. Nil: it is one.
func (t *table) undated(one *row) *metric.Failure {
	if one.others > 0 {
		return metric.Failf(metric.Implausible,
			"the query returned %d series where one is needed; they differ in %s: reduce them, for example with sum(…), or keep the label apart with spec.source.promQL.dimensions",
			one.others+1, strings.Join(slices.Sorted(maps.Keys(one.differ)), " and "))
	}
	if _, ok := t.time(one.key); !ok {
		return metric.Failf(metric.Stale, "Sysdig did not say when the value was measured: its points are older than 5 minutes, or a label that tells values apart is missing from a selector")
	}
	return nil
}

// time is when the newest point behind a row was measured: the oldest over all selectors of a raw query, so that one
// series that has stopped makes the result old.
func (t *table) time(key rowKey) (time.Time, bool) {
	if t.shape.Grain != Raw {
		return t.times["time"].of(key)
	}
	var oldest time.Time
	for i := range t.shape.Selectors {
		v := t.times[strconv.Itoa(i)]
		at, ok := v.of(v.project(key))
		if !ok {
			return time.Time{}, false
		}
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest, true
}

func (v *timeVector) of(key rowKey) (time.Time, bool) {
	if v == nil {
		return time.Time{}, false
	}
	at, ok := v.at[key]
	return at, ok
}

// project leaves out of a key the labels that the selector does not have.
func (v *timeVector) project(key rowKey) rowKey {
	if v == nil {
		return key
	}
	if v.has.object == "" {
		key.object = ""
	}
	for i := range key.dimensions {
		if v.has.dimensions[i] == "" {
			key.dimensions[i] = ""
		}
	}
	return key
}
