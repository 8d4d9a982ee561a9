package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

func stretched() registry.Connection {
	return registry.Connection{Name: "default", Interval: 30 * time.Second, Attempted: now, Usage: registry.Usage{
		Wanted: 42, Allowed: 10, AllowedBy: "Sysdig's X-RateLimit-Limit", Used: 9, Refused: 26, Replicas: 2,
		EffectiveInterval: 133 * time.Second, IngestionLag: 30 * time.Second,
	}}
}

func TestAConnectionSaysWhetherItsQuotaCarriesTheInterval(t *testing.T) {
	carried := stretched()
	carried.Usage.Allowed, carried.Usage.EffectiveInterval = 60, 30*time.Second
	for name, test := range map[string]struct {
		connection registry.Connection
		status     metav1.ConditionStatus // empty: there is no such condition
		reason     string
		message    []string
	}{
		"it does":                {carried, metav1.ConditionTrue, "WithinQuota", []string{"42 requests a minute are wanted, 60 allowed"}},
		"it does not":            {stretched(), metav1.ConditionFalse, "RateLimited", []string{"42 requests a minute are wanted, 10 allowed (Sysdig's X-RateLimit-Limit)", "every query is asked each 2m13s in place of 30s", "raise the quota"}},
		"nothing was asked yet":  {registry.Connection{Interval: time.Minute}, "", "", nil},
		"a binding has come yet": {registry.Connection{Interval: time.Minute, Attempted: now}, "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var found *metav1.Condition
			for _, c := range connectionConditions(test.connection) {
				if c.Type == v1alpha1.ConditionWithinQuota {
					found = &c
				}
			}
			if (found == nil) != (test.status == "") {
				t.Fatalf("got %+v", found)
			}
			if found == nil {
				return
			}
			if found.Status != test.status || found.Reason != test.reason {
				t.Errorf("got %+v", found)
			}
			for _, part := range test.message {
				if !strings.Contains(found.Message, part) {
					t.Errorf("%q lacks %q", found.Message, part)
				}
			}
		})
	}
}

func TestAConnectionSaysWhetherTheClocksAgree(t *testing.T) {
	for name, test := range map[string]struct {
		usage   registry.Usage
		status  metav1.ConditionStatus // empty: there is no such condition
		reason  string
		message []string
	}{
		"nobody knows":     {registry.Usage{EffectiveInterval: time.Minute}, "", "", nil},
		"they do":          {registry.Usage{ClockKnown: true}, metav1.ConditionTrue, "InStep", []string{"agree"}},
		"Sysdig is ahead":  {registry.Usage{ClockKnown: true, ClockSkew: 10 * time.Minute}, metav1.ConditionFalse, "ClockSkew", []string{"Sysdig's clock is 10m ahead of", "the operator corrects for it", "Check NTP"}},
		"Sysdig is behind": {registry.Usage{ClockKnown: true, ClockSkew: -7 * time.Second}, metav1.ConditionFalse, "ClockSkew", []string{"Sysdig's clock is 7s behind"}},
	} {
		t.Run(name, func(t *testing.T) {
			found := meta.FindStatusCondition(connectionConditions(registry.Connection{Interval: time.Minute, Attempted: now, Usage: test.usage}), v1alpha1.ConditionClockInStep)
			if (found == nil) != (test.status == "") {
				t.Fatalf("got %+v", found)
			}
			if found == nil {
				return
			}
			if found.Status != test.status || found.Reason != test.reason {
				t.Errorf("got %+v", found)
			}
			for _, part := range test.message {
				if !strings.Contains(found.Message, part) {
					t.Errorf("%q lacks %q", found.Message, part)
				}
			}
		})
	}
}

func TestClocksThatGetOutOfStepOrBackAreAnEvent(t *testing.T) {
	known := func(ahead time.Duration) []metav1.Condition {
		return connectionConditions(registry.Connection{Interval: time.Minute, Attempted: now, Usage: registry.Usage{ClockKnown: true, ClockSkew: ahead}})
	}
	unknown := connectionConditions(registry.Connection{Interval: time.Minute, Attempted: now})
	for name, test := range map[string]struct {
		before, after []metav1.Condition
		want          string // empty: none
	}{
		"in step from the start": {unknown, known(0), ""},
		"out from the start":     {unknown, known(time.Minute), "Warning ClockSkew"},
		"out of step":            {known(0), known(-time.Minute), "Warning ClockSkew"},
		"out by another skew":    {known(time.Minute), known(time.Hour), ""},
		"back in step":           {known(time.Minute), known(0), "Normal InStep"},
	} {
		recorder := events.NewFakeRecorder(10)
		c := &v1alpha1.SysdigConnection{Status: v1alpha1.SysdigConnectionStatus{Conditions: test.after}}
		(&ConnectionStatusReconciler{Events: recorder}).send(c, test.before, nil)
		close(recorder.Events)
		var got []string
		for event := range recorder.Events {
			got = append(got, event)
		}
		if want := test.want != ""; len(got) > 1 || want != (len(got) == 1) || want && !strings.HasPrefix(got[0], test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestAStatusShowsWhatIsSpentAndOnWhat(t *testing.T) {
	if got := showUsage(registry.Usage{}); got != nil {
		t.Errorf("before anything was asked: %+v", got)
	}
	want := &v1alpha1.RequestStatus{Wanted: 42, Allowed: 10, Used: 9, Refused: 26, Replicas: 2, EffectiveInterval: "2m13s", IngestionLag: "30s"}
	if diff := cmp.Diff(want, showUsage(stretched().Usage)); diff != "" {
		t.Error(diff)
	}
	typed := query.Shape{Grain: query.ByWorkload, Metric: "x", Time: v1alpha1.TimeRate, Group: "Average", Window: time.Minute, Where: `,code="200"`}.ID()
	secret := query.Shape{Grain: query.Raw, PromQL: "sum(secret_of_shop)", Namespace: "shop"}.ID()
	gone := query.Shape{Metric: "gone"}.ID()
	askers := map[query.ShapeID][]types.NamespacedName{
		typed:  {{Namespace: "bank", Name: "a"}, {Namespace: "shop", Name: "b"}},
		secret: {{Namespace: "shop", Name: "c"}},
	}
	got := showQueries([]registry.Cost{{Shape: typed, Requests: 4, Rows: 900, State: "asked in 4 parts"}, {Shape: gone, Requests: 1}, {Shape: secret, Requests: 1, Rows: 2}},
		func(shape query.ShapeID, limit int) (int, []types.NamespacedName) {
			return 7 * len(askers[shape]), askers[shape][:min(limit, len(askers[shape]))]
		})
	if diff := cmp.Diff([]v1alpha1.QueryStatus{
		{Name: `Average Rate(x[1m]) by Workload where code="200"`, RequestsPerRound: 4, Series: 900, Bindings: 14, AskedBy: []string{"bank/a", "shop/b"}, State: "asked in 4 parts"},
		{Name: "promQL of namespace shop", RequestsPerRound: 1, Series: 2, Bindings: 7, AskedBy: []string{"shop/c"}},
	}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDurationsAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 30 * time.Second: "30s", time.Minute: "1m", 90 * time.Second: "1m30s", time.Hour: "1h", 10 * time.Hour: "10h", 61 * time.Minute: "1h1m", time.Hour + 5*time.Second: "1h0m5s",
	} {
		if got := short(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}
