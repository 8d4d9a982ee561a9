package sysdigtest

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// recordedDescriptors is one answer of the real service, byte for byte.
//
//go:embed testdata/metrics-descriptors-jvm.json
var recordedDescriptors []byte

// descriptor is a metric in the lists of the classic API.
type descriptor struct {
	ID                string   `json:"id"`
	MetricType        string   `json:"metricType"`
	Type              string   `json:"type"`
	Scale             float64  `json:"scale"`
	Category          string   `json:"category"`
	Namespaces        []string `json:"namespaces"`
	Scopes            []string `json:"scopes"`
	TimeAggregations  []string `json:"timeAggregations"`
	GroupAggregations []string `json:"groupAggregations"`
	Identity          bool     `json:"identity"`
	CanMonitor        bool     `json:"canMonitor"`
	CanGroupBy        bool     `json:"canGroupBy"`
	CanFilter         bool     `json:"canFilter"`
	Heuristic         bool     `json:"heuristic"`
}

// descriptor returns the descriptor of a metric of the store. Its namespaces leave out the entity it is measured at.
func (s *Server) descriptor(metric string) descriptor {
	n := dottedMetric(metric)
	if n.kind == "" {
		n.kind, n.unit = s.store.metadataOf(metric).Type, "number"
	}
	d := descriptor{
		ID: n.id, MetricType: n.kind, Type: n.unit, Scale: 1, Category: "metrics",
		Namespaces: []string{"kubernetes.cluster", "kubernetes.namespace", "kubernetes.deployment", "kubernetes.statefulSet", "kubernetes.pod"},
		Scopes:     []string{},
		// The first aggregation is the default.
		TimeAggregations:  []string{"avg", "timeAvg", "sum", "min", "max", "rateOfChange"},
		GroupAggregations: []string{"avg", "sum", "min", "max"},
	}
	if n.kind == kindCounter {
		d.TimeAggregations = []string{"timeAvg", "avg", "sum", "min", "max", "rateOfChange"}
		d.GroupAggregations = []string{"sum", "avg", "min", "max"}
	}
	return d
}

// entityOf returns the word for what a metric is measured at.
func entityOf(metric string) string {
	switch sourceOf(metric) {
	case sourceHost:
		return "host"
	case sourceContainer:
		return "host.container"
	}
	return ""
}

// descriptors returns those of the metrics that a call sees, sorted by id.
func (s *Server) descriptors(c *call) []descriptor {
	v := s.viewOf(c)
	metrics := map[string]struct{}{}
	for _, sel := range v.match(v.oldest, v.newest, nil) {
		metrics[sel.lset.Get(model.MetricNameLabel)] = struct{}{}
	}
	byID := map[string]descriptor{}
	for _, metric := range slices.Sorted(maps.Keys(metrics)) {
		d := s.descriptor(metric)
		if known, ok := byID[d.ID]; ok {
			d = known
		}
		if entity := entityOf(metric); entity != "" {
			d.Namespaces = append([]string{entity}, d.Namespaces...)
		}
		byID[d.ID] = d
	}
	if c.fault.Kind == FaultEmpty {
		return nil
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b descriptor) int { return cmp.Compare(a.ID, b.ID) })
}

// descriptorPage is an answer of the list of descriptors. Its elements are descriptors, or what was recorded.
type descriptorPage[T any] struct {
	Total       int `json:"total"`
	Offset      int `json:"offset"`
	Descriptors []T `json:"metricDescriptors"`
}

