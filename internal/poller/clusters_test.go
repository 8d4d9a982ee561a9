package poller_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// looked are the times after noon at which the clusters were listed.
func (s *stage) looked() (at []time.Duration) {
	for _, r := range s.sysdig.Requests() {
		if strings.HasSuffix(r.Path, "/label/kube_cluster_name/values") || strings.Contains(r.Query, `{"id":"kubernetes.cluster.name"}`) {
			at = append(at, r.At.Sub(noon))
		}
	}
	return at
}

// TestTheClustersThatThereAreAreListedWhenNothingIsSeenOfOurs: once in five minutes, and not while pods report.
func TestTheClustersThatThereAreAreListedWhenNothingIsSeenOfOurs(t *testing.T) {
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newEmptyStage(t)
		s.byData = api == v1alpha1.APIData
		s.listed()
		lset := func(cluster string) map[string]string {
			return map[string]string{"__name__": sysdigtest.MetricUp, sysdigtest.LabelCluster: cluster, sysdigtest.LabelNamespace: "bank", sysdigtest.LabelPod: "vault-0"}
		}
		for _, others := range []string{"c9", "c7"} {
			sysdigtest.Fill(s.sysdig.Store(), lset(others), noon.Add(-15*time.Minute), noon.Add(time.Hour), func(time.Time) float64 { return 1 })
		}
		web := s.bind("web")
		s.run(9*time.Minute, func() {})
		s.wantReason(web, metric.Stale)
		known, _ := s.registry.Connection("default")
		if known.Clusters == nil || !slices.Equal(known.Clusters.Names, []string{"c7", "c9"}) || !known.Clusters.All {
			t.Errorf("the clusters are %+v, want c7 and c9", known.Clusters)
		}
		if at := s.looked(); len(at) != 2 || at[1]-at[0] < 5*time.Minute {
			t.Errorf("listed at %s, want twice in nine minutes", at)
		}
		sysdigtest.Fill(s.sysdig.Store(), lset("c1"), noon.Add(9*time.Minute), noon.Add(time.Hour), func(time.Time) float64 { return 1 })
		s.run(11*time.Minute, func() {})
		if known, _ := s.registry.Connection("default"); known.Clusters != nil || known.Health != nil {
			t.Errorf("pods report, and known are %+v and %v", known.Clusters, known.Health)
		}
		if at := s.looked(); len(at) != 2 {
			t.Errorf("listed at %s, also while pods report", at)
		}
	})
}

// TestNobodyLooksForClustersInAnOutage: it tells nothing, and asking on would make it worse.
func TestNobodyLooksForClustersInAnOutage(t *testing.T) {
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newListed(t, api)
		s.load("web", 1, perPod)
		s.bind("web")
		s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500})
		s.run(3*time.Minute, func() {})
		s.sysdig.RevokeToken(token)
		s.sysdig.ClearFault()
		s.run(3*time.Minute, func() {})
		if at := s.looked(); len(at) != 0 {
			t.Errorf("listed at %s", at)
		}
	})
}
