package standin

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
)

const token = "00000000-aaaa-4000-8000-000000000001"

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func pod(name, app string, ready corev1.ConditionStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{"app": app}},
		Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
		},
	}
}

func flags(t *testing.T, more ...string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return append([]string{"--token-file", file, "--lag", "0"}, more...)
}

// ample is how long what is well may take, on a machine with much else to do.
const ample = 2 * time.Minute

// program is a run that a test talks to.
type program struct {
	t      *testing.T
	clk    *clocktesting.FakeClock
	client *fake.Clientset
	http   *http.Client
	url    string
	stop   func() error
}

func start(t *testing.T, args []string, pods ...*corev1.Pod) *program {
	t.Helper()
	o, err := parse(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, clk: clocktesting.NewFakeClock(noon), client: fake.NewClientset(), http: &http.Client{Timeout: ample, Transport: &http.Transport{}}}
	for _, pod := range pods {
		if _, err := p.client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, o, p.client, p.clk, write)
		_ = write.CloseWithError(err)
		done <- err
	}()
	t.Cleanup(p.http.CloseIdleConnections)
	p.stop = func() error {
		p.http.CloseIdleConnections()
		cancel()
		return <-done
	}
	t.Cleanup(cancel)
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p.url = strings.TrimSpace(line)
	return p
}

func (p *program) call(method, path string) (int, string) {
	p.t.Helper()
	return p.send(method, path, "", http.Header{"Authorization": {"Bearer " + token}})
}

func (p *program) send(method, path, body string, header http.Header) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header = header
	resp, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func (p *program) want(method, path string, status int, fragments ...string) {
	p.t.Helper()
	got, body := p.call(method, path)
	if got != status {
		p.t.Errorf("%s %s: status %d, want %d: %s", method, path, got, status, body)
	}
	for _, f := range fragments {
		if !strings.Contains(body, f) {
			p.t.Errorf("%s %s: body lacks %q: %s", method, path, f, body)
		}
	}
}

func (p *program) eventually(what string, done func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), ample)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("did not happen: %s", what)
		}
	}
}

// minute lets the program live through a minute, second by second.
func (p *program) minute() {
	p.t.Helper()
	for range 60 {
		p.eventually("the load waits", p.clk.HasWaiters)
		p.clk.Step(time.Second)
	}
	p.eventually("the load waits", p.clk.HasWaiters)
}

func query(text string) string { return "/prometheus/api/v1/query?query=" + url.QueryEscape(text) }

const perPod = `sum by (kube_pod_name) (sum_over_time(sysdig_container_net_http_request_count{kube_cluster_name="c1",kube_workload_type="deployment"}[1m])) / 60`

func TestTheClockOfTheStandInMayBeWrong(t *testing.T) {
	for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		p := start(t, flags(t, "--clock-skew", ahead.String(), "--workload", "default/Deployment/flask", "--selector", "app=flask"), pod("a", "flask", corev1.ConditionTrue))
		p.minute()
		p.want(http.MethodGet, query(fmt.Sprintf("timestamp(sysdig_container_up) == %d", noon.Add(time.Minute+ahead).Unix())), http.StatusOK, `"kube_pod_name":"a"`)
		if err := p.stop(); err != nil {
			t.Errorf("stopped with %v", err)
		}
	}
}

