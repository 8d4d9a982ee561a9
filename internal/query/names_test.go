package query_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// metricPairs are metrics of Sysdig's agents in both notations, of containers.
var metricPairs = map[string]string{
	"net.http.request.count": "sysdig_container_net_http_request_count", "net.http.error.count": "sysdig_container_net_http_error_count",
	"net.http.request.time": "sysdig_container_net_http_request_time", "net.request.count": "sysdig_container_net_request_count",
	"net.request.time": "sysdig_container_net_request_time", "net.sql.request.count": "sysdig_container_net_sql_request_count",
	"net.sql.error.count": "sysdig_container_net_sql_error_count", "net.sql.request.time": "sysdig_container_net_sql_request_time",
	"net.mongodb.request.count": "sysdig_container_net_mongodb_request_count", "net.mongodb.error.count": "sysdig_container_net_mongodb_error_count",
	"net.mongodb.request.time": "sysdig_container_net_mongodb_request_time", "net.bytes.in": "sysdig_container_net_in_bytes",
	"net.bytes.out": "sysdig_container_net_out_bytes", "net.bytes.total": "sysdig_container_net_total_bytes",
	"cpu.used.percent": "sysdig_container_cpu_used_percent", "cpu.cores.used": "sysdig_container_cpu_cores_used",
	"cpu.cores.used.percent": "sysdig_container_cpu_cores_used_percent", "memory.bytes.used": "sysdig_container_memory_used_bytes",
	"memory.bytes.virtual": "sysdig_container_memory_virtual_bytes", "memory.used.percent": "sysdig_container_memory_used_percent",
	"fs.used.percent": "sysdig_container_fs_used_percent", "fs.bytes.used": "sysdig_container_fs_used_bytes",
	"fs.bytes.free": "sysdig_container_fs_free_bytes", "fs.bytes.total": "sysdig_container_fs_total_bytes",
	"fs.inodes.used.percent": "sysdig_container_fs_inodes_used_percent", "thread.count": "sysdig_container_thread_count",
	"proc.count": "sysdig_container_proc_count", "host.error.count": "sysdig_container_syscall_error_count", "uptime": "sysdig_container_up",
	"container.count": "sysdig_container_count", "jvm.heap.used": "jmx_jvm_heap_used", "file.bytes.total": "sysdig_container_file_total_bytes",
	"net.request.count.in": "sysdig_container_net_request_in_count", "net.request.count.out": "sysdig_container_net_request_out_count",
	"net.connection.count.in": "sysdig_container_net_connection_in_count", "net.connection.count.out": "sysdig_container_net_connection_out_count",
	"net.connection.count.total": "sysdig_container_net_connection_total_count",
	"file.iops.in":               "sysdig_container_file_in_iops", "file.iops.out": "sysdig_container_file_out_iops", "file.iops.total": "sysdig_container_file_iops_total",
	"file.time.in": "sysdig_container_file_in_time", "file.time.out": "sysdig_container_file_out_time", "file.time.total": "sysdig_container_file_total_time",
	"file.open.count": "sysdig_container_file_open_count", "file.error.total.count": "sysdig_container_file_error_total_count",
	"memory.limit.used.percent": "sysdig_container_memory_limit_used_percent", "memory.limit.bytes": "sysdig_container_memory_limit_bytes",
}

var labelPairs = map[string]string{
	"kubernetes.cluster.name": "kube_cluster_name", "kubernetes.namespace.name": "kube_namespace_name", "kubernetes.workload.name": "kube_workload_name",
	"kubernetes.workload.type": "kube_workload_type", "kubernetes.pod.name": "kube_pod_name", "kubernetes.node.name": "kube_node_name",
	"kubernetes.deployment.name": "kube_deployment_name", "kubernetes.statefulSet.name": "kube_statefulset_name",
	"kubernetes.daemonSet.name": "kube_daemonset_name", "kubernetes.replicaSet.name": "kube_replicaset_name",
	"kubernetes.service.name": "kube_service_name", "container.name": "container_name", "host.hostName": "host_hostname", "host.mac": "host_mac",
	"agent.tag.zone": "agent_tag_zone", "kubernetes.pod.label.app": "kube_pod_label_app", "net.http.method": "net_http_method", "net.http.url": "net_http_url",
}

