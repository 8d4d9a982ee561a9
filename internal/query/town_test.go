package query_test

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// town is several namespaces with random series, in which objects have the same names, and a Sysdig that answers about them.
type town struct {
	dice *rand.Rand
	// send asks Sysdig.
	send func(promQL string) sysdig.Answer
	// cut makes the answer to every query that names a namespace incomplete, when one is in trouble.
	cut     func(sysdig.Answer) sysdig.Answer
	trouble string
	// warned lets Sysdig itself warn of answers about a namespace; nil when only cut does.
	warned func(namespace string)
	// answers are those that were given since trouble was last changed.
	answers map[string]sysdig.Answer
	beats   map[string]sysdig.Answer
	pods    map[string][]string
	// stage is set over the wire.
	stage *sysdigStage
	// finite: every point is a number, as in JSON.
	finite bool
}

func finite(w *town) { w.finite = true }

// newTown fills a town. Over the wire it answers by HTTP, and otherwise from the engine behind that.
func newTown(t *testing.T, seed uint64, engine *promql.Engine, overTheWire bool, edits ...func(*town)) *town {
	w := &town{dice: rand.New(rand.NewPCG(seed, 11)), answers: map[string]sysdig.Answer{}, beats: map[string]sysdig.Answer{}, pods: map[string][]string{}}
	for _, e := range edits {
		e(w)
	}
	store := sysdigtest.NewStore(clocktesting.NewFakeClock(noon))
	w.send = func(promQL string) sysdig.Answer { return evaluate(t, engine, store, promQL) }
	if overTheWire {
		s := newSysdig(t)
		store, w.stage = s.Store(), s
		w.send = func(promQL string) sysdig.Answer {
			answer, err := s.client.Query(t.Context(), promQL, attempt.At)
			if err != nil {
				t.Fatalf("%s: %v", promQL, err)
			}
			return answer
		}
		w.warned = func(namespace string) {
			s.ClearFault()
			if namespace != "" {
				s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultWarnings, Body: "results truncated", Query: namespace})
			}
		}
	}
	// The newest point that questions ask about is the newest that has arrived, of some pods at least.
	store.SetLag(noon.Sub(attempt.At))
	store.SetPartialNewest([]float64{0, 0, 0.3, 0.6}[w.dice.IntN(4)])
	for _, namespace := range []string{"shop", "bank", "shop-2", "mill", "tail"} {
		w.settle(store, namespace)
	}
	return w
}

// evaluate answers from a store as Sysdig does, but for its limits and faults.
func evaluate(t *testing.T, engine *promql.Engine, store *sysdigtest.Store, promQL string) sysdig.Answer {
	q, err := engine.NewInstantQuery(t.Context(), store, nil, promQL, attempt.At)
	if err != nil {
		t.Fatalf("%s: %v", promQL, err)
	}
	defer q.Close()
	result := q.Exec(t.Context())
	vector, err := result.Vector()
	if err != nil {
		t.Fatalf("%s: %v", promQL, err)
	}
	var answer sysdig.Answer
	answer.Warnings, _ = result.Warnings.AsStrings(promQL, 0, 0)
	for _, s := range vector {
		answer.Series = append(answer.Series, sysdig.Series{Labels: s.Metric.Map(), Value: s.F, Time: attempt.At})
	}
	return answer
}

// answer asks Sysdig. incomplete tells whether its answer must not be read.
func (w *town) answer(promQL string) (answer sysdig.Answer, incomplete bool) {
	answer, known := w.answers[promQL]
	if !known {
		answer = w.send(promQL)
		if w.trouble != "" && w.cut != nil && strings.Contains(promQL, w.trouble) {
			answer = w.cut(answer)
		}
		w.answers[promQL] = answer
	}
	return answer, len(answer.Warnings) > 0 || len(answer.Series) >= mostSegments
}

// troubled makes answers about a namespace incomplete until the next call; those about "" are whole.
func (w *town) troubled(namespace string) {
	if w.trouble == namespace && namespace == "" {
		return
	}
	w.trouble, w.cut = namespace, nil
	clear(w.answers)
	switch {
	case w.warned != nil:
		w.warned(namespace)
	case w.dice.IntN(8) == 0: // it is large, and slow to make
		w.cut = w.capped
	default:
		w.cut = func(a sysdig.Answer) sysdig.Answer {
			return sysdig.Answer{Series: a.Series, Warnings: []string{"results truncated"}}
		}
	}
}

