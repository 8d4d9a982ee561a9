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
	// iamAPI is IBM's identity service.
	iamAPI
)

// Routes of the classic API.
const (
	routeData        = "data"
	routeMetrics     = "data/metrics"
	routeDescriptors = "v2/metrics/descriptors"
	routeLabels      = "v3/labels"
)

// locate returns the family of a path and the rest of it. The classic API is under /api whether or not the prefix of the
// Prometheus API ends in it. A slash at the end makes no difference there. IBM's instances have the Prometheus API with and
// without /api before it.
func (s *Server) locate(path string) (api, string) {
	base := strings.TrimSuffix(s.prefix, "/api")
	if route, ok := strings.CutPrefix(path, s.prefix+"/prometheus/api/v1/"); ok {
		return prometheusAPI, route
	}
	if s.ibm != nil {
		if path == "/"+routeToken {
			return iamAPI, routeToken
		}
		for _, prefix := range []string{base, base + "/api"} {
			if route, ok := strings.CutPrefix(path, prefix+"/prometheus/api/v1/"); ok {
				return prometheusAPI, route
			}
		}
	}
	if route, ok := strings.CutPrefix(path, base+"/api/"); ok {
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
