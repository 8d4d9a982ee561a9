// Package labelled bounds what is remembered of the labels of an object. Whoever may write an object chooses its labels, and
// Kubernetes takes more than a megabyte of them.
package labelled

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// MaxLabels is how many labels of an object are kept at most. Objects have 5 to 30.
	MaxLabels = 64
	// MaxBytes is how many bytes their keys and values have together at most. A label has some 50.
	MaxBytes = 4096
)

// hash is the label by which the Deployment of a pod is found. It is kept before all others.
const hash = "pod-template-hash"

// cutAt is the annotation that a stripped object gets in place of the labels that were cut off: the length of the shortest. Stripped
// objects have no other annotation.
const cutAt = "labels-cut-at"

// Set is what is kept of the labels of an object: all, or the shortest.
type Set struct {
	labels.Set
	// cut is the length, of key and value together, of the shortest label that was cut off; 0 when none was.
	cut int
}

// Of is what is kept of the labels of an object, which may be stripped already. Whoever writes an object may write the annotation, too:
// that makes less known of its labels, and never more of them kept.
func Of(object metav1.Object) Set {
	set := keep(object.GetLabels())
	text, stripped := object.GetAnnotations()[cutAt]
	if !stripped {
		return set
	}
	if cut, err := strconv.Atoi(text); err == nil && cut > 0 && (!set.Cut() || cut < set.cut) {
		set.cut = cut
	}
	return set
}

// Strip puts what is kept of the labels of an object into the metadata of its stripped copy, which has none.
func Strip(into *metav1.ObjectMeta, object metav1.Object) {
	set := Of(object)
	into.Labels = set.Set
	if set.Cut() {
		into.Annotations = map[string]string{cutAt: strconv.Itoa(set.cut)}
	}
}

// keep cuts off what is too much: the longest labels.
func keep(all map[string]string) Set {
	if len(all) <= MaxLabels && Length(all) <= MaxBytes {
		return Set{Set: all}
	}
	keys := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a, all[a]), rank(b, all[b])), cmp.Compare(a, b))
	})
	kept, left := labels.Set{}, MaxBytes
	for i, key := range keys {
		if left -= len(key) + len(all[key]); i == MaxLabels || left < 0 {
			return Set{Set: kept, cut: max(rank(key, all[key]), 1)}
		}
		kept[key] = all[key]
	}
	return Set{Set: kept}
}

func rank(key, value string) int {
	if key == hash {
		return 0
	}
	return len(key) + len(value)
}

// Length is how many bytes the keys and values of labels have together.
func Length(all map[string]string) (n int) {
	for key, value := range all {
		n += len(key) + len(value)
	}
	return n
}

// Cut tells whether labels were cut off.
func (s Set) Cut() bool { return s.cut > 0 }

// Equal tells whether two sets are the same.
func (s Set) Equal(other Set) bool { return s.cut == other.cut && maps.Equal(s.Set, other.Set) }

// Selects tells whether all selectors are known to select the object. One that names a label that may have been cut off is not.
func (s Set) Selects(selectors ...labels.Selector) bool {
	for _, selector := range selectors {
		if !s.Knows(selector) || !selector.Matches(s.Set) {
			return false
		}
	}
	return true
}

// Knows tells whether what is kept decides if the selector selects the object: no label that it names was cut off.
func (s Set) Knows(selector labels.Selector) bool {
	if !s.Cut() {
		return true
	}
	requirements, _ := selector.Requirements()
	for i := range requirements {
		if s.misses(&requirements[i]) {
			return false
		}
	}
	return true
}

// misses tells whether a label that a requirement names may have been cut off: each of those is as long as the shortest or longer.
func (s Set) misses(r *labels.Requirement) bool {
	if s.Has(r.Key()) {
		return false
	}
	longest := 0
	switch r.Operator() {
	case selection.In, selection.Equals, selection.DoubleEquals, selection.NotIn, selection.NotEquals:
		for _, value := range r.ValuesUnsorted() {
			longest = max(longest, len(value))
		}
	default: // any value decides
		longest = validation.LabelValueMaxLength
	}
	return len(r.Key())+longest >= s.cut
}