// capped is an answer with the pods of a crowd before the last of its times, cut where Sysdig cuts without a word. The crowd
// has fewer rows than that, but not together with their times.
func (w *town) capped(a sysdig.Answer) sysdig.Answer {
	const crowd = mostSegments * 3 / 5
	row := map[string]string{sysdigtest.LabelNamespace: w.trouble, sysdigtest.LabelPod: crowdPod}
	dated := maps.Clone(row)
	dated[partLabel] = "time"
	times := slices.IndexFunc(a.Series, func(s sysdig.Series) bool { return s.Labels[partLabel] != "" })
	if times < 0 {
		times = len(a.Series)
	}
	series := make([]sysdig.Series, 0, mostSegments)
	series = append(series, a.Series[:times]...)
	series = append(series, slices.Repeat([]sysdig.Series{{Labels: row, Value: 1}}, crowd)...)
	series = append(series, slices.Repeat([]sysdig.Series{{Labels: dated, Value: float64(noon.Unix() - 30)}}, mostSegments-len(series))...)
	return sysdig.Answer{Series: series}
}

const crowdPod = "one-of-the-crowd"

// settle gives a namespace random workloads. Pods are called the same in all namespaces, and so are workloads of two kinds.
func (w *town) settle(store *sysdigtest.Store, namespace string) {
	for _, workload := range []string{"deployment/web", "deployment/api", "statefulset/web", "daemonset/agent"} {
		if w.dice.IntN(4) == 0 {
			continue
		}
		kind, name, _ := strings.Cut(workload, "/")
		for i := range 1 + w.dice.IntN(3) {
			pod := fmt.Sprintf("%s-%s-%d", name, kind, i)
			w.pods[namespace] = append(w.pods[namespace], pod)
			if !blind(namespace, pod) {
				sysdigtest.Fill(store, map[string]string{
					"__name__": sysdigtest.MetricUp, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: namespace, sysdigtest.LabelPod: pod,
				}, noon.Add(-12*time.Minute), noon, func(time.Time) float64 { return 1 })
			}
			if w.dice.IntN(6) == 0 {
				continue // it is silent
			}
			w.fill(store, "c1", namespace, kind, name, pod)
			if w.dice.IntN(3) == 0 {
				w.fill(store, "c2", namespace, kind, name, pod)
			}
		}
	}
}

// fill adds one to four of the series that a pod may have, of each metric: labels may be missing.
func (w *town) fill(store *sysdigtest.Store, cluster, namespace, kind, workload, pod string) {
	for range 1 + w.dice.IntN(4) {
		set := map[string]string{
			sysdigtest.LabelCluster: cluster, sysdigtest.LabelNamespace: namespace, sysdigtest.LabelWorkloadType: kind,
			sysdigtest.LabelWorkloadName: workload, sysdigtest.LabelPod: pod, "owner": workload + "-owner",
			"container": w.pick("main", "sidecar"), "net_http_method": w.pick("GET", "POST", ""), "code": w.pick("200", "404", ""),
		}
		if w.dice.IntN(12) == 0 {
			delete(set, w.pick(sysdigtest.LabelPod, sysdigtest.LabelWorkloadName, sysdigtest.LabelWorkloadType))
		}
		maps.DeleteFunc(set, func(_, value string) bool { return value == "" })
		for _, name := range []string{"gauge", "total", "sysdig_container_net_http_request_count"} {
			set["__name__"] = name
			w.points(store, set, name == "total")
		}
	}
}

// points fills a series that may begin late, stop in mid-window, have a gap, hold no number, or be missing.
func (w *town) points(store *sysdigtest.Store, set map[string]string, rising bool) {
	if w.dice.IntN(8) == 0 {
		return
	}
	from := noon.Add(-w.ago(12*time.Minute, 12*time.Minute, 6*time.Minute, 70*time.Second))
	until := noon.Add(-w.ago(0, 0, 0, 0, 40*time.Second, 80*time.Second, 4*time.Minute, 7*time.Minute))
	gap, gapEnd := until.Add(-time.Second), until
	if w.dice.IntN(4) == 0 {
		gap = until.Add(-time.Duration(w.dice.IntN(300)) * time.Second)
		gapEnd = gap.Add(time.Duration(w.dice.IntN(120)) * time.Second)
	}
	var total float64
	value := func() float64 {
		total += 10 * w.dice.Float64()
		if rising {
			return total
		}
		return 300*w.dice.Float64() - 20
	}
	if w.dice.IntN(40) == 0 && !w.finite {
		value = func() float64 { return []float64{math.NaN(), math.Inf(1), 1e300}[w.dice.IntN(3)] }
	}
	for _, span := range [][2]time.Time{{from, gap}, {gapEnd, until}} {
		sysdigtest.Fill(store, set, span[0], span[1], func(time.Time) float64 { return value() })
	}
}

