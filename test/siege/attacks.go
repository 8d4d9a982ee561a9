package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// attack is what a tenant or a stranger does.
type attack struct {
	name string
	play func(*siege, context.Context) error
}

func attacks() []attack {
	return []attack{
		{"nothing", func(_ *siege, ctx context.Context) error { return stage.Sleep(ctx, 30*time.Second) }},
		{"8 KB of PromQL", func(s *siege, ctx context.Context) error { return s.promQL(ctx, 1) }},
		{"labels of a pod that change", (*siege).restless},
		{"labels that grow, and answers of 31 MB", (*siege).wide},
		{"128 lists of 10,000 names at once", (*siege).lists},
		{"answers that unpack to gigabytes", (*siege).bombs},
		{"connections, idle and new", (*siege).connections},
		{"8 KB of PromQL in 20 namespaces", func(s *siege, ctx context.Context) error { return s.promQL(ctx, 20) }},
	}
}

// costly are queries of 8 KB that would take all memory, or a second each.
func costly() []string {
	fill := func(head, repeated, tail string) string {
		return head + strings.Repeat(repeated, (8192-len(head)-len(tail))/len(repeated)) + tail
	}
	return []string{
		fill(`sum(x{a=~"`, `a{0,999}`, `"})`), fill(`sum(x{b="c"`, `,a=~"(a{0,999}){1}"`, `})`), fill("sum(x{a=~`(?i)", "[!-\U0001E942]", "`})"),
		fill("sum(x{a=~`", `\pL`, "`})"), fill("", "-", "absent(x)"), fill("", "(", "x"), fill("x", "[1m:]", ""), `sum(rate(x[290y]))`, `max_over_time(sum(x)[1y:1ms])`,
		fill(`sum(x{kube_namespace_name=~"`, "()", `"})`), fill("sum(x{kube_namespace_name=~\"", "(a|b)?", "\"})"),
	}
}

// bind makes a binding of raw PromQL in a namespace.
func (s *siege) bind(ctx context.Context, namespace, name, query string) error {
	return s.stage.Client.Create(ctx, &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.SysdigMetricBindingSpec{Source: v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: query}}},
	})
}

// inNamespaces makes namespaces and does something in each, some at a time.
func (s *siege) inNamespaces(ctx context.Context, prefix string, count int, do func(ctx context.Context, namespace string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range count {
		group.Go(func() error {
			namespace := fmt.Sprint(prefix, "-", i)
			if err := s.stage.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
				return err
			}
			return do(ctx, namespace)
		})
	}
	return group.Wait()
}

func (s *siege) promQL(ctx context.Context, namespaces int) error {
	return s.inNamespaces(ctx, fmt.Sprint("promql-", namespaces), namespaces, func(ctx context.Context, namespace string) error {
		for i, query := range costly() {
			if err := s.bind(ctx, namespace, fmt.Sprint("costly-", i), query); err != nil {
				return err
			}
		}
		return nil
	})
}

// restless gives one pod 1,000 other labels, 300 times.
func (s *siege) restless(ctx context.Context) error {
	return s.inNamespaces(ctx, "labels", 1, func(ctx context.Context, namespace string) error {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "restless"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a"}}},
		}
		if err := s.stage.Client.Create(ctx, pod); err != nil {
			return err
		}
		for round := range 300 {
			labels := map[string]string{}
			for i := range 1000 {
				labels[fmt.Sprintf("label-%d-%d", round, i)] = strings.Repeat("x", 40)
			}
			patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/metadata/labels", "value": labels}})
			if err != nil {
				return err
			}
			if err := s.stage.Client.Patch(ctx, pod, client.RawPatch(types.JSONPatchType, patch)); err != nil {
				return err
			}
		}
		return nil
	})
}

// wide has labels that grow, which are refused, and queries whose answers are as large as may be.
func (s *siege) wide(ctx context.Context) error {
	grow := strings.Repeat("label_replace(", 6) + "sum(x)" + strings.Repeat(`, "b", "$1$1$1$1$1$1$1$1", "b", "(.*)")`, 6)
	if err := s.inNamespaces(ctx, "wide", 1, func(ctx context.Context, namespace string) error {
		for i := range 20 {
			if err := s.bind(ctx, namespace, fmt.Sprint("grow-", i), grow+fmt.Sprint(" + ", i)); err != nil {
				return err
			}
			if err := s.bind(ctx, namespace, fmt.Sprint("wide-", i), fmt.Sprint("sum(wide) + ", i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return stage.Sleep(ctx, 4*s.interval)
}

// bombs has answers that unpack to gigabytes.
func (s *siege) bombs(ctx context.Context) error {
	if err := s.inNamespaces(ctx, "bombs", 1, func(ctx context.Context, namespace string) error {
		for i := range 20 {
			if err := s.bind(ctx, namespace, fmt.Sprint("bomb-", i), fmt.Sprint("sum(bomb) + ", i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return stage.Sleep(ctx, 4*s.interval)
}

// lists makes 10,000 names and has them listed, 128 times at once and again.
func (s *siege) lists(ctx context.Context) error {
	if err := s.inNamespaces(ctx, "lists", 10, func(ctx context.Context, namespace string) error {
		for i := range 1000 {
			name := fmt.Sprintf("%s-a-metric-with-some-name-%d", namespace, i)
			if err := s.bind(ctx, namespace, name, `sum(x)`); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for range 10 {
		group, ctx := errgroup.WithContext(ctx)
		for range 128 {
			group.Go(func() error {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/apis/external.metrics.k8s.io/v1beta1", s.stage.Port()), http.NoBody)
				if err != nil {
					return err
				}
				request.Header.Set("Authorization", "Bearer "+s.tenant)
				response, err := s.reader.Do(request)
				if err != nil {
					return nil // one that is refused
				}
				_, _ = io.Copy(io.Discard, response.Body)
				return response.Body.Close()
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// connections holds and opens connections to all ports.
func (s *siege) connections(ctx context.Context) error {
	var held []net.Conn
	defer func() {
		for _, connection := range held {
			_ = connection.Close()
		}
	}()
	for i := range 10_000 {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(1+i%100))}, Timeout: 10 * time.Second}
		connection, err := dialer.DialContext(ctx, "tcp", s.ports[i%len(s.ports)])
		if err != nil {
			continue // there are only so many ports
		}
		if i%3 == 0 {
			_, _ = io.WriteString(connection, "GET / HTTP/1.1\r\nX: ")
		}
		held = append(held, connection)
		if i%100 == 99 {
			if err := stage.Sleep(ctx, 100*time.Millisecond); err != nil { // a thousand a second
				return err
			}
		}
	}
	return stage.Sleep(ctx, 5*time.Second)
}

// insecure is a client that looks at no certificate, and keeps no connection.
func insecure() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
}
