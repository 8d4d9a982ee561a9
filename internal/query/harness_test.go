package query_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const partLabel = "sysdig_metrics_part"

var noon = time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)

// attempt asks about a time off the grid of points whose points have all arrived.
var attempt = query.Attempt{At: noon.Add(-25 * time.Second), Received: noon}

type edit = func(*v1alpha1.SysdigMetricBinding)

// binding is the HTTP rate of Deployment web in namespace shop.
func binding(edits ...edit) *v1alpha1.SysdigMetricBinding {
	b := &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-rate", UID: "uid", Generation: 3, CreationTimestamp: metav1.NewTime(noon)},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			Target: &v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			Source: v1alpha1.Source{Metric: &v1alpha1.MetricSource{
				Name: "net.http.request.count", TimeAggregation: v1alpha1.TimeRate, GroupAggregation: v1alpha1.GroupAverage,
				Window: metav1.Duration{Duration: time.Minute},
			}},
			Multiplier: "1", MaxAge: metav1.Duration{Duration: 2 * time.Minute},
		},
	}
	for _, e := range edits {
		e(b)
	}
	return b
}

func target(apiVersion, kind, name string) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Target = &v1alpha1.Target{APIVersion: apiVersion, Kind: kind, Name: name}
	}
}

// every makes the target all objects of a kind that have the labels.
func every(apiVersion, kind string, labels map[string]string) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Target = &v1alpha1.Target{APIVersion: apiVersion, Kind: kind, Selector: &v1alpha1.ObjectSelector{MatchLabels: labels}}
	}
}

// both makes two edits.
func both(one, two edit) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		one(b)
		two(b)
	}
}

// external takes the target away.
func external(b *v1alpha1.SysdigMetricBinding) { b.Spec.Target = nil }

// dimensions keeps labels apart, whatever the source is.
func dimensions(names ...v1alpha1.Dimension) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		if b.Spec.Source.PromQL != nil {
			b.Spec.Source.PromQL.Dimensions = names
		} else {
			b.Spec.Source.Metric.Dimensions = names
		}
	}
}

func window(d time.Duration) edit {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.Window.Duration = d }
}

// cumulative makes the metric one that only rises: a scraped one, unless it is already.
func cumulative(b *v1alpha1.SysdigMetricBinding) {
	m := b.Spec.Source.Metric
	m.CounterType = v1alpha1.CounterCumulative
	if strings.Contains(m.Name, ".") {
		m.Name = "http_requests_total"
	}
}

func multiplied(by v1alpha1.Decimal) edit {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Multiplier = by }
}

func aggregated(t v1alpha1.TimeAggregation, g v1alpha1.GroupAggregation) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Source.Metric.TimeAggregation, b.Spec.Source.Metric.GroupAggregation = t, g
	}
}

func where(label string, operator v1alpha1.FilterOperator, values ...string) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Source.Metric.Where = append(b.Spec.Source.Metric.Where, v1alpha1.LabelFilter{Label: label, Operator: operator, Values: values})
	}
}

func raw(text, objectLabel string) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Source = v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: text, ObjectLabel: v1alpha1.LabelName(objectLabel)}}
	}
}

func connection(edits ...func(*v1alpha1.SysdigConnection)) *v1alpha1.SysdigConnection {
	c := &v1alpha1.SysdigConnection{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: v1alpha1.SysdigConnectionSpec{
			Endpoint: v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, ClusterName: "c1",
			Interval: metav1.Duration{Duration: 30 * time.Second}, IngestionLag: metav1.Duration{Duration: 30 * time.Second},
		},
	}
	for _, e := range edits {
		e(c)
	}
	return c
}

// service is what the API server knows of a target; only Services look at the selector.
var service = query.Target{Resource: schema.GroupResource{Resource: "services"}, Selector: "app=web"}

// compile expects a binding to be accepted.
func compile(t testing.TB, b *v1alpha1.SysdigMetricBinding, c *v1alpha1.SysdigConnection) query.Definition {
	t.Helper()
	d := query.Compile(b, c, service)
	if d.Refused != nil {
		t.Fatal(d.Refused)
	}
	return d
}

// parse expects PromQL that Sysdig understands.
func parse(t testing.TB, promQL string) parser.Expr {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(promQL)
	if err != nil {
		t.Fatalf("%s: %v", promQL, err)
	}
	return expr
}

// selectors lists the matchers of all selectors of a query.
func selectors(expr parser.Expr) [][]*labels.Matcher {
	var all [][]*labels.Matcher
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			all = append(all, s.LabelMatchers)
		}
		return nil
	})
	return all
}