func (w *town) pick(of ...string) string { return of[w.dice.IntN(len(of))] }

func (w *town) ago(of ...time.Duration) time.Duration { return of[w.dice.IntN(len(of))] }

// cluster knows all pods, also silent ones, and Services that differ between namespaces.
func (w *town) cluster() cluster {
	return cluster{
		selected: func(namespace, selector string, _ time.Duration) []string {
			return slices.DeleteFunc(append([]string{"silent"}, w.pods[namespace]...), func(pod string) bool {
				return !strings.HasPrefix(pod, strings.TrimPrefix(selector, "app="))
			})
		},
		ready: func(namespace, selector string, _ time.Time) map[metric.Workload][]string {
			ready := map[metric.Workload][]string{}
			for _, pod := range w.pods[namespace] {
				if strings.HasPrefix(pod, strings.TrimPrefix(selector, "app=")) {
					parts := strings.Split(pod, "-")
					owner := metric.Workload{Type: parts[1], Name: parts[0]}
					ready[owner] = append(ready[owner], pod)
				}
			}
			return ready
		},
		services: func(namespace, selector string) map[string]string {
			all := map[string]string{"front": "app=web", "all": "app=", "gone": "app=gone", "headless": "", "of-" + namespace: "app=api"}
			maps.DeleteFunc(all, func(name, _ string) bool { return selector == "tier=few" && name != "front" && name != "headless" })
			return all
		},
	}
}

// blind tells whether agents do not see a pod.
func blind(namespace, pod string) bool {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(namespace + "/" + pod)) // it never fails
	return hash.Sum32()%6 == 0
}

// heard is an attempt with what the heartbeat of a request tells, when it is asked for those of its scope together. Over the
// wire none is asked.
func (w *town) heard(r query.Request, requests []query.Request) query.Attempt {
	if w.warned != nil {
		return attempt
	}
	scope := r.Shape.Value().Scope
	beat := query.Heartbeat{Metric: sysdigtest.MetricUp, Scope: scope, Coverage: 80}
	needs := beat.Needs(slices.DeleteFunc(slices.Clone(requests), func(other query.Request) bool { return other.Shape.Value().Scope != scope }))
	promQL := beat.PromQL(needs)
	answer, known := w.beats[promQL]
	if !known {
		answer = w.send(promQL)
		w.beats[promQL] = answer
	}
	with := attempt
	with.Heard, _ = beat.Read(answer, attempt.At, needs)
	return with
}

// connection is one of two of a cluster, one of another, one of all, or one with a label of its own.
func (w *town) connection() *v1alpha1.SysdigConnection {
	return connection(func(c *v1alpha1.SysdigConnection) {
		switch w.dice.IntN(8) {
		case 0:
			c.Name = "again"
		case 1:
			c.Name, c.Spec.ClusterName = "other", "c2"
		case 2:
			c.Name, c.Spec.ClusterName, c.Spec.AllClusters = "all", "", true
		case 3:
			c.Name, c.Spec.LabelNames.Workload = "old", "owner"
		}
	})
}

// source is a random typed source.
func (w *town) source() edit {
	group := v1alpha1.GroupAggregation(w.pick("Average", "Sum", "Min", "Max"))
	edits := []edit{window(w.ago(time.Minute, time.Minute, 5*time.Minute, 10*time.Minute))}
	if w.dice.IntN(4) == 0 {
		edits = append(edits, named("total"), aggregated(v1alpha1.TimeAggregation(w.pick("Rate", "Sum")), group), cumulative)
	} else {
		reduced := v1alpha1.TimeAggregation(w.pick("Average", "Sum", "Rate", "Min", "Max", "Last"))
		edits = append(edits, named(w.pick("gauge", "net.http.request.count")), aggregated(reduced, group))
	}
	switch w.dice.IntN(6) {
	case 0:
		edits = append(edits, where("code", v1alpha1.FilterIn, "200", w.pick("404", "")))
	case 1:
		edits = append(edits, where("code", v1alpha1.FilterNotIn, "200"), where(method, v1alpha1.FilterIn, w.pick("GET", "POST")))
	}
	switch w.dice.IntN(5) {
	case 0:
		edits = append(edits, dimensions(method, code))
	case 1:
		edits = append(edits, dimensions(code))
	}
	return all(edits)
}

// all makes edits in order.
func all(edits []edit) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		for _, e := range edits {
			e(b)
		}
	}
}

