package sysdigtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// listed is a page of descriptors.
type listed struct {
	Total, Offset     int
	MetricDescriptors []struct {
		ID, MetricType, Type                            string
		Namespaces, TimeAggregations, GroupAggregations []string
		CanMonitor                                      bool
	}
}

func (l listed) ids() string {
	var ids []string
	for _, d := range l.MetricDescriptors {
		ids = append(ids, d.ID)
	}
	return strings.Join(ids, " ")
}

// classic asks a route of the classic API by GET.
func (h *harness) classic(route string, params url.Values, change ...func(*http.Request)) result {
	h.t.Helper()
	h.path = "/api/"
	defer func() { h.path = "/prometheus/api/v1/" }()
	return h.get(route, params, change...)
}

func (h *harness) descriptors(params url.Values, change ...func(*http.Request)) (l listed) {
	h.t.Helper()
	res := h.classic("v2/metrics/descriptors", params, change...)
	wantStatus(h.t, res, http.StatusOK)
	if err := json.Unmarshal([]byte(res.body), &l); err != nil {
		h.t.Fatalf("%v: %s", err, res.body)
	}
	return l
}

// L1.
func TestDescriptorsArePagedAndFiltered(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for _, m := range []string{requests, "sysdig_host_net_http_request_count", sysdigtest.MetricCPU, "sysdig_container_cpu_used_percent", "http_requests_total"} {
		h.fill(m, pod("a"), 1)
	}
	for what, c := range map[string]struct {
		params url.Values
		want   string
		total  int
	}{
		"all":          {nil, "cpu.cores.used cpu.used.percent http_requests_total net.http.request.count", 4},
		"a page":       {url.Values{"offset": {"1"}, "limit": {"2"}}, "cpu.used.percent http_requests_total", 4},
		"the last":     {url.Values{"offset": {"3"}, "limit": {"2"}}, "net.http.request.count", 4},
		"past the end": {url.Values{"offset": {"9"}, "limit": {"2"}}, "", 4},
		"by name":      {url.Values{"filter": {"request"}, "limit": {"1"}}, "http_requests_total", 2},
		"by type":      {url.Values{"types": {"%,double"}}, "cpu.cores.used cpu.used.percent", 2},
		"by kind":      {url.Values{"metricTypes": {"counter,histogram"}}, "http_requests_total net.http.request.count", 2},
	} {
		t.Run(what, func(t *testing.T) {
			got := h.descriptors(c.params)
			if got.ids() != c.want || got.Total != c.total {
				t.Errorf("%s of %d, want %s of %d", got.ids(), got.Total, c.want, c.total)
			}
		})
	}
	wantStatus(t, h.classic("v2/metrics/descriptors", url.Values{"limit": {"many"}}), http.StatusBadRequest, `{"errors":[`)
}

func TestADescriptorTellsEntitiesAndDefaults(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for _, m := range []string{requests, "sysdig_host_net_http_request_count", sysdigtest.MetricCPU} {
		h.fill(m, pod("a"), 1)
	}
	all := h.descriptors(nil).MetricDescriptors
	cpu, http := all[0], all[1]
	if cpu.TimeAggregations[0] != "avg" || cpu.GroupAggregations[0] != "avg" || slices.Contains(cpu.Namespaces, "host") {
		t.Errorf("gauge of containers %+v", cpu)
	}
	if http.TimeAggregations[0] != "timeAvg" || http.GroupAggregations[0] != "sum" || !slices.Contains(http.Namespaces, "host") || !slices.Contains(http.Namespaces, "host.container") {
		t.Errorf("counter of both %+v", http)
	}
	// L5.
	h.fill("jmx_jvm_heap_used", pod("a"), 1)
	for _, d := range h.descriptors(nil).MetricDescriptors {
		if d.CanMonitor || d.ID == "jvm.heap.used" && d.MetricType != "counter" {
			t.Errorf("descriptor %+v", d)
		}
	}
}

func TestDescriptorsHaveTheFieldsOfTheRecordedOnes(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, pod("a"), 1)
	var recorded, ours struct{ MetricDescriptors []map[string]any }
	readJSON(t, "metrics-descriptors-jvm.json", &recorded)
	if err := json.Unmarshal([]byte(h.classic("v2/metrics/descriptors", nil).body), &ours); err != nil {
		t.Fatal(err)
	}
	// Some have this one.
	for _, d := range recorded.MetricDescriptors {
		delete(d, "documented")
	}
	for field, value := range recorded.MetricDescriptors[1] {
		if got := ours.MetricDescriptors[0][field]; fmt.Sprintf("%T", got) != fmt.Sprintf("%T", value) {
			t.Errorf("%s is %v, recorded %v", field, got, value)
		}
	}
}

