package sysdig_test

import (
	"net/url"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// TestAnInstanceOfIBMCloud asks both APIs of the stand-in's instance with an API key, over several lives of its access tokens.
func TestAnInstanceOfIBMCloud(t *testing.T) {
	const key, instance = "api-key-canary", "5d2a0000-0000-4000-8000-000000000000"
	clock := clocktesting.NewFakeClock(noon)
	s := sysdigtest.New(sysdigtest.Options{
		Clock: clock, Lag: -1, PathPrefix: "/api", IBM: &sysdigtest.IBM{InstanceID: instance, APIKeys: []string{key}},
	})
	if err := s.StartTLS(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	sysdigtest.Fill(s.Store(), map[string]string{"__name__": "x", "app": "a"}, noon.Add(-time.Minute), noon.Add(4*time.Hour), func(time.Time) float64 { return 7.5 })
	of := func(instance string) *sysdig.Client {
		return connect(t, s, func(c *sysdig.Config) {
			var err error
			if c.QueryURL, err = sysdig.QueryURL("", s.URL, "/api/prometheus"); err != nil {
				t.Fatal(err)
			}
			if c.DataURL, err = sysdig.DataURL("", s.URL); err != nil {
				t.Fatal(err)
			}
			address, err := url.Parse(s.URL + "/identity/token")
			if err != nil {
				t.Fatal(err)
			}
			c.Token, c.IAM, c.Clock = key, &sysdig.IAM{URL: address}, clock
			c.Headers = map[string][]string{"IBMInstanceID": {instance}}
		})
	}
	client := of(instance)
	for range 4 {
		now := clock.Now()
		answer, err := client.Query(t.Context(), "x", now)
		if err != nil || len(answer.Series) != 1 || answer.Series[0].Value != 7.5 {
			t.Fatalf("at %s PromQL is answered with %+v, %v", now, answer, err)
		}
		data, err := client.Data(t.Context(), sysdig.DataRequest{
			Start: now.Add(-time.Minute), End: now, Values: []sysdig.DataValue{{Metric: "x", Time: "avg", Group: "sum"}}, Source: "container", To: 9,
		})
		if err != nil || len(data.Rows) != 1 || data.Rows[0].Values[0] != 7.5 {
			t.Fatalf("at %s the data API answers with %+v, %v", now, data, err)
		}
		clock.Step(50 * time.Minute) // past the renewal of the token that was in use, and then past its end
	}
	_, err := of("another").Query(t.Context(), "x", clock.Now())
	wantFailure(t, err, metric.Unauthorized)
	s.RevokeAPIKey(key)
	clock.Step(2 * time.Hour)
	_, err = client.Query(t.Context(), "x", clock.Now())
	wantFailure(t, err, metric.Unauthorized)
}