// confined tells whether a selector can only match one value of a label.
func confined(matchers []*labels.Matcher, label, value string) bool {
	for _, m := range matchers {
		if m.Name == label && m.Type == labels.MatchEqual && m.Value == value {
			return true
		}
	}
	return false
}

// sysdigStage is a Sysdig without lag, and a client of it.
type sysdigStage struct {
	*sysdigtest.Server
	t      testing.TB
	client *sysdig.Client
}

func newSysdig(t testing.TB) *sysdigStage {
	t.Helper()
	s := &sysdigStage{t: t, Server: sysdigtest.New(sysdigtest.Options{Clock: clocktesting.NewFakeClock(noon), Tokens: []string{"token"}, Lag: -1})}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	address, err := url.Parse(s.URL + "/prometheus/api/v1/query")
	if err != nil {
		t.Fatal(err)
	}
	data, err := url.Parse(s.URL + "/api/data")
	if err != nil {
		t.Fatal(err)
	}
	s.client, err = sysdig.NewClient(sysdig.Config{QueryURL: address, DataURL: data, Token: "token", Timeout: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

// cluster is a query.Cluster of what the test says.
type cluster struct {
	selected func(namespace, selector string, window time.Duration) []string
	services func(namespace, selector string) map[string]string
	// unknown is why there may be other pods than those.
	unknown *metric.Failure
	// ready are the pods that should be seen; nil when there are none.
	ready func(namespace, selector string, since time.Time) map[metric.Workload][]string
}

func (c cluster) Selected(namespace, selector string, window time.Duration) ([]string, *metric.Failure) {
	return c.selected(namespace, selector, window), c.unknown
}

func (c cluster) Ready(namespace, selector string, since time.Time) map[metric.Workload][]string {
	if c.ready == nil {
		return nil
	}
	return c.ready(namespace, selector, since)
}

func (c cluster) Services(namespace, selector string) map[string]string {
	return c.services(namespace, selector)
}

// series adds points of 10 s × value from 20 minutes ago until the given time before noon.
func (s *sysdigStage) series(name, cluster, namespace, workload, pod string, value float64, until time.Duration) {
	sysdigtest.Fill(s.Store(), map[string]string{
		"__name__": name, sysdigtest.LabelCluster: cluster, sysdigtest.LabelNamespace: namespace,
		sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: workload, sysdigtest.LabelPod: pod,
	}, noon.Add(-20*time.Minute), noon.Add(-until), func(time.Time) float64 { return value })
}

// line leads to the stage. Pages are small, so that answers have several.
func (s *sysdigStage) line() query.Line {
	return query.Line{Segments: 10, Send: s.send}
}

func (s *sysdigStage) send(call query.Call) (reply query.Reply, err error) {
	if call.Data != nil {
		reply.Data, err = s.client.Data(context.Background(), *call.Data)
	} else {
		reply.Answer, err = s.client.Query(context.Background(), call.PromQL, call.At)
	}
	return reply, err
}

// ask answers a plan.
func (s *sysdigStage) ask(requests []query.Request, in query.Cluster) map[query.Question]query.Outcome {
	s.t.Helper()
	outcomes := map[query.Question]query.Outcome{}
	for _, request := range requests {
		answers, err := s.line().Ask([]query.Request{request}, attempt.At)
		if err != nil {
			s.t.Fatalf("%s: %v", request.PromQL, err)
		}
		for _, o := range request.Read(answers[0], attempt, in) {
			if _, twice := outcomes[o.Question]; twice {
				s.t.Fatalf("%+v was answered twice", o.Question)
			}
			outcomes[o.Question] = o
		}
	}
	return outcomes
}

// askOne answers one question alone.
func (s *sysdigStage) askOne(q query.Question, in query.Cluster) query.Outcome {
	s.t.Helper()
	return s.ask(query.Plan([]query.Question{q}, query.Whole), in)[q]
}

// show is an outcome in one line.
func show(o query.Outcome) string {
	if o.Reading.Failure != nil {
		return o.Reading.Failure.Error()
	}
	if o.Objects != nil {
		return showObjects(o)
	}
	return fmt.Sprintf("%v, %s old", o.Reading.Sample.Value, noon.Sub(o.Reading.Sample.Time))
}

// showObjects is what was found of each object, in one line.
func showObjects(o query.Outcome) string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(o.Objects)) {
		one := o.Objects[name]
		found = append(found, name+": "+show(query.Outcome{Reading: metric.Reading{Sample: one.Sample, Failure: one.Failure}}))
	}
	return strings.Join(found, "; ")
}
