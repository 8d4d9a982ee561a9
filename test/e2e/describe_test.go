package e2e_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

// TestWords compares what kubectl get and kubectl describe show with golden files: these words are the user interface.
func TestWords(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "words", "words")
	c.deploy("web", 2, 100)
	c.bind("web", served)
	c.bind("broken", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Source = v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: "sum(rate(http_requests_total[1m])) offset 1h"}}
		s.Target.Name, s.MetricName = "web", "broken"
	})
	c.eventuallyValue(c.servicePath("web"), 50)
	c.eventuallyReady("broken", "Rejected")
	c.eventually("the shown value", c.shown("web", "50"))
	c.exactlyOneEvent("web", v1alpha1.ReasonServing)
	c.exactlyOneEvent("broken", "Rejected")
	c.eventuallyConnection(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonConnected, "")
	c.eventuallyConnection(v1alpha1.ConditionCredentialReady, metav1.ConditionTrue, v1alpha1.ReasonValid, "")

	for file, args := range map[string][]string{
		"get.golden":             {"get", "smb", "-n", "words"},
		"describe.golden":        {"describe", "smb", "-n", "words", "web"},
		"describe-broken.golden": {"describe", "smb", "-n", "words", "broken"},
		"get-connections.golden": {"get", "sconn", "words"},
		"describe-sconn.golden":  {"describe", "sconn", "words"},
	} {
		out, err := c.stage.Cluster.Kubectl(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		got := normalize(out)
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("kubectl %s (-want +got):\n%s\nIf it is meant to change: go test ./test/e2e -run TestWords -update", strings.Join(args, " "), diff)
		}
	}
}

// normalize replaces what differs from run to run: times, ages, ids, addresses and certificates. Runs of blanks become
// one, because columns are as wide as what was replaced.
func normalize(text string) string {
	for _, r := range [][2]string{
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, "TIME"},
		{`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, "UID"},
		{`Resource Version:\s*\d+`, "Resource Version: N"},
		{`Generation:(\s*)\d+`, "Generation: N"},
		{`Used:\s*\d+`, "Used: N"},
		{`127\.0\.0\.1:\d+`, "HOST"},
		{`(?s)-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\s*`, "CERTIFICATES\n"},
		{`\b(\d+m)?\d+s\b( \(x\d+ over \S+\))?`, "AGE"},
		{`[ \t]+`, " "},
		{` *\n`, "\n"},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return strings.TrimSpace(text) + "\n"
}

// TestOwnMetrics looks at the operator's own metrics: ours, and those of the libraries.
func TestOwnMetrics(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "own-metrics", "own-metrics")
	c.deploy("web", 1, 10)
	c.bind("web", nil)
	c.eventuallyServed(c.servicePath("web"))
	body, err := c.stage.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, series := range []string{
		`sysdig_metrics_requests_total{connection="own-metrics"}`,
		`sysdig_metrics_request_duration_seconds_count{connection="own-metrics"}`,
		`sysdig_metrics_reads_total{result="Served"}`,
		`sysdig_metrics_reads_total{result="NoData"}`,
		`sysdig_metrics_served_sample_age_seconds_count`,
		`sysdig_metrics_bindings{standing="Serving"}`,
		`sysdig_metrics_bindings{standing="Unauthorized"}`,
		`workqueue_depth{`,
		`workqueue_adds_total{`,
		`rest_client_requests_total{`,
		`controller_runtime_reconcile_total{`,
		`go_goroutines`,
	} {
		if !strings.Contains(body, "\n"+series) {
			t.Errorf("no series %s", series)
		}
	}
}
