package main

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// TestTheAgentReportsWhatEachPodHasServedSince lets pods come, fall silent and come back; each has an address of its own, since on
// Linux all of 127.0.0.0/8 is the machine.
func TestTheAgentReportsWhatEachPodHasServedSince(t *testing.T) {
	counts := map[string]int64{} // by host; one that is absent does not answer
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	pods := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		if count, ok := counts[host]; ok {
			_ = json.NewEncoder(w).Encode(served{Requests: count})
		}
	})}}
	pods.Start()
	defer pods.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())

	var told map[string]int64
	var asked url.Values
	standIn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told, asked = nil, r.URL.Query()
		if err := json.NewDecoder(r.Body).Decode(&told); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer standIn.Close()

	pod := func(name, ip string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip},
		}
	}
	client := fake.NewClientset(pod("a", "127.0.0.1"))
	c := &collector{
		pods: client, namespace: "default", port: port, workload: "default/deployment/flask", to: standIn.URL,
		http: http.DefaultClient, report: http.DefaultClient,
	}
	end := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		what   string
		counts map[string]int64
		want   map[string]int64
	}{
		{"what was served before is of no known bucket", map[string]int64{"127.0.0.1": 500}, nil},
		{"a pod has served more", map[string]int64{"127.0.0.1": 530}, map[string]int64{"a": 30}},
		{"a new pod begins with 0", map[string]int64{"127.0.0.1": 540, "127.0.0.2": 7}, map[string]int64{"a": 10, "b": 7}},
		{"a pod that does not answer is left out", map[string]int64{"127.0.0.2": 8}, map[string]int64{"b": 1}},
		{"and has not begun anew", map[string]int64{"127.0.0.1": 545, "127.0.0.2": 8}, map[string]int64{"a": 5, "b": 0}},
	} {
		if step.counts["127.0.0.2"] == 7 {
			if _, err := client.CoreV1().Pods("default").Create(t.Context(), pod("b", "127.0.0.2"), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		counts, told, end = step.counts, nil, end.Add(interval)
		if err := c.collect(t.Context(), end); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if !maps.Equal(told, step.want) {
			t.Errorf("%s: told %v, want %v", step.what, told, step.want)
		}
		if told != nil && (asked.Get("workload") != c.workload || asked.Get("time") != end.Format(time.RFC3339)) {
			t.Errorf("%s: told of %v", step.what, asked)
		}
	}
}