func TestTheLoadFollowsTheReadyPodsOfTheCluster(t *testing.T) {
	p := start(t, flags(t, "--cluster", "c1", "--workload", "default/Deployment/flask", "--selector", "app=flask"),
		pod("a", "flask", corev1.ConditionTrue), pod("b", "flask", corev1.ConditionFalse), pod("c", "other", corev1.ConditionTrue))

	p.want(http.MethodGet, "/control/load", http.StatusOK, `"workload":"default/deployment/flask"`, `"rps":0`, `"pods":["a"]`)
	p.want(http.MethodPut, "/control/load?rps=800", http.StatusNoContent)
	p.want(http.MethodGet, "/control/load", http.StatusOK, `"rps":800`)
	p.minute()
	p.want(http.MethodGet, query(perPod), http.StatusOK, `"kube_pod_name":"a"`, `"800"]`)

	p.eventually("the pods are watched", func() bool { // what changes before is missed: the tracker of the fake client replays nothing
		return slices.ContainsFunc(p.client.Actions(), func(a clienttesting.Action) bool { return a.GetVerb() == "watch" })
	})
	pods := p.client.CoreV1().Pods("default")
	if _, err := pods.Update(t.Context(), pod("b", "flask", corev1.ConditionTrue), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.eventually("the second pod takes load", func() bool {
		_, body := p.call(http.MethodGet, "/control/load")
		return strings.Contains(body, `"pods":["a","b"]`)
	})
	p.minute()
	p.want(http.MethodGet, query(perPod+` == 400`), http.StatusOK, `"kube_pod_name":"a"`, `"kube_pod_name":"b"`)

	if err := pods.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.eventually("the first pod is gone", func() bool {
		_, body := p.call(http.MethodGet, "/control/load")
		return strings.Contains(body, `"pods":["b"]`)
	})
	if err := p.stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

const perService = `{"last":60,"dataSourceType":"container","metrics":[{"id":"kubernetes.service.name"},` +
	`{"id":"net.http.request.count","aggregations":{"time":"timeAvg","group":"sum"}}]}`

func TestTheDataAPIShowsTheServiceOfTheLoad(t *testing.T) {
	p := start(t, flags(t, "--rps", "30", "--workload", "default/deployment/flask", "--selector", "app=flask", "--service", "shop"), pod("a", "flask", corev1.ConditionTrue))
	p.minute()
	status, body := p.send(http.MethodPost, "/api/data", perService, http.Header{"Authorization": {"Bearer " + token}})
	if status != http.StatusOK || !strings.Contains(body, `["shop",30]`) {
		t.Errorf("status %d: %s", status, body)
	}
	if _, body := p.call(http.MethodGet, query("sysdig_container_net_http_request_count")); strings.Contains(body, "shop") {
		t.Errorf("the Prometheus API shows the Service: %s", body)
	}
}

func TestTheStandInIsAnInstanceOfIBMs(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("the-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, flags(t, "--ibm-instance", "guid", "--ibm-api-key-file", keys, "--ibm-token-lifetime", "1m", "--iam-only",
		"--workload", "default/deployment/flask", "--selector", "app=flask"))
	p.want(http.MethodGet, query("vector(1)"), http.StatusForbidden, "Access is denied")

	form := url.Values{"grant_type": {"urn:ibm:params:oauth:grant-type:apikey"}, "apikey": {"the-key"}}
	status, body := p.send(http.MethodPost, "/identity/token", form.Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	var issued struct {
		Token   string `json:"access_token"`
		Expires int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(body), &issued); err != nil || status != http.StatusOK || issued.Expires != 60 {
		t.Fatalf("status %d, %v: %s", status, err, body)
	}
	header := http.Header{"Authorization": {"Bearer " + issued.Token}, "Ibminstanceid": {"guid"}}
	if status, body := p.send(http.MethodGet, "/api"+query("vector(1)"), "", header); status != http.StatusOK {
		t.Errorf("status %d: %s", status, body)
	}
}

func TestAPodCountsFromReadyUntilDeletedOrFinished(t *testing.T) {
	set := &podSet{pods: map[string]types.UID{}}
	waiting, running := pod("a", "flask", corev1.ConditionFalse), pod("a", "flask", corev1.ConditionTrue)
	successor := pod("a", "flask", corev1.ConditionFalse)
	successor.UID = "successor"
	finished := pod("a", "flask", corev1.ConditionFalse)
	finished.Status.Phase = corev1.PodFailed
	for i, c := range []struct {
		do   func(*corev1.Pod)
		pod  *corev1.Pod
		want string
	}{
		{set.observe, waiting, ""},
		{set.observe, running, "a"},
		{set.observe, waiting, "a"},
		{set.observe, successor, ""},
		{set.observe, running, "a"},
		{set.remove, successor, "a"},
		{set.remove, running, ""},
		{set.observe, running, "a"},
		{set.observe, finished, ""},
	} {
		c.do(c.pod)
		if got := strings.Join(set.names(), ","); got != c.want {
			t.Errorf("step %d: pods %q, want %q", i, got, c.want)
		}
	}
}

func TestFaultsAreSetAndClearedByTheControlAPI(t *testing.T) {
	p := start(t, flags(t, "--workload", "default/deployment/flask", "--selector", "app=flask"))
	p.want(http.MethodPut, "/control/fault?kind=status&status=503&body=down&times=5&query=vector", http.StatusNoContent)
	p.want(http.MethodGet, query("vector(1)"), http.StatusServiceUnavailable, "down")
	p.want(http.MethodDelete, "/control/fault", http.StatusNoContent)
	p.want(http.MethodGet, query("vector(1)"), http.StatusOK)
	for _, path := range []string{
		"/control/fault", "/control/fault?kind=flood", "/control/fault?kind=delay&delay=soon", "/control/fault?kind=status",
		"/control/fault?kind=hang&dealy=1s", "/control/load", "/control/load?rps=-1", "/control/load?rps=NaN",
		"/control/load?silent=maybe", "/control/load?rps=1&workload=default/deployment/none",
	} {
		p.want(http.MethodPut, path, http.StatusBadRequest)
	}
	p.want(http.MethodPut, "/control/fault?kind=hang", http.StatusNoContent)
	if err := p.stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func TestEachWorkloadHasItsOwnLoad(t *testing.T) {
	p := start(t, flags(t, "--rps", "5",
		"--workload", "default/deployment/flask", "--selector", "app=flask",
		"--workload", "default/statefulset/db", "--selector", "app=db"))
	p.want(http.MethodPut, "/control/load?rps=7&silent=true&workload=default/statefulset/db", http.StatusNoContent)
	p.want(http.MethodGet, "/control/load", http.StatusOK,
		`{"workload":"default/deployment/flask","rps":5,"silent":false,"pods":[]}`,
		`{"workload":"default/statefulset/db","rps":7,"silent":true,"pods":[]}`)
}

func TestCountedRequestsAreWhatTheSeriesHold(t *testing.T) {
	p := start(t, flags(t, "--cluster", "c1", "--workload", "default/deployment/flask", "--counted"))
	report := func(end time.Time, counts string) int {
		status, _ := p.send(http.MethodPost, "/control/counts?workload=default/deployment/flask&time="+url.QueryEscape(end.Format(time.RFC3339)), counts, nil)
		return status
	}
	for end := noon.Add(10 * time.Second); !end.After(noon.Add(time.Minute)); end = end.Add(10 * time.Second) {
		p.clk.SetTime(end)
		if status := report(end, `{"a": 30, "b": 10}`); status != http.StatusNoContent {
			t.Fatalf("status %d", status)
		}
	}
	p.want(http.MethodGet, query(perPod+` == 3`), http.StatusOK, `"kube_pod_name":"a"`)
	p.want(http.MethodGet, query(`http_requests_total == 60`), http.StatusOK, `"kube_pod_name":"b"`)
	p.want(http.MethodGet, query(`sysdig_container_up`), http.StatusOK, `"kube_pod_name":"a"`, `"kube_pod_name":"b"`)

	for what, status := range map[string]int{
		"a time inside a bucket": report(noon.Add(65*time.Second), `{"a": 1}`),
		"fewer than none":        report(noon.Add(70*time.Second), `{"a": -1}`),
		"no pod's":               report(noon.Add(70*time.Second), `{"": 1}`),
		"no counts":              report(noon.Add(70*time.Second), `[]`),
	} {
		if status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", what, status)
		}
	}
	p.want(http.MethodPost, "/control/counts?workload=default/deployment/none&time=2026-03-01T12:00:00Z", http.StatusBadRequest)
}

func TestTheCertificateOfTheAuthorityIsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	p := start(t, flags(t, "--tls-dir", dir, "--workload", "default/deployment/flask", "--selector", "app=flask"))
	bundle, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	p.http.Transport = transport
	p.want(http.MethodGet, query("vector(1)"), http.StatusOK)
}

func TestWrongUsageIsRefused(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"--token-file", "x"},
		{"--token-file", "x", "--workload", "a/b"},
		{"--token-file", "x", "--selector", "app=x"},
		{"--token-file", "x", "--workload", "a/b/c"},
		{"--token-file", "x", "--workload", "a/b/c", "--selector", "==="},
		{"--token-file", "x", "--workload", "a/b/c", "--selector", "app=x", "more"},
		{"--token-file", "x", "--service", "x"},
		{"--token-file", "x", "--workload", "a/b/c", "--selector", "app=x", "--ibm-instance", "x"},
		{"--token-file", "x", "--workload", "a/b/c", "--selector", "app=x", "--ibm-api-key-file", "x"},
		{"--token-file", "x", "--workload", "a/b/c", "--selector", "app=x", "--iam-only"},
		{"--token-file", "x", "--workload", "a/b/c", "--selector", "app=x", "--ibm-token-lifetime", "0"},
		{"--token-file", "x", "--counted"},
		{"--token-file", "x", "--workload", "a/b/c", "--selector", "app=x", "--counted"},
		{"--token-file", "x", "--workload", "a/b/c", "--counted", "--tls-cert-file", "x"},
		{"--token-file", "x", "--workload", "a/b/c", "--counted", "--tls-cert-file", "x", "--tls-key-file", "x", "--tls-dir", "x"},
		{"--no-such"},
	} {
		var stderr strings.Builder
		if code := Main(t.Context(), args, io.Discard, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%q: code %d, %q, want 2 and a reason", args, code, stderr.String())
		}
	}
	if code := Main(t.Context(), []string{"--help"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("--help: code %d, want 0", code)
	}
	for _, listen := range []string{"0.0.0.0:0", "nowhere"} {
		o, err := parse(flags(t, "--listen", listen, "--workload", "a/b/c", "--selector", "app=x"), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if err := run(t.Context(), o, fake.NewClientset(), clocktesting.NewFakeClock(noon), io.Discard); err == nil {
			t.Errorf("listening on %q succeeded, want an error", listen)
		}
	}
}
