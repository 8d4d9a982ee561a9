package controllers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// credentialCondition tells whether Sysdig accepts the token; nil when the last round says nothing about it, and what was known
// stands.
func credentialCondition(c registry.Connection) *metav1.Condition {
	is := &metav1.Condition{Type: v1alpha1.ConditionCredentialReady, Status: metav1.ConditionFalse}
	failure := failureOf(c)
	switch {
	case failure != nil && sysdig.FaultOf(failure) != "":
		is.Reason, is.Message = string(sysdig.FaultOf(failure)), failure.Full()
	case c.Refused != nil, c.Attempted.IsZero():
		is.Status, is.Reason, is.Message = metav1.ConditionUnknown, string(metric.Pending), "the token was not used yet"
	case failure == nil, failure.Reason == metric.Stale: // it has answered
		is.Status, is.Reason, is.Message = metav1.ConditionTrue, v1alpha1.ReasonValid, "Sysdig accepts the token"
	default:
		return nil
	}
	return is
}

// shownClusters is how many clusters a condition names.
const shownClusters = 10

// clusterCondition tells whether Sysdig has anything of the connection's cluster; nil when nothing is known.
func clusterCondition(c registry.Connection) *metav1.Condition {
	cluster, seen := c.Heartbeat.Scope.Cluster, c.Clusters
	is := &metav1.Condition{Type: v1alpha1.ConditionClusterSeen, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSeen}
	switch {
	case cluster == "" || c.Attempted.IsZero() || c.Refused != nil:
		return nil
	case c.Health == nil:
		is.Message = fmt.Sprintf("pods of cluster %s report", cluster)
	case seen == nil:
		return nil
	case seen.Has(cluster):
		is.Message = fmt.Sprintf("Sysdig knows cluster %s, but none of its pods has reported %s in the last 5 minutes", cluster, c.Heartbeat.Metric)
	case len(seen.Names) == 0:
		is.Status, is.Reason = metav1.ConditionFalse, v1alpha1.ReasonClusterUnknown
		is.Message = "this token sees no cluster at all: its team may not see them, or no agent reports to this Sysdig"
	default:
		is.Status, is.Reason = metav1.ConditionFalse, v1alpha1.ReasonClusterUnknown
		is.Message = fmt.Sprintf("this token sees nothing of cluster %s, but of %s: correct spec.clusterName, or use a token whose team sees this cluster", cluster, listClusters(cluster, seen))
	}
	return is
}

// listClusters names the clusters whose names are nearest to one, in order.
func listClusters(wanted string, seen *registry.Clusters) string {
	names := slices.Clone(seen.Names)
	slices.SortStableFunc(names, func(a, b string) int {
		return levenshtein.ComputeDistance(wanted, a) - levenshtein.ComputeDistance(wanted, b)
	})
	names = names[:min(len(names), shownClusters)]
	slices.Sort(names)
	text := strings.Join(names, ", ")
	switch more := len(seen.Names) - len(names); {
	case !seen.All:
		text += " and many more"
	case more > 0:
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