// metricDescriptors answers the list of descriptors.
func (s *Server) metricDescriptors(c *call) answer {
	if c.switches.Classic.OldBackend {
		const status = http.StatusInternalServerError
		return jsonAnswer(status, map[string]any{
			"timestamp": s.clk.Now().UnixMilli(), "status": status, "error": "Internal Server Error", "path": c.URL.Path,
		})
	}
	offset, errOffset := parseLimit(c.params.Get("offset"))
	limit, errLimit := parseLimit(c.params.Get("limit"))
	if err := errors.Join(errOffset, errLimit); err != nil {
		return *c.invalid("limit", nil, "%v", err)
	}
	if most := s.limits.Descriptors; most > 0 && (limit == 0 || limit > most) {
		limit = most
	}
	if !c.switches.Classic.RecordedDescriptors {
		return jsonAnswer(http.StatusOK, pageOf(c, s.descriptors(c), offset, limit, func(d descriptor) descriptor { return d }))
	}
	var recorded descriptorPage[json.RawMessage]
	if err := json.Unmarshal(recordedDescriptors, &recorded); err != nil {
		return text(http.StatusInternalServerError, fmt.Sprintf("sysdigtest: recorded descriptors: %v\n", err))
	}
	page := pageOf(c, recorded.Descriptors, offset, limit, func(raw json.RawMessage) (d descriptor) {
		// The whole was read just above.
		_ = json.Unmarshal(raw, &d)
		return d
	})
	if len(page.Descriptors) == recorded.Total {
		return answer{status: http.StatusOK, contentType: jsonType, body: recordedDescriptors}
	}
	return jsonAnswer(http.StatusOK, page)
}

// pageOf filters a list by the parameters of a call and cuts a page out of it.
func pageOf[T any](c *call, all []T, offset, limit int, describe func(T) descriptor) descriptorPage[T] {
	wanted := []T{}
	for _, one := range all {
		d := describe(one)
		if strings.Contains(d.ID, c.params.Get("filter")) && listed(c, "types", d.Type) && listed(c, "metricTypes", d.MetricType) {
			wanted = append(wanted, one)
		}
	}
	page := descriptorPage[T]{Total: len(wanted), Offset: offset}
	page.Descriptors = wanted[min(offset, len(wanted)):]
	if limit > 0 {
		page.Descriptors = page.Descriptors[:min(limit, len(page.Descriptors))]
	}
	return page
}

// listed tells whether a parameter, a list with commas, is absent or has the word.
func listed(c *call, param, word string) bool {
	list := c.params.Get(param)
	return list == "" || slices.Contains(strings.Split(list, ","), word)
}

// legacyMetric is a metric in the oldest list.
type legacyMetric struct {
	descriptor
	Name        string   `json:"name"`
	Description string   `json:"description"`
	GroupBy     []string `json:"groupBy"`
	Hidden      bool     `json:"hidden"`
}

// metricMap answers the oldest list of metrics: all of them by id.
func (s *Server) metricMap(c *call) answer {
	var groupBy []string
	for _, pair := range s.pairs(c) {
		groupBy = append(groupBy, pair.ID)
	}
	all := map[string]legacyMetric{}
	for _, d := range s.descriptors(c) {
		all[d.ID] = legacyMetric{descriptor: d, Name: d.ID, Description: d.ID, GroupBy: groupBy}
	}
	return jsonAnswer(http.StatusOK, all)
}

// labelPair is a label in both notations.
type labelPair struct {
	ID       string `json:"id"`
	PublicID string `json:"publicId"`
}

// pairs returns the labels that a call sees, sorted by id.
func (s *Server) pairs(c *call) []labelPair {
	v := s.viewOf(c)
	names := map[string]struct{}{}
	for _, sel := range v.match(v.oldest, v.newest, nil) {
		sel.lset.Range(func(l labels.Label) { names[l.Name] = struct{}{} })
		if sel.service != "" {
			names[LabelService] = struct{}{}
		}
	}
	var pairs []labelPair
	for name := range names {
		// What begins like this belongs to Prometheus or to the store.
		if !strings.HasPrefix(name, "_") && c.fault.Kind != FaultEmpty {
			pairs = append(pairs, labelPair{dottedLabel(name), name})
		}
	}
	slices.SortFunc(pairs, func(a, b labelPair) int { return cmp.Compare(a.ID, b.ID) })
	return pairs
}

// labelPairs answers the list of labels.
func (s *Server) labelPairs(c *call) answer {
	limit, err := parseLimit(c.params.Get("limit"))
	if err != nil {
		return *c.invalid("limit", nil, "%v", err)
	}
	all := s.pairs(c)
	if limit > 0 {
		all = all[:min(limit, len(all))]
	}
	return jsonAnswer(http.StatusOK, map[string][]labelPair{"allLabels": append([]labelPair{}, all...)})
}
