package controllers

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

// Stripper keeps of a SysdigMetricBinding what the operator looks at, so that many bindings stay small in memory. Texts that many
// bindings have in common it keeps once. The zero value is ready to use.
type Stripper struct {
	mu sync.Mutex
	// known holds texts as long as it can. The package unique would forget each at the next collection of garbage, since nothing here
	// holds a handle, and statuses come one by one.
	known map[string]string
}

// maxKnown bounds how many texts are known. With more, all are forgotten: what is kept already stays as it is.
const maxKnown = 4096

// longestKnown is the longest text that is kept once, in bytes: as most messages of conditions.
const longestKnown = 512

// maxText is how many bytes the texts of a binding's source and selector have together to be kept: as most bindings have, with a query of
// some lines. Longer ones are read when they are compiled, and not kept beside what they become: 10,000 bindings of one tenant may have
// 80 MB of them.
const maxText = 1024

// cut is the annotation that a binding gets in place of its source and selector when those were cut off. Stripped bindings have no other.
const cut = "texts-cut-off"

func isCut(b *v1alpha1.SysdigMetricBinding) bool { return b.Annotations[cut] != "" }

// Strip is the transform of an informer. What kubectl apply remembers in an annotation is as large as the spec. Of a long text in the
// status a digest stays, which tells whether it is still the right one, and of a long source or selector that it is long.
func (s *Stripper) Strip(object any) (any, error) {
	full, ok := object.(*v1alpha1.SysdigMetricBinding)
	if !ok {
		return object, nil
	}
	b := &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{
			Name: full.Name, Namespace: full.Namespace, UID: full.UID, ResourceVersion: full.ResourceVersion,
			Generation: full.Generation, CreationTimestamp: full.CreationTimestamp,
		},
		Spec: full.Spec, Status: full.Status,
	}
	b.Status.Query, b.Status.Target, b.Status.MetricPath = digest(full.Status.Query), digest(full.Status.Target), digest(full.Status.MetricPath)
	if textsOf(b) > maxText || isCut(full) && full.Spec.Source == (v1alpha1.Source{}) {
		cutTexts(b)
	}
	s.share(b)
	return b, nil
}

// textsOf is how many bytes of text a binding's source and selector have.
func textsOf(b *v1alpha1.SysdigMetricBinding) int {
	n := bytesOf(reflect.ValueOf(b.Spec.Source))
	if b.Spec.Target != nil {
		n += bytesOf(reflect.ValueOf(b.Spec.Target.Selector))
	}
	return n
}

// bytesOf is how many bytes the texts within a value have.
func bytesOf(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Pointer:
		if !v.IsNil() {
			return bytesOf(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += bytesOf(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			n += bytesOf(v.Index(i))
		}
	case reflect.Map:
		for each := v.MapRange(); each.Next(); {
			n += bytesOf(each.Key()) + bytesOf(each.Value())
		}
	default: // no text
	}
	return n
}

// cutTexts leaves out the source and what the selector says. What they came with may be read: it stays as it is.
func cutTexts(b *v1alpha1.SysdigMetricBinding) {
	b.Annotations = map[string]string{cut: "true"}
	b.Spec.Source = v1alpha1.Source{}
	if b.Spec.Target != nil && b.Spec.Target.Selector != nil {
		target := *b.Spec.Target
		target.Selector = &v1alpha1.ObjectSelector{} // there is one
		b.Spec.Target = &target
	}
}

// share replaces texts by equal ones that others hold. What is behind pointers may be in the cache already and be read: it is
// copied.
func (s *Stripper) share(b *v1alpha1.SysdigMetricBinding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range []*string{&b.Namespace, &b.Spec.ConnectionRef.Name, &b.Spec.MetricName, &b.Status.MetricName, &b.Status.Query, &b.Status.Objects} {
		*text = s.one(*text)
	}
	if b.Spec.Target != nil {
		target := *b.Spec.Target
		target.APIVersion, target.Kind = s.one(target.APIVersion), s.one(target.Kind)
		b.Spec.Target = &target
	}
	if b.Spec.Source.Metric != nil {
		m := *b.Spec.Source.Metric
		m.Name, m.CounterType = s.one(m.Name), v1alpha1.CounterType(s.one(string(m.CounterType)))
		m.TimeAggregation = v1alpha1.TimeAggregation(s.one(string(m.TimeAggregation)))
		m.GroupAggregation = v1alpha1.GroupAggregation(s.one(string(m.GroupAggregation)))
		b.Spec.Source.Metric = &m
	}
	b.Status.Conditions = slices.Clone(b.Status.Conditions)
	for i := range b.Status.Conditions {
		c := &b.Status.Conditions[i]
		c.Type, c.Status = s.one(c.Type), metav1.ConditionStatus(s.one(string(c.Status)))
		c.Reason, c.Message = s.one(c.Reason), s.one(c.Message)
	}
}

// one is the text itself, or one like it that was seen before.
func (s *Stripper) one(text string) string {
	if len(text) > longestKnown {
		return text
	}
	if known, ok := s.known[text]; ok {
		return known
	}
	if s.known == nil || len(s.known) >= maxKnown {
		s.known = map[string]string{}
	}
	s.known[text] = text
	return text
}

// digest stands for a text, in fewer bytes if that is long. That of a digest is itself.
func digest(text string) string {
	short := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
	if len(text) <= len(short) {
		return text
	}
	return short
}

// recall puts texts in the places of their digests. Any other text stays what it is, so that the right one is written.
func recall(status, right *v1alpha1.SysdigMetricBindingStatus) {
	for _, text := range []struct {
		kept  *string
		right string
	}{
		{&status.Query, right.Query}, {&status.Target, right.Target}, {&status.MetricPath, right.MetricPath},
	} {
		if *text.kept == digest(text.right) {
			*text.kept = text.right
		}
	}
}