// about is a random target of a typed source.
func (w *town) about() edit {
	name := w.pick("web", "web", "api", "agent", "web-owner", "gone")
	switch w.dice.IntN(12) {
	case 0:
		return target("v1", "Service", "svc")
	case 1:
		return target("v1", "Pod", fmt.Sprintf("%s-%s-%d", w.pick("web", "api"), w.pick("deployment", "statefulset"), w.dice.IntN(4)))
	case 2:
		return target("v1", "Namespace", "")
	case 3:
		return both(target("networking.k8s.io/v1", "Ingress", "front"), where("kube_workload_name", v1alpha1.FilterIn, "web", w.pick("api", "agent")))
	case 4:
		return every("apps/v1", w.pick("Deployment", "StatefulSet"), nil)
	case 5:
		return every("v1", "Service", map[string]string{"tier": w.pick("few", "all")})
	case 6:
		return every("v1", "Pod", app(w.pick("web", "api")))
	case 7:
		return external
	default:
		return target("apps/v1", w.pick("Deployment", "Deployment", "StatefulSet", "DaemonSet"), name)
	}
}

// raw is a random raw query about a random target. Some keep too little or too much, or yield a warning.
func (w *town) raw() edit {
	const byPod, byWorkload = "kube_pod_name", "kube_workload_name"
	switch w.dice.IntN(5) {
	case 0:
		text := w.pick("sum(gauge)", "gauge", "max by (code) (rate(total[5m]))", "sum(missing)", "sum by (code, container) (gauge)", "quantile(2, gauge)")
		return all([]edit{external, raw(text, ""), dimensions([][]v1alpha1.Dimension{nil, {"code"}, {"code", "container"}}[w.dice.IntN(3)]...)})
	case 1:
		text := w.pick("sum by (kube_workload_name) (gauge)", "sum by (kube_workload_name, code) (gauge)", "sum(gauge)", "quantile by (kube_workload_name) (-1, gauge)")
		return both(target("apps/v1", "Deployment", w.pick("web", "api", "gone")), raw(text, byWorkload))
	case 2:
		text := w.pick("sum by (kube_pod_name) (rate(total[5m])) / sum by (kube_pod_name) (gauge)", "sum by (kube_pod_name, code) (gauge)", "gauge", "max(gauge)")
		return all([]edit{every("v1", "Pod", nil), raw(text, byPod), dimensions([][]v1alpha1.Dimension{nil, {"code"}}[w.dice.IntN(2)]...)})
	case 3:
		return both(target("v1", "Service", "front"), raw(w.pick("avg(gauge)", "gauge", "sum(gauge) + sum(total)", "max(missing)"), ""))
	default:
		return both(target("v1", w.pick("Pod", "Service"), w.pick("web-deployment-0", "api-deployment-1")), raw(w.pick("max by (kube_pod_name) (gauge)", "gauge"), byPod))
	}
}

// questions are those of a random set of bindings, each once. Most of them share one of a few sources, and some sets have
// more objects than a request names.
func (w *town) questions(t *testing.T) []query.Question {
	connections := []*v1alpha1.SysdigConnection{w.connection(), w.connection()}
	sources := []edit{w.source(), w.source()}
	size := 1 + w.dice.IntN(12)
	if w.dice.IntN(20) == 0 {
		size = 60
	}
	var asked []query.Question
	for range size {
		b := binding(sources[w.dice.IntN(2)], in(w.pick("shop", "bank", "shop-2", "mill", "tail", "empty")))
		multiplied(v1alpha1.Decimal(w.pick("1", "1", "0.001", "-2", "1000000")))(b)
		w.about()(b)
		if size == 60 && w.dice.IntN(2) == 0 {
			target("apps/v1", "Deployment", fmt.Sprint("gone-", w.dice.IntN(40)))(b)
		}
		if w.dice.IntN(5) == 0 {
			w.raw()(b)
			maxAge(w.ago(2*time.Minute, 3*time.Minute))(b)
		}
		if w.dice.IntN(8) == 0 {
			bounds("0", "50")(b)
		}
		d := query.Compile(b, connections[w.dice.IntN(2)], query.Target{Selector: "app=" + w.pick("web", "api", "gone")})
		if d.Refused != nil {
			t.Fatal(d.Refused)
		}
		if !slices.Contains(asked, d.Question) {
			asked = append(asked, d.Question)
		}
	}
	return asked
}

// halves decides by dice which keys are halved, each once.
func (w *town) halves() func(query.Key) bool {
	if w.dice.IntN(3) == 0 {
		return query.Whole
	}
	decided := map[query.Key]bool{}
	return func(k query.Key) bool {
		if _, ok := decided[k]; !ok {
			decided[k] = w.dice.IntN(3) > 0
		}
		return decided[k]
	}
}
