package controllers

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// maxMissing is how many kinds that the cluster does not have are looked up for one namespace within recheck. Each lookup asks the API
// server for its discovery.
const maxMissing = 20

// kindLookup looks up the kinds of targets. A kind that the cluster does not have is looked up once within recheck, whoever names it. It
// is for one goroutine.
type kindLookup struct {
	mapper meta.RESTMapper
	clock  clock.PassiveClock
	// found are the kinds that were there when they were last looked up: as many at most as the cluster has.
	found map[schema.GroupVersionKind]struct{}
	// missing are the kinds that were not there, and how many of them each namespace has had looked up, since a time.
	missing map[schema.GroupVersionKind]struct{}
	asked   map[string]int
	since   time.Time
}

func newKindLookup(mapper meta.RESTMapper, clock clock.PassiveClock) *kindLookup {
	return &kindLookup{mapper: mapper, clock: clock, found: map[schema.GroupVersionKind]struct{}{}}
}

// find returns the mapping of a kind, or why there is none. The error is one of the API server's.
func (l *kindLookup) find(namespace string, kind schema.GroupVersionKind) (*meta.RESTMapping, *metric.Failure, error) {
	if now := l.clock.Now(); l.since.IsZero() || now.Sub(l.since) >= recheck {
		l.missing, l.asked, l.since = map[schema.GroupVersionKind]struct{}{}, map[string]int{}, now
	}
	apiVersion := kind.GroupVersion().String()
	absent := metric.Failf(metric.Rejected, "spec.target: this cluster has no kind %s in %s; correct it, or install its CRD", kind.Kind, apiVersion)
	if _, known := l.missing[kind]; known {
		return nil, absent, nil
	}
	if _, found := l.found[kind]; !found && l.asked[namespace] >= maxMissing {
		return nil, metric.Failf(metric.Rejected,
			"spec.target: kind %s in %s was not looked up, since bindings of this namespace name %d kinds that this cluster does not have; correct or delete those",
			kind.Kind, apiVersion, maxMissing), nil
	}
	mapping, err := l.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	switch {
	case meta.IsNoMatchError(err):
		delete(l.found, kind)
		l.missing[kind] = struct{}{}
		l.asked[namespace]++
		return nil, absent, nil
	case err != nil:
		return nil, nil, fmt.Errorf("looking up the kind of the target: %w", err)
	}
	l.found[kind] = struct{}{}
	return mapping, nil, nil
}
