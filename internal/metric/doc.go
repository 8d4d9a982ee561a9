// Package metric is the vocabulary that all other packages share: why a value is not served (Reason), what was measured
// (Sample, Reading), under which name it is served (Claim), and the single rule "may this value be served now"
// (Policy.Judge). It knows neither Kubernetes clients nor Sysdig.
package metric