func TestNamesOfMetricsInBothDirections(t *testing.T) {
	for dotted, promQL := range metricPairs {
		for _, name := range []string{dotted, promQL} {
			if got := query.PromQLName(name); got != promQL {
				t.Errorf("%s is %s in PromQL, want %s", name, got, promQL)
			}
			if got, source := query.DataName(name); got != dotted || source != "container" {
				t.Errorf("%s is %s of %ss in the data API, want %s", name, got, source, dotted)
			}
		}
		if host, ok := strings.CutPrefix(promQL, "sysdig_container_"); ok && dotted != "container.count" {
			if got, source := query.DataName("sysdig_host_" + host); got != dotted || source != "host" {
				t.Errorf("sysdig_host_%s is %s of %ss, want %s of hosts", host, got, source, dotted)
			}
		}
	}
	for _, scraped := range []string{"http_requests_total", "kube_pod_info", "jvm_memory_bytes_used", "process_resident_memory_bytes", "up"} {
		if got, source := query.DataName(scraped); got != scraped || source != "container" || query.PromQLName(scraped) != scraped {
			t.Errorf("%s is %s of %ss", scraped, got, source)
		}
	}
}

// TestTheTableOfMetricsIsWhole reads it row by row, and each name of each row in both directions.
func TestTheTableOfMetricsIsWhole(t *testing.T) {
	rows, dotted := query.Rows(), []string{}
	for line := range strings.Lines(query.MetricsTSV) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(fields) != 7 || slices.Contains(fields, "") {
			t.Fatalf("not seven fields: %q", line)
		}
		dotted = append(dotted, fields[0])
	}
	if !slices.IsSorted(dotted) || len(slices.Compact(slices.Clone(dotted))) != len(dotted) || len(dotted) < 100 {
		t.Errorf("%d metrics, sorted: %t", len(dotted), slices.IsSorted(dotted))
	}
	names := 0
	for _, name := range dotted {
		row := rows[name]
		if row.Dotted != name || !slices.Contains([]string{query.Counter, query.Gauge, ""}, row.Kind) || !slices.Contains([]string{"number", "byte", "ns", "s", "%"}, row.Unit) {
			t.Errorf("%s is %+v", name, row)
		}
		if slices.Contains([]string{"%", "s"}, row.Unit) && row.Kind != query.Gauge || row.Kind == query.Counter && strings.HasSuffix(name, "percent") {
			t.Errorf("%s is a %s in %s", name, row.Kind, row.Unit)
		}
		names += 1 + len(row.Scopes)*(1+len(row.Others))
		if row.PromQL == "" {
			if len(row.Scopes) > 0 {
				t.Errorf("%s has scopes and no name", name)
			}
			continue
		}
		if got := query.PromQLName(name); got != row.PromQL {
			t.Errorf("%s is %s in PromQL, want %s", name, got, row.PromQL)
		}
		for _, promQL := range append([]string{row.PromQL}, row.Others...) {
			if got, source := query.DataName(promQL); got != name || (source == "host") != strings.HasPrefix(promQL, "sysdig_host_") {
				t.Errorf("%s is %s of %ss, want %s", promQL, got, source, name)
			}
			if query.PromQLName(promQL) != promQL {
				t.Errorf("%s is another one in PromQL", promQL)
			}
		}
		if got, source := query.DataName(name); got != name || (source == "host") != (row.Scopes[0] == "host") {
			t.Errorf("%s is %s of %ss", name, got, source)
		}
	}
	if names != len(rows) {
		t.Errorf("%d names for %d: two rows have one in common", len(rows), names)
	}
}

// TestMetricsOfHostsOnly have no name that containers have.
func TestMetricsOfHostsOnly(t *testing.T) {
	for dotted, promQL := range map[string]string{
		"cpu.idle.percent": "sysdig_host_cpu_idle_percent", "load.average.percpu.1m": "sysdig_host_load_average_percpu_1m", "system.uptime": "sysdig_host_system_uptime",
		"memory.swap.bytes.used": "sysdig_host_memory_swap_used_bytes", "memory.bytes.available": "sysdig_host_memory_available_bytes",
	} {
		for _, name := range []string{dotted, promQL} {
			if id, source := query.DataName(name); query.PromQLName(name) != promQL || id != dotted || source != "host" {
				t.Errorf("%s is %s, and %s of %ss", name, query.PromQLName(name), id, source)
			}
		}
	}
	for _, name := range []string{"sysdig_program_net_request_in_count", "sysdig_connection_net_request_in_count", "sysdig_fs_used_percent"} {
		if id, _ := query.DataName(name); id != name { // the data API has no entity for them
			t.Errorf("%s is %s", name, id)
		}
	}
}

