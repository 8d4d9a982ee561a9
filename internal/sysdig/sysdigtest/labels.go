package sysdigtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// selectors reads the match[] parameters of a call. A call without any selects everything, in one empty list.
func (s *Server) selectors(c *call) ([][]*labels.Matcher, error) {
	match := c.params["match[]"]
	if len(match) > s.limits.Matches {
		return nil, fmt.Errorf("%d match[] parameters, more than %d", len(match), s.limits.Matches)
	}
	for _, m := range match {
		if len([]rune(m)) > s.limits.MatchCharacters {
			return nil, fmt.Errorf("a match[] parameter is longer than %d characters", s.limits.MatchCharacters)
		}
	}
	if len(match) == 0 {
		return [][]*labels.Matcher{nil}, nil
	}
	sets, err := s.parser.ParseMetricSelectors(match)
	if err != nil {
		return nil, fmt.Errorf("invalid parameter %q: %w", "match[]", err)
	}
	return sets, nil
}

// series answers the series endpoint.
func (s *Server) series(c *call) answer {
	v := s.viewOf(c)
	if len(c.params["match[]"]) == 0 {
		return badData(errors.New("no match[] parameter provided"))
	}
	sets, err := s.selectors(c)
	if err != nil {
		return badData(err)
	}
	limit, err := parseLimit(c.params.Get("limit"))
	if err != nil {
		return badData(err)
	}
	if limit == 0 || limit > s.limits.Series {
		limit = s.limits.Series
	}
	start, errStart := parseTime(c.params.Get("start"), s.clk.Now().Add(-Retention))
	end, errEnd := parseTime(c.params.Get("end"), s.clk.Now())
	if err := errors.Join(errStart, errEnd); err != nil {
		return badData(err)
	}

	found := map[string]labels.Labels{}
	for _, matchers := range sets {
		for _, sel := range v.match(start.UnixMilli(), end.UnixMilli(), matchers) {
			found[string(sel.lset.Bytes(nil))] = sel.lset
		}
	}
	list := slices.SortedFunc(maps.Values(found), labels.Compare)
	return cutList(c, list, limit)
}

// labelNames answers the labels endpoint. It ignores start and end, as Sysdig does.
func (s *Server) labelNames(c *call) answer {
	return s.listLabels(c, 0, func(lset labels.Labels, add func(string)) {
		lset.Range(func(l labels.Label) { add(l.Name) })
	})
}

// labelValues answers the label values endpoint. It ignores start and end, as Sysdig does.
func (s *Server) labelValues(c *call, name string) answer {
	return s.listLabels(c, s.limits.LabelValues, func(lset labels.Labels, add func(string)) {
		if v := lset.Get(name); v != "" {
			add(v)
		}
	})
}

// listLabels collects strings from the selected series, sorted; fallback is the limit of a call without one.
func (s *Server) listLabels(c *call, fallback int, collect func(labels.Labels, func(string))) answer {
	v := s.viewOf(c)
	sets, err := s.selectors(c)
	if err != nil {
		return badData(err)
	}
	limit, err := parseLimit(c.params.Get("limit"))
	if err != nil {
		return badData(err)
	}
	if limit == 0 {
		limit = fallback
	}
	found := map[string]struct{}{}
	for _, matchers := range sets {
		for _, sel := range v.match(v.oldest, v.newest, matchers) {
			collect(sel.lset, func(text string) { found[text] = struct{}{} })
		}
	}
	return cutList(c, slices.Sorted(maps.Keys(found)), limit)
}

// cutList answers a list, cut to limit unless that is 0.
func cutList[T any](c *call, list []T, limit int) answer {
	if c.fault.Kind == FaultEmpty || list == nil {
		list = []T{}
	}
	var warnings []string
	if limit > 0 && len(list) > limit {
		list, warnings = list[:limit], []string{truncated}
	}
	return c.success(list, warnings, nil)
}

// metricMetadata answers the metadata endpoint.
func (s *Server) metricMetadata(c *call) answer {
	limit, err := parseLimit(c.params.Get("limit"))
	if err != nil {
		return badData(err)
	}
	v := s.viewOf(c)
	names := map[string]struct{}{}
	for _, sel := range v.match(v.oldest, v.newest, nil) {
		names[sel.lset.Get(model.MetricNameLabel)] = struct{}{}
	}
	wanted := c.params.Get("metric")
	data := map[string][]Metadata{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if c.fault.Kind == FaultEmpty || wanted != "" && name != wanted {
			continue
		}
		if limit > 0 && len(data) == limit {
			break
		}
		data[name] = []Metadata{s.store.metadataOf(name)}
	}
	return c.success(data, nil, nil)
}

func (s *Store) metadataOf(name string) Metadata {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if m, ok := s.metadata[name]; ok {
		return m
	}
	if strings.HasSuffix(name, "_total") {
		return Metadata{Type: "counter", Unit: "number"}
	}
	return Metadata{Type: "gauge", Unit: "number"}
}