// L2.
func TestAShortPageNeedNotBeTheLast(t *testing.T) {
	h := serve(t, sysdigtest.Options{Limits: sysdigtest.Limits{Descriptors: 2}})
	for i := range 5 {
		h.fill(fmt.Sprintf("m%d", i), nil, 1)
	}
	for _, params := range []url.Values{nil, {"limit": {"5000"}}} {
		if got := h.descriptors(params); got.ids() != "m0 m1" || got.Total != 5 {
			t.Errorf("%v: %s of %d, want two of 5", params, got.ids(), got.Total)
		}
	}
}

// L3.
func TestAnOldBackendHasTheOldestListOnly(t *testing.T) {
	h := serve(t, sysdigtest.Options{Switches: sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{OldBackend: true}}})
	h.fill(requests, pod("a"), 1)
	wantStatus(t, h.classic("v2/metrics/descriptors", nil), http.StatusInternalServerError)
	res := h.classic("data/metrics", url.Values{"light": {"true"}})
	wantStatus(t, res, http.StatusOK)

	var recorded, ours map[string]map[string]any
	readJSON(t, "legacy-data-metrics.json", &recorded)
	if err := json.Unmarshal([]byte(res.body), &ours); err != nil {
		t.Fatal(err)
	}
	const id = "net.http.request.count"
	for _, field := range []string{"id", "name", "description", "type", "metricType", "canMonitor", "hidden"} {
		if _, isText := recorded[id][field].(string); ours[id][field] == nil || isText != (fmt.Sprintf("%T", ours[id][field]) == "string") {
			t.Errorf("%s is %v, recorded %v", field, ours[id][field], recorded[id][field])
		}
	}
	if got := fmt.Sprint(ours[id]["groupBy"]); got != "[kubernetes.pod.name]" {
		t.Errorf("groupBy %s", got)
	}
}

// L4.
func TestTheRecordedPageIsServedAsItIs(t *testing.T) {
	h := serve(t, sysdigtest.Options{Switches: sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{RecordedDescriptors: true}}})
	want, err := os.ReadFile("testdata/metrics-descriptors-jvm.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []string{"", "48", "5000"} {
		if got := h.classic("v2/metrics/descriptors", url.Values{"limit": {limit}}).body; got != string(want) {
			t.Errorf("limit %s: %d bytes, recorded are %d", limit, len(got), len(want))
		}
	}
	if got := h.descriptors(url.Values{"offset": {"40"}, "limit": {"10"}}); got.Total != 48 || len(got.MetricDescriptors) != 8 || got.Offset != 40 {
		t.Errorf("%d of %d from %d", len(got.MetricDescriptors), got.Total, got.Offset)
	}
	if got := h.descriptors(url.Values{"filter": {"heap.used.percent"}}); got.ids() != "jvm.heap.used.percent" || got.Total != 1 {
		t.Errorf("%s of %d", got.ids(), got.Total)
	}
}

// L7.
func TestMetricsAppearAndDisappearWhilePaging(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for _, m := range []string{"a", "b", "c"} {
		h.fill(m, nil, 1)
	}
	if got := h.descriptors(url.Values{"limit": {"2"}}); got.ids() != "a b" || got.Total != 3 {
		t.Errorf("%s of %d", got.ids(), got.Total)
	}
	h.Store().SetVeils(sysdigtest.Veil{Covers: sysdigtest.WithLabel("__name__", "a")})
	if got := h.descriptors(url.Values{"limit": {"2"}, "offset": {"2"}}); got.ids() != "" || got.Total != 2 {
		t.Errorf("%s of %d, want none of 2", got.ids(), got.Total)
	}
	h.fill("d", nil, 1)
	if got := h.descriptors(url.Values{"limit": {"2"}, "offset": {"2"}}); got.ids() != "d" || got.Total != 3 {
		t.Errorf("%s of %d, want the new one of 3", got.ids(), got.Total)
	}
}