// TestTheNameThatThereIsWins compiles names on which Sysdig's pages disagree.
func TestTheNameThatThereIsWins(t *testing.T) {
	for name, spellings := range map[string][2]string{ // the usual one, and the other
		"file.bytes.total": {"sysdig_container_file_total_bytes", "sysdig_container_file_bytes_total"}, "file.time.total": {"sysdig_container_file_total_time", "sysdig_container_file_time_total"},
		"file.iops.total":     {"sysdig_container_file_iops_total", "sysdig_container_file_total_iops"},
		"net.request.time.in": {"sysdig_container_net_request_in_time", "sysdig_container_net_time_in_count"}, "net.request.time.out": {"sysdig_container_net_request_out_time", "sysdig_container_net_time_out_count"},
	} {
		usual, other := spellings[0], spellings[1]
		for _, test := range []struct {
			what, name, want string
			listed           []string
		}{
			{"nothing is listed", name, usual, nil},
			{"neither is listed", name, usual, []string{"up"}},
			{"the usual one is listed", name, usual, []string{usual}},
			{"the other one is listed", name, other, []string{other}},
			{"both are listed", name, usual, []string{usual, other}},
			{"one is written out", usual, usual, []string{other}},
			{"the other one is written out", other, other, []string{usual}},
		} {
			slices.Sort(test.listed)
			d := query.Compile(binding(named(test.name), aggregated(v1alpha1.TimeAverage, v1alpha1.GroupSum)), connection(), query.Target{Metrics: test.listed})
			if got := d.Question.Shape.Value().Metric; d.Refused != nil || got != test.want {
				t.Errorf("%s, %s: asked as %s, %v, want %s", test.name, test.what, got, d.Refused, test.want)
			}
		}
		if b := binding(named(name)); !query.Untold(b, v1alpha1.APIPrometheus) || query.Untold(b, v1alpha1.APIData) || query.Untold(binding(named(usual)), v1alpha1.APIPrometheus) {
			t.Errorf("%s waits for the wrong names", name)
		}
		for _, spelling := range spellings {
			if id, source := query.DataName(spelling); id != name || source != "container" {
				t.Errorf("%s is %s of %ss", spelling, id, source)
			}
		}
	}
}

// TestMetricsThatPrometheusDoesNotHaveAreRefused says so at once, in place of a name that the rule would make up.
func TestMetricsThatPrometheusDoesNotHaveAreRefused(t *testing.T) {
	const want = "spec.source.metric.name: Sysdig's Prometheus API has no memory.pageFault.major; use another metric, or a connection with api Data"
	b := binding(named("memory.pageFault.major"), aggregated(v1alpha1.TimeAverage, v1alpha1.GroupSum))
	if d := query.Compile(b, connection(), query.Target{}); d.Refused == nil || d.Refused.Message != want {
		t.Errorf("got %v", d.Refused)
	}
	if d := query.Compile(b, connection(byData), query.Target{}); d.Refused != nil || d.Question.Shape.Value().Metric != "memory.pageFault.major" {
		t.Errorf("by the data API: %v", d.Refused)
	}
}

func TestNamesOfLabelsInBothDirections(t *testing.T) {
	for dotted, promQL := range labelPairs {
		for _, name := range []string{dotted, promQL} {
			if got := query.PromQLLabel(name); got != promQL {
				t.Errorf("%s is %s in PromQL, want %s", name, got, promQL)
			}
			if got := query.DataLabel(name); got != dotted {
				t.Errorf("%s is %s in the data API, want %s", name, got, dotted)
			}
		}
	}
	for _, spelling := range []string{"net_http_statusCode", "net_http_statuscode"} {
		if got := query.DataLabel(spelling); got != "net.http.statusCode" {
			t.Errorf("%s is %s", spelling, got)
		}
	}
}

// FuzzNames goes from either notation to the other and back. What comes back names the same. No dotted name has an underscore.
func FuzzNames(f *testing.F) {
	for name := range query.Rows() {
		f.Add(name)
	}
	for _, name := range []string{"a", "a.b", "bytes", "bytes.a", "a.bytes", "a.bytes.b.c", "sysdig_container_", "sysdig_container_bytes", "sysdig_container_a_bytes", "sysdig_container_bytes_0", "sysdig_container_a_b_bytes_c", "jvm.a", "jmx_jvm_a", "sysdig_host_x"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.HasPrefix(name, "sysdig_host_") { // the PromQL name of containers comes back: the entity is told apart from the name
			t.Skip()
		}
		dotted := strings.Contains(name, ".")
		if dotted && (strings.Contains(name, "_") || slices.Contains(strings.Split(name, "."), "")) { // no dotted name has an empty word
			t.Skip()
		}
		promQL := query.PromQLName(name)
		id, _ := query.DataName(promQL)
		if again := query.PromQLName(id); dotted && again != promQL {
			t.Errorf("%s is %s in PromQL, which is %s in the data API, which is %s in PromQL", name, promQL, id, again)
		}
		if slices.Contains(strings.Split(id, "."), "") {
			return // a dotted name has no empty word: where the unit stood among such is lost
		}
		if again, _ := query.DataName(query.PromQLName(id)); again != id {
			t.Errorf("%s is %s in the data API, and %s when it has been through PromQL", name, id, again)
		}
	})
}

