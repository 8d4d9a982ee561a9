package sysdigtest_test

import (
	"maps"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// pods a and b have points of 10 in the minute before noon, six each.
const ofPods = "sum by (kube_pod_name) (sum_over_time(x[1m]))"

func TestAVeilHidesOrZeroesThePointsThatItCovers(t *testing.T) {
	onlyA := sysdigtest.WithLabel(sysdigtest.LabelPod, "a")
	half, end := noon.Add(-30*time.Second), noon.Add(-10*time.Second)
	for name, c := range map[string]struct {
		veils []sysdigtest.Veil
		want  map[string]string
	}{
		"none":                             {nil, map[string]string{"a": "60", "b": "60"}},
		"all of one pod":                   {[]sysdigtest.Veil{{Covers: onlyA}}, map[string]string{"b": "60"}},
		"everything":                       {[]sysdigtest.Veil{{}}, map[string]string{}},
		"from a moment on":                 {[]sysdigtest.Veil{{From: half}}, map[string]string{"a": "20", "b": "20"}},
		"between two moments":              {[]sysdigtest.Veil{{From: half, Until: end}}, map[string]string{"a": "40", "b": "40"}},
		"before a moment":                  {[]sysdigtest.Veil{{Until: half}}, map[string]string{"a": "40", "b": "40"}},
		"a stretch without points":         {[]sysdigtest.Veil{{From: noon.Add(time.Second)}}, map[string]string{"a": "60", "b": "60"}},
		"zeroes of one pod":                {[]sysdigtest.Veil{{Covers: onlyA, From: half, Zero: true}}, map[string]string{"a": "20", "b": "60"}},
		"zeroes of one, nothing of others": {[]sysdigtest.Veil{{From: half, Zero: true}, {Covers: onlyA}}, map[string]string{"b": "20"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, sysdigtest.Options{})
			for _, pod := range []string{"a", "b"} {
				h.fill("x", map[string]string{sysdigtest.LabelPod: pod}, 10)
			}
			h.Store().SetVeils(c.veils...)
			if got := h.query(ofPods).by(sysdigtest.LabelPod); !maps.Equal(got, c.want) {
				t.Errorf("seen %v, want %v", got, c.want)
			}
			h.Store().SetVeils()
			if got, want := h.query(ofPods).by(sysdigtest.LabelPod), (map[string]string{"a": "60", "b": "60"}); !maps.Equal(got, want) {
				t.Errorf("seen %v after the veil was lifted, want %v", got, want)
			}
		})
	}
}

func TestAVeilCoversPointsThatComeLater(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.Store().SetVeils(sysdigtest.Veil{Covers: func(l labels.Labels) bool { return l.Get("__name__") == "x" }})
	h.fill("x", nil, 10)
	h.fill("up", nil, 1)
	if got := len(h.query("x").Data.Result); got != 0 {
		t.Errorf("x has %d series, want none", got)
	}
	if got := h.query("up").one(t); got != "1" {
		t.Errorf("up is %s, want 1", got)
	}
}

func TestAStoreThatForgetsHasNoPoints(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", nil, 10)
	h.Store().Forget()
	if got := len(h.query("x").Data.Result); got != 0 {
		t.Errorf("%d series, want none", got)
	}
	h.fill("x", nil, 20)
	if got := h.query("x").one(t); got != "20" {
		t.Errorf("x is %s, want what was stored afterwards", got)
	}
}
