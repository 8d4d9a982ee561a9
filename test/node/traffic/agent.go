package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// interval is how often Sysdig's agent reports.
	interval = 10 * time.Second
	// podTimeout is how long a pod may take to tell its count.
	podTimeout = 5 * time.Second
)

// collector collects the counts of a workload's pods and reports how much they have grown.
type collector struct {
	pods                         kubernetes.Interface
	namespace, selector          string
	port, workload, to, caBundle string

	http, report *http.Client
	// totals are the counts of the last report, by pod; nil before the first.
	totals map[string]int64
}

// agent reports, every 10 seconds on the clock, how many requests each pod of a workload has answered since.
func agent(ctx context.Context, args []string) error {
	c := &collector{http: &http.Client{Timeout: podTimeout}}
	flags := flag.NewFlagSet("agent", flag.ContinueOnError)
	flags.StringVar(&c.namespace, "namespace", "default", "`namespace` of the pods")
	flags.StringVar(&c.selector, "selector", "", "label `selector` of the pods")
	flags.StringVar(&c.port, "port", "5000", "`port` of the pods")
	flags.StringVar(&c.workload, "workload", "", "`namespace/kind/name` of the workload")
	flags.StringVar(&c.to, "to", "", "`URL` that is told the counts")
	flags.StringVar(&c.caBundle, "ca-file", "", "`file` of the authority of --to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := c.connect(); err != nil {
		return err
	}
	for {
		now := time.Now()
		end := now.Truncate(interval).Add(interval)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(end.Sub(now)):
		}
		if err := c.collect(ctx, end); err != nil {
			fmt.Fprintln(os.Stderr, "traffic: agent:", err) // An agent goes on; the interval is lost.
		}
	}
}

// connect makes the clients of the API server and of who is told.
func (c *collector) connect() error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("the pod's own account: %w", err)
	}
	config.Timeout = podTimeout
	if c.pods, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	bundle, err := os.ReadFile(c.caBundle)
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return errors.New("authority: no certificate in it")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	c.report = &http.Client{Timeout: podTimeout, Transport: transport}
	return nil
}

// collect reports the bucket that ends at end. What a pod counted before the first report is not known to be of one bucket, so
// that report is left out.
func (c *collector) collect(ctx context.Context, end time.Time) error {
	list, err := c.pods.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: c.selector})
	if err != nil {
		return fmt.Errorf("list the pods: %w", err)
	}
	totals, grown := c.ask(ctx, list.Items), map[string]int64{}
	for pod, total := range totals {
		grown[pod] = total - c.totals[pod]
	}
	for _, pod := range list.Items {
		// Who did not answer this time has not begun anew.
		if total, known := c.totals[pod.Name]; known && totals[pod.Name] < total {
			totals[pod.Name] = total
		}
	}
	first := c.totals == nil
	c.totals = totals
	if first {
		return nil
	}
	return c.tell(ctx, end, grown)
}

// ask returns the counts of those pods that tell it.
func (c *collector) ask(ctx context.Context, pods []corev1.Pod) map[string]int64 {
	totals := map[string]int64{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, pod := range pods {
		if pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
			continue
		}
		group.Go(func() {
			count, err := c.requests(ctx, "http://"+net.JoinHostPort(pod.Status.PodIP, c.port)+"/requests")
			if err != nil {
				fmt.Fprintf(os.Stderr, "traffic: agent: pod %s: %v\n", pod.Name, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			totals[pod.Name] = count
		})
	}
	group.Wait()
	return totals
}

func (c *collector) requests(ctx context.Context, url string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer served
	if err := json.NewDecoder(io.LimitReader(response.Body, 4096)).Decode(&answer); err != nil {
		return 0, fmt.Errorf("its answer: %w", err)
	}
	return answer.Requests, nil
}

// tell hands the counts over.
func (c *collector) tell(ctx context.Context, end time.Time, counts map[string]int64) error {
	body, err := json.Marshal(counts)
	if err != nil {
		return err
	}
	query := url.Values{"workload": {c.workload}, "time": {end.UTC().Format(time.RFC3339)}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.to+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.report.Do(request)
	if err != nil {
		return fmt.Errorf("tell the counts: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
		return fmt.Errorf("tell the counts: %s: %s", response.Status, text)
	}
	return nil
}
