package e2e_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	canaryToken = "c4n4ry70-4b1d-4e5f-8a9b-70cec0ffee01"
	canaryKey   = "c4n4ryKey-Zx81LmQ0vT5uYb7nR2sW9dHf3JkP6aEc"
	instance    = "1b4db7eb-4057-5ddf-91e0-36dec72071f5"
)

// echo is an answer that shows what it was sent, in several forms, and a word that is no secret.
func echo(marker, secret string) string {
	return fmt.Sprintf(`{"message":"%s: Bearer %s %s %s %s"}`, marker, secret,
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte("Bearer "+secret)), url.QueryEscape(secret))
}

// TestNoSecretIsTold lets stand-ins echo tokens in every way that they can fail, and looks for them in everything that the operator
// tells anybody. That it would find them shows the word beside each echo, which it finds.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	plain := newCanary(t, "canary", sysdigtest.Options{Tokens: []string{canaryToken}}, canaryToken, nil)
	cloud := newCloudCanary(t, "canary-ibm", sysdigtest.Fault{})
	clouds := failingClouds(t)
	newCanary(t, "canary-tls", sysdigtest.Options{Tokens: []string{canaryToken}}, canaryToken, func(_ *scene, e *v1alpha1.Endpoint) { e.CABundle = "" })

	status := func(code int, body string) sysdigtest.Fault {
		return sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: code, Body: body}
	}
	// What Sysdig says of the query of one namespace is told there.
	refusal := func(word, secret string) sysdigtest.Fault {
		return sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: http.StatusUnprocessableEntity, Query: "http_request", Body: echo(word, secret)}
	}
	plain.sysdig.SetFault(refusal("word-422", canaryToken))
	plain.eventuallySays("word-422")
	plain.eventuallyInEvents("word-422")
	// The log tells of a failure that is of another kind than the last one.
	plain.suffer([]suffering{
		{"word-401", status(http.StatusUnauthorized, echo("word-401", canaryToken))},
		{"could not be", sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: "<html>" + canaryToken + "</html>"}},
		{"word-403", status(http.StatusForbidden, echo("word-403", canaryToken))},
		{"redirects", sysdigtest.Fault{Kind: sysdigtest.FaultRedirect, URL: "https://example.com/" + canaryToken + "?token=" + canaryToken}},
		{"word-429", status(http.StatusTooManyRequests, echo("word-429", canaryToken))},
		{"has status no", sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, ContentType: "application/json", Body: `{"status":"no","error":"` + canaryToken + `","data":null}`}},
		{"word-500", status(http.StatusInternalServerError, echo("word-500", canaryToken))},
		{"EOF|reset by", sysdigtest.Fault{Kind: sysdigtest.FaultReset}},
	})
	for _, c := range clouds {
		c.scene.eventuallyLogs(c.words)
	}
	var bearers []string
	cloud.eventually("an access token", func(context.Context) error {
		if bearers = cloud.sysdig.AccessTokens(); len(bearers) == 0 {
			return fmt.Errorf("none was issued")
		}
		return nil
	})
	cloud.sysdig.SetFault(refusal("word-bearer", bearers[0]))
	cloud.eventuallySays("word-bearer")

	cloud.eventually("a status that tells", func(ctx context.Context) error { // words wait for standings
		var b v1alpha1.SysdigMetricBinding
		err := cloud.stage.Client.Get(ctx, client.ObjectKey{Namespace: cloud.namespace, Name: "web"}, &b)
		if ready := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady); err == nil && (ready == nil || !strings.Contains(ready.Message, "word-bearer")) {
			err = fmt.Errorf("it says %+v", ready)
		}
		return err
	})
	var told map[string]string
	cloud.eventually("words beside everything that is looked for", func(context.Context) error {
		told = plain.everything()
		return findable(told)
	})
	for place, text := range told {
		for _, secret := range append([]string{canaryToken, canaryKey}, bearers...) {
			if form := find(text, secret); form != "" {
				t.Errorf("%s holds %s…, a form of a secret", place, form[:6])
			}
		}
	}
	for form := range strings.SplitSeq(echo("", canaryToken), " ") {
		if secret := strings.Trim(form, `"}`); len(secret) > 20 && find(secret, canaryToken) == "" {
			t.Errorf("the form %s would not be found", secret)
		}
	}
}

