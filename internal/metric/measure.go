package metric

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// maxCombinations bounds the combinations of dimension values of one object. Every one travels to the HPA at every read.
const maxCombinations = 100

// Aggregation reduces the pods of an object to one number.
type Aggregation string

// Aggregations.
const (
	Average Aggregation = "Average"
	Sum     Aggregation = "Sum"
	Min     Aggregation = "Min"
	Max     Aggregation = "Max"
)

// Measure says how numbers of Sysdig become the value that an HPA reads. It is comparable.
type Measure struct {
	// Group reduces the pods. Empty: there is one number, and more are one too many.
	Group Aggregation
	// Multiplier is applied to what comes out.
	Multiplier float64
	// Min and Max are the limits of a plausible value; infinite when there are none.
	Min, Max float64
	// External makes each series an item of its own. The HPA adds the items up.
	External bool
}

// Series is one number of Sysdig with the labels that are kept apart.
type Series struct {
	// Labels are the dimensions by the name that the binding gives them; nil without dimensions.
	Labels labels.Set
	// Pod is set when the pods are not reduced yet.
	Pod string
	// Raw is what Sysdig gave.
	Raw float64
	// Time is when the newest point behind it was measured, by our clock; zero: as the sample says. A series that was
	// picked may be older than the others.
	Time time.Time
	// Milli is what an HPA reads of an item of an external metric, in thousandths.
	Milli int64
}

// Number turns a number of Sysdig into a value and its thousandths. The failure is Implausible.
func (m Measure) Number(raw float64) (value float64, milli int64, failure *Failure) {
	if value = raw * m.Multiplier; min(math.Abs(raw), math.Abs(value)) < nothing {
		value = 0
	}
	if milli, failure = Milli(value); failure != nil {
		return 0, 0, failure
	}
	switch {
	case value < m.Min:
		return 0, 0, Failf(Implausible, "the value %g is below spec.bounds.min %g", value, m.Min)
	case value > m.Max:
		return 0, 0, Failf(Implausible, "the value %g is above spec.bounds.max %g", value, m.Max)
	case m.External && value < 0:
		// k8s.io/kubernetes 1.37, GetExternalPerPodMetricReplicas: a sum below 0 is set to the largest int64.
		return 0, 0, Failf(Implausible, "the value %g is negative: for an external metric an HPA of type AverageValue takes that for an overflow and scales to maxReplicas; use an Object metric", value)
	}
	return value, milli, nil
}

// Reduce turns the series of one object into its value: the series of a pod are summed, then the pods are reduced. Items of
// an external metric are added up, as the HPA does, and get their own thousandths in place. There is at least one series.
func (m Measure) Reduce(series []Series) (value float64, milli int64, failure *Failure) {
	if m.External {
		return m.addUp(series)
	}
	if m.Group == "" && len(series) > 1 {
		return 0, 0, Failf(Implausible, "there are %d series where one is needed; they %s", len(series), inTheWay(series))
	}
	return m.Number(m.Group.reduce(perPod(series)))
}

func (m Measure) addUp(series []Series) (value float64, milli int64, failure *Failure) {
	for i := range series {
		_, item, failure := m.Number(series[i].Raw)
		if failure != nil {
			return 0, 0, failure
		}
		if milli > math.MaxInt64-item {
			return 0, 0, Failf(Implausible, "the sum of %d items is too large for an HPA, which counts in int64 thousandths; use a multiplier", len(series))
		}
		series[i].Milli = item
		milli += item
	}
	return float64(milli) / 1000, milli, nil
}

// Dated is when series were measured together: with the newest point of any; of external items with the oldest, because the
// HPA adds them up and one that has stopped makes the sum old. Series that have no time of their own have that of the whole.
func (m Measure) Dated(series []Series, whole time.Time) time.Time {
	return dated(series, whole, m.External)
}

func dated(series []Series, whole time.Time, oldest bool) time.Time {
	var at time.Time
	for _, one := range series {
		is := one.Time
		if is.IsZero() {
			is = whole
		}
		if at.IsZero() || is.After(at) != oldest {
			at = is
		}
	}
	return at
}

// perPod sums the series of each pod.
func perPod(series []Series) []float64 {
	sums := make([]float64, 0, len(series))
	place := make(map[string]int, len(series))
	for _, s := range series {
		i, ok := place[s.Pod]
		if !ok {
			i = len(sums)
			place[s.Pod] = i
			sums = append(sums, 0)
		}
		sums[i] += s.Raw
	}
	return sums
}

func (a Aggregation) reduce(values []float64) float64 {
	var sum float64
	for _, value := range values {
		sum += value
	}
	switch a {
	case Min:
		return slices.Min(values)
	case Max:
		return slices.Max(values)
	case Average:
		return sum / float64(len(values))
	default:
		return sum
	}
}

// inTheWay tells which labels make series different and what to do about it.
func inTheWay(series []Series) string {
	differ := map[string]bool{}
	for _, s := range series[1:] {
		for _, labels := range []labels.Set{s.Labels, series[0].Labels} {
			for name := range labels {
				if s.Labels[name] != series[0].Labels[name] {
					differ[name] = true
				}
			}
		}
	}
	if len(differ) == 0 {
		return "differ in labels that the answer does not keep apart; reduce them in the query, for example with sum(…)"
	}
	names := strings.Join(slices.Sorted(maps.Keys(differ)), " and ")
	return fmt.Sprintf("differ in %s; choose among them with the HPA's metric.selector, or reduce them in the query, for example with sum(…)", names)
}

// combinations counts the different combinations of dimension values and refuses too many.
func combinations(series []Series) *Failure {
	seen := map[string]struct{}{}
	for _, s := range series {
		seen[s.Labels.String()] = struct{}{}
	}
	if len(seen) > maxCombinations {
		return Failf(Rejected, "spec.source dimensions: %d combinations of their values, at most %d are kept apart; choose other dimensions or narrow them with where", len(seen), maxCombinations)
	}
	return nil
}
