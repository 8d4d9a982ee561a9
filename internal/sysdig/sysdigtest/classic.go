package sysdigtest

import (
	"strings"
)

// api is a family of endpoints.
type api int

const (
	noAPI api = iota
	// prometheusAPI is what stands behind /prometheus/api/v1/.
	prometheusAPI
	// classicAPI is what stands behind /api/: data, and lists of metrics and labels.
	classicAPI
)

// Routes of the classic API.
const (
	routeData        = "data"
	routeMetrics     = "data/metrics"
	routeDescriptors = "v2/metrics/descriptors"
	routeLabels      = "v3/labels"
)

// locate returns the family of a path and the rest of it. The classic API is under /api whether or not the prefix of the
// Prometheus API ends in it. A slash at the end makes no difference there.
func (s *Server) locate(path string) (api, string) {
	if route, ok := strings.CutPrefix(path, s.prefix+"/prometheus/api/v1/"); ok {
		return prometheusAPI, route
	}
	if route, ok := strings.CutPrefix(path, strings.TrimSuffix(s.prefix, "/api")+"/api/"); ok {
		if route = strings.TrimSuffix(route, "/"); s.classicEndpoint(route).serve != nil {
			return classicAPI, route
		}
	}
	return noAPI, ""
}

func (s *Server) classicEndpoint(route string) endpoint {
	switch route {
	case routeData:
		return endpoint{serve: s.data, postOnly: true, slot: true}
	case routeMetrics:
		return endpoint{serve: s.metricMap, getOnly: true}
	case routeDescriptors:
		return endpoint{serve: s.metricDescriptors, getOnly: true}
	case routeLabels:
		return endpoint{serve: s.labelPairs, getOnly: true}
	}
	return endpoint{}
}