// findable is nil when the words beside the echoes are where a secret would be.
func findable(told map[string]string) error {
	var missing []error
	for place, words := range map[string][]string{
		"the log": {"word-401", "word-500", "word-iam-400"}, "statuses": {"word-bearer", "word-iam-400"}, "events": {"word-422"}, "answers of the API": {"word-bearer"},
	} {
		for _, word := range words {
			if find(told[place], word) == "" {
				missing = append(missing, fmt.Errorf("%s does not hold %s: nothing would be found there", place, word))
			}
		}
	}
	return errors.Join(missing...)
}

// newCanary makes a namespace with a binding, and a connection to a stand-in of its own.
func newCanary(t *testing.T, name string, o sysdigtest.Options, secret string, change func(*scene, *v1alpha1.Endpoint)) *scene {
	t.Helper()
	c := &scene{t: t, stage: theStage, namespace: name, name: name, sysdig: sysdigtest.New(o)}
	if err := c.sysdig.StartTLS(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.sysdig.Close)
	for _, metric := range []string{sysdigtest.MetricUp, "sysdig_container_net_http_request_count"} { // the second so that there is such a metric
		heart := map[string]string{"__name__": metric, sysdigtest.LabelCluster: "e2e", sysdigtest.LabelNamespace: "kube-system", sysdigtest.LabelPod: "heart-0"}
		sysdigtest.Fill(c.sysdig.Store(), heart, time.Now().Add(-history), time.Now().Add(time.Hour), func(time.Time) float64 { return 1 })
	}
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	err := theStage.Connect(t.Context(), name, "e2e", c.sysdig.URL, c.sysdig.CABundle(), secret, func(s *v1alpha1.SysdigConnectionSpec) {
		if change != nil {
			change(c, &s.Endpoint)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c.bind("web", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target = &v1alpha1.Target{APIVersion: "v1", Kind: "Namespace"}
	})
	return c
}

// failingCloud is an instance of IBM Cloud of which IAM fails, and words that tell how.
type failingCloud struct {
	words string
	scene *scene
}

// failingClouds have an IAM each, which fails from the beginning: after a failure it is left alone for a minute.
func failingClouds(t *testing.T) []failingCloud {
	t.Helper()
	status := func(code int, word string) sysdigtest.Fault {
		return sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: code, Body: echo(word, canaryKey)}
	}
	garbage := sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"access_token":"","refresh_token":"` + canaryKey + `"}`}
	return []failingCloud{
		{"word-iam-400", newCloudCanary(t, "canary-ibm-400", status(http.StatusBadRequest, "word-iam-400"))},
		{"word-iam-500", newCloudCanary(t, "canary-ibm-500", status(http.StatusInternalServerError, "word-iam-500"))},
		{"holds no", newCloudCanary(t, "canary-ibm-none", garbage)},
	}
}

// newCloudCanary is newCanary for an instance of IBM Cloud, of which IAM meets a fault if there is one.
func newCloudCanary(t *testing.T, name string, iam sysdigtest.Fault) *scene {
	t.Helper()
	o := sysdigtest.Options{IBM: &sysdigtest.IBM{InstanceID: instance, APIKeys: []string{canaryKey}}}
	return newCanary(t, name, o, canaryKey, func(c *scene, e *v1alpha1.Endpoint) {
		if iam.Kind != "" {
			iam.Route = "identity/token"
			c.sysdig.SetFault(iam)
		}
		e.IAM = &v1alpha1.IAM{URL: c.sysdig.URL + "/identity/token"}
		e.Headers = []v1alpha1.Header{{Name: "IBMInstanceID", Value: instance}}
	})
}

// suffering is a fault and the words by which the log tells of it.
type suffering struct {
	words string
	fault sysdigtest.Fault
}

// suffer sets one fault after the other, until the log tells of it.
func (c *scene) suffer(faults []suffering) {
	c.t.Helper()
	for _, one := range faults {
		c.sysdig.SetFault(one.fault)
		c.eventuallyLogs(one.words)
	}
}

// eventuallyLogs waits until the log says something of the connection in words that match.
func (c *scene) eventuallyLogs(words string) {
	c.t.Helper()
	told := regexp.MustCompile(`"connection":"` + c.name + `".*(` + words + `)`)
	c.eventually("the log tells of "+words, func(context.Context) error {
		if !told.MatchString(c.stage.OperatorLog()) {
			return fmt.Errorf("it does not match %s", told)
		}
		return nil
	})
}

// eventuallySays waits until a read fails with words that match.
func (c *scene) eventuallySays(words string) {
	c.t.Helper()
	told := regexp.MustCompile(words)
	c.eventually(words, func(ctx context.Context) error {
		if _, err := c.raw(ctx, c.custom("metrics", metricName)); err == nil || !told.MatchString(err.Error()) {
			return fmt.Errorf("a read says %w", err)
		}
		return nil
	})
}

// eventuallyInEvents waits for an Event that says something. Events come after what they tell of.
func (c *scene) eventuallyInEvents(word string) {
	c.t.Helper()
	c.eventually("an Event with "+word, func(ctx context.Context) error {
		out, err := c.stage.Cluster.Kubectl(ctx, "get", "events", "-n", c.namespace, "-o", "yaml")
		if err == nil && !strings.Contains(out, word) {
			err = fmt.Errorf("there are %.2000s", out)
		}
		return err
	})
}

// everything is what the operator tells anybody, by place.
func (c *scene) everything() map[string]string {
	c.t.Helper()
	metrics, err := c.stage.Metrics(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	told := map[string]string{"the log": c.stage.OperatorLog(), "its metrics": metrics, "its probes": c.get(&http.Client{Timeout: patience}, c.stage.ReadyURL()+"?verbose")}
	kubectl := func(args ...string) string {
		out, err := c.stage.Cluster.Kubectl(c.t.Context(), args...)
		if err != nil {
			c.t.Fatal(err)
		}
		return out
	}
	told["statuses"] = kubectl("get", "sconn,smb", "-A", "-o", "jsonpath={.items[*].status}")
	told["objects"] = kubectl("get", "sconn,smb", "-A", "-o", "yaml", "--show-managed-fields")
	told["events"] = kubectl("get", "events", "-A", "-o", "yaml")
	told["what lies around"] = kubectl("get", "configmaps,leases,services,endpointslices,deployments", "-n", stage.Namespace, "-o", "yaml")
	for _, name := range []string{"canary", "canary-ibm", "canary-ibm-400", "canary-ibm-500", "canary-ibm-none", "canary-tls"} {
		_, err := c.raw(c.t.Context(), "/apis/custom.metrics.k8s.io/v1beta2/namespaces/"+name+"/metrics/"+metricName)
		told["answers of the API"] += fmt.Sprint(err)
		// Of one namespace: what others delete meanwhile is an error of kubectl describe.
		told["what is described"] += kubectl("describe", "sconn", name) + kubectl("describe", "smb", "-n", name)
	}
	admin := rest.CopyConfig(c.stage.Cluster.AdminConfig())
	admin.TLSClientConfig.CAData, admin.TLSClientConfig.CAFile, admin.TLSClientConfig.Insecure = nil, "", true
	transport, err := rest.TLSConfigFor(admin)
	if err != nil {
		c.t.Fatal(err)
	}
	direct := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: transportOf(transport)}}
	for _, path := range []string{
		"/", "/metrics", "/version", "/configz", "/openapi/v3", "/readyz?verbose", "/debug/flags/v", "/debug/pprof/", "/debug/pprof/cmdline",
		"/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1",
	} {
		told["the port of the API, "+path] = c.get(direct, fmt.Sprintf("https://127.0.0.1:%d%s", c.stage.Port(), path))
	}
	return told
}

func transportOf(c *tls.Config) *tls.Config {
	c.NextProtos = nil
	return c
}

// get is a body, whatever the status.
func (c *scene) get(client *http.Client, address string) string {
	c.t.Helper()
	response, err := client.Get(address)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(body)
}

// find is the form of a secret that a text holds: most of it as it is, in base64 behind anything, in hexadecimal or in an address.
func find(text, secret string) string {
	forms := []string{secret, secret[:len(secret)*3/4], secret[len(secret)/4:], url.QueryEscape(secret), hex.EncodeToString([]byte(secret))}
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), secret...))
		forms = append(forms, encoded[4:len(encoded)-2])
	}
	for _, form := range forms {
		if strings.Contains(text, form) {
			return form
		}
	}
	return ""
}