// TestTheStandInNamesTheSame compares the tables with those of the stand-in, which are written apart: they are what it lists.
func TestTheStandInNamesTheSame(t *testing.T) {
	s := newSysdig(t)
	for _, promQL := range metricPairs {
		s.series(promQL, "c1", "shop", "web", "web-1", 1, 0)
	}
	lset := map[string]string{"__name__": "labelled"}
	for _, promQL := range labelPairs {
		lset[promQL] = "v"
	}
	sysdigtest.Fill(s.Store(), lset, noon.Add(-time.Minute), noon, func(time.Time) float64 { return 1 })
	var metrics struct{ MetricDescriptors []struct{ ID string } }
	s.get(t, "/api/v2/metrics/descriptors?limit=5000", &metrics)
	listed, both := map[string]bool{}, 0
	for _, d := range metrics.MetricDescriptors {
		listed[d.ID] = true
	}
	for _, promQL := range metricPairs {
		id, _ := query.DataName(promQL)
		switch {
		case listed[id]:
			both++
		case !listed[promQL]: // otherwise the stand-in has no dotted name for it
			t.Errorf("%s is %s, and another one for the stand-in", promQL, id)
		}
	}
	if both != len(metricPairs) {
		t.Errorf("%d of %d metrics are compared", both, len(metricPairs))
	}
	var labels struct {
		AllLabels []struct{ ID, PublicID string }
	}
	s.get(t, "/api/v3/labels/?limit=6000", &labels)
	compared := 0
	for _, label := range labels.AllLabels {
		if _, ours := labelPairs[label.ID]; !ours {
			continue
		}
		compared++
		if got := query.DataLabel(label.PublicID); got != label.ID {
			t.Errorf("%s is %s, and %s for the stand-in", label.PublicID, got, label.ID)
		}
		if got := query.PromQLLabel(label.ID); got != label.PublicID {
			t.Errorf("%s is %s, and %s for the stand-in", label.ID, got, label.PublicID)
		}
	}
	if compared != len(labelPairs) {
		t.Errorf("%d of %d labels are compared", compared, len(labelPairs))
	}
}

func (s *sysdigStage) get(t *testing.T, path string, into any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer token")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: HTTP %d, %v", path, response.StatusCode, err)
	}
}

// TestWhatSysdigTellsOfLabelsWins compiles a label whose rule would be another one.
func TestWhatSysdigTellsOfLabelsWins(t *testing.T) {
	told := map[string]string{"kube_node_name": "host.node", "region": "cloud.region", "kube_pod_name": "elsewhere"}
	for label, want := range map[string]string{
		"kube_node_name":    `host.node = "v"`,
		"region":            `cloud.region = "v"`,
		"zone":              `zone = "v"`,
		"kube_service_name": `kubernetes.service.name = "v"`,
	} {
		d := query.Compile(binding(where(label, v1alpha1.FilterIn, "v")), connection(byData), query.Target{Labels: told})
		if d.Refused != nil || d.Question.Shape.Value().Where != want {
			t.Errorf("%s became %q, %v; want %s", label, d.Question.Shape.Value().Where, d.Refused, want)
		}
	}
	// By PromQL they are what they are.
	d := query.Compile(binding(where("kube_node_name", v1alpha1.FilterIn, "v")), connection(), query.Target{Labels: told})
	if got := d.Question.Shape.Value().Where; got != `,kube_node_name="v"` {
		t.Errorf("by PromQL it is %s", got)
	}
}

