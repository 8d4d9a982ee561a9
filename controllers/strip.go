package controllers

import (
	"crypto/sha256"
	"fmt"
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

// Strip is the transform of an informer. What kubectl apply remembers in an annotation is as large as the spec. Of a long query a
// digest stays, which tells whether it is still the right one.
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
	b.Status.Query = digest(full.Status.Query)
	s.share(b)
	return b, nil
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

// recall puts a query in the place of its digest. Any other query stays what it is, so that the right one is written.
func recall(status *v1alpha1.SysdigMetricBindingStatus, query string) {
	if status.Query == digest(query) {
		status.Query = query
	}
}