// L6.
func TestLabelsComeInBothNotations(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.AddToken("one", sysdigtest.WithLabel("kube_cluster_name", "c2"))
	h.fill(requests, map[string]string{
		"kube_cluster_name": "c1", "kube_statefulset_name": "db", "kube_pod_label_app": "x", "agent_tag_zone": "z", "le": "1",
		sysdigtest.LabelService: "shop", "_sysdig_datasource": "agent",
	}, 1)
	const all = `{"allLabels":[{"id":"agent.tag.zone","publicId":"agent_tag_zone"},` +
		`{"id":"kubernetes.cluster.name","publicId":"kube_cluster_name"},` +
		`{"id":"kubernetes.pod.label.app","publicId":"kube_pod_label_app"},` +
		`{"id":"kubernetes.service.name","publicId":"kube_service_name"},` +
		`{"id":"kubernetes.statefulSet.name","publicId":"kube_statefulset_name"},` +
		`{"id":"le","publicId":"le"}]}`
	for _, route := range []string{"v3/labels", "v3/labels/"} {
		if got := h.classic(route, url.Values{"limit": {"6000"}}).body; got != all {
			t.Errorf("labels %s, want %s", got, all)
		}
	}
	if got, want := h.classic("v3/labels/", url.Values{"limit": {"1"}}).body, `{"allLabels":[{"id":"agent.tag.zone","publicId":"agent_tag_zone"}]}`; got != want {
		t.Errorf("labels %s, want one", got)
	}
	if got := h.classic("v3/labels/", nil, withToken("one")).body; got != `{"allLabels":[]}` {
		t.Errorf("another team sees %s", got)
	}
	wantStatus(t, h.classic("v3/labels/", url.Values{"limit": {"-1"}}), http.StatusBadRequest)
}

// Section 5.5 of the contract, in the words of the data API.
func TestDottedNamesStandForThoseOfPromQL(t *testing.T) {
	for dotted, promQL := range map[string]string{
		"net.http.request.count": "sysdig_container_net_http_request_count",
		"net.bytes.in":           "sysdig_container_net_in_bytes",
		"net.bytes.total":        "sysdig_container_net_total_bytes",
		"memory.bytes.used":      "sysdig_container_memory_used_bytes",
		"memory.used.percent":    "sysdig_container_memory_used_percent",
		"fs.bytes.free":          "sysdig_container_fs_free_bytes",
		"cpu.cores.used.percent": "sysdig_container_cpu_cores_used_percent",
		"thread.count":           "sysdig_container_thread_count",
		"host.error.count":       "sysdig_container_syscall_error_count",
		"uptime":                 "sysdig_container_up",
		"container.count":        "sysdig_container_count",
		"jvm.heap.used":          "jmx_jvm_heap_used",
		"net.sql.request.count":  "sysdig_container_net_sql_request_count",
		"my.own.metric":          "sysdig_container_my_own_metric",
		"queue_length":           "queue_length",
	} {
		t.Run(dotted, func(t *testing.T) {
			h := serve(t, sysdigtest.Options{})
			h.fill(promQL, pod("a"), 10)
			wantRows(t, h.data(minute(dotted+":avg:avg")), "10")
		})
	}
	for dotted, promQL := range map[string]string{
		"kubernetes.cluster.name":      "kube_cluster_name",
		"kubernetes.namespace.name":    "kube_namespace_name",
		"kubernetes.workload.name":     "kube_workload_name",
		"kubernetes.workload.type":     "kube_workload_type",
		"kubernetes.pod.name":          "kube_pod_name",
		"kubernetes.node.name":         "kube_node_name",
		"kubernetes.deployment.name":   "kube_deployment_name",
		"kubernetes.statefulSet.name":  "kube_statefulset_name",
		"kubernetes.daemonSet.name":    "kube_daemonset_name",
		"kubernetes.replicaSet.name":   "kube_replicaset_name",
		"kubernetes.pod.label.k8s-app": "kube_pod_label_k8s_app",
		"container.name":               "container_name",
		"host.hostName":                "host_hostname",
		"host.mac":                     "host_mac",
		"agent.tag.x":                  "agent_tag_x",
		"net.http.method":              "net_http_method",
		"tenant":                       "tenant",
	} {
		t.Run(dotted, func(t *testing.T) {
			h := serve(t, sysdigtest.Options{})
			h.fill(requests, map[string]string{promQL: "v"}, 10)
			wantRows(t, h.data(minute(dotted, "net.http.request.count:avg:avg")), "v 10")
		})
	}
}