// TestAHostsMetricIsAskedOfHosts has a host and a container report under one dotted name.
func TestAHostsMetricIsAskedOfHosts(t *testing.T) {
	s := newSysdig(t)
	s.series("sysdig_host_cpu_used_percent", "c1", "shop", "web", "web-1", 90, 0)
	s.series("sysdig_container_cpu_used_percent", "c1", "shop", "web", "web-1", 5, 0)
	for name, want := range map[string]string{
		"sysdig_host_cpu_used_percent": "90, 30s old", "sysdig_container_cpu_used_percent": "5, 30s old", "cpu.used.percent": "5, 30s old",
	} {
		d := compile(t, binding(named(name), aggregated(v1alpha1.TimeAverage, v1alpha1.GroupAverage)), connection(byData))
		if got := show(s.askOne(d.Question, cluster{})); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// TestTheLastPointsOfPodsMayBeOfDifferentTimes sums pods whose newest points are 10 seconds and more apart: no bucket holds them all.
// A pod that has stopped within the window, but longer ago than anybody looks back, has a last point for PromQL only.
func TestTheLastPointsOfPodsMayBeOfDifferentTimes(t *testing.T) {
	s := newSysdig(t)
	for pod, until := range map[string]time.Duration{"web-1": 0, "web-2": 40 * time.Second, "web-3": 70 * time.Second} {
		s.series("gauge", "c1", "shop", "web", pod, 5, until)
	}
	s.series("gauge", "c1", "shop", "web", "web-gone", 100, 7*time.Minute)
	for group, want := range map[v1alpha1.GroupAggregation][3]string{ // over 5 minutes by both, over 10 by PromQL, and by data
		v1alpha1.GroupSum: {"15, 30s old", "115, 30s old", "15, 30s old"}, v1alpha1.GroupMax: {"5, 30s old", "100, 30s old", "5, 30s old"},
		v1alpha1.GroupAverage: {"5, 30s old", "28.75, 30s old", "5, 30s old"},
	} {
		for i, c := range []*v1alpha1.SysdigConnection{connection(), connection(byData)} {
			for w, want := range map[time.Duration]string{5 * time.Minute: want[0], 10 * time.Minute: want[1+i]} {
				d := compile(t, binding(named("gauge"), aggregated(v1alpha1.TimeLast, group), window(w)), c)
				if got := show(s.askOne(d.Question, cluster{})); got != want {
					t.Errorf("%s over %s by %q is %s, want %s", group, w, c.Spec.API, got, want)
				}
			}
		}
	}
}

// TestAServiceWithoutItsLabelHasNoData: series that lack the label describe no Service, and no other one.
func TestAServiceWithoutItsLabelHasNoData(t *testing.T) {
	s := newSysdig(t)
	s.series("gauge", "c1", "shop", "web", "web-1", 5, 0)
	d := compile(t, binding(named("gauge"), aggregated(v1alpha1.TimeAverage, v1alpha1.GroupSum), target("v1", "Service", "front")), connection(byData))
	if got, want := show(s.askOne(d.Question, cluster{})), "NoData: Sysdig answered and holds nothing for this object"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	all := compile(t, binding(named("gauge"), aggregated(v1alpha1.TimeAverage, v1alpha1.GroupSum), every("v1", "Service", nil)), connection(byData))
	outcome := s.askOne(all.Question, cluster{services: func(string, string) map[string]string { return map[string]string{"front": "app=web"} }})
	if got, want := showObjects(outcome), "front: NoData: Sysdig answered and holds nothing for this object"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestBucketsWithoutAPointAreNoPoints has Sysdig send a row for each bucket of a segment, also for those without a point.
func TestBucketsWithoutAPointAreNoPoints(t *testing.T) {
	s := newSysdig(t)
	s.SetSwitches(sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{NullGaps: true}})
	s.series("gauge", "c1", "shop", "web", "web-1", 5, 0)
	s.series("gauge", "c1", "shop", "web", "web-2", 5, 40*time.Second)
	s.series("gauge", "c1", "shop", "web", "web-gone", 5, 6*time.Minute)
	for _, w := range []time.Duration{time.Minute, 10 * time.Minute} {
		d := compile(t, binding(named("gauge"), aggregated(v1alpha1.TimeMax, v1alpha1.GroupMax), window(w)), connection(byData))
		if got, want := show(s.askOne(d.Question, cluster{})), "5, 30s old"; got != want {
			t.Errorf("over %s it is %s, want %s", w, got, want)
		}
	}
}

func TestAHeartbeatMayBeWrittenInEitherNotation(t *testing.T) {
	for written, asked := range map[string]string{
		"sysdig_container_up": "sysdig_container_up", "uptime": "sysdig_container_up", "memory.bytes.used": "sysdig_container_memory_used_bytes", "my_up": "my_up",
	} {
		h := query.Heartbeat{Metric: written, Scope: query.ScopeOf(connection())}
		if got, want := h.PromQL(h.Needs(nil)), `max(timestamp(`+asked+`{kube_cluster_name="c1"}))`; got != want {
			t.Errorf("%s is asked as %s, want %s", written, got, want)
		}
	}
}
