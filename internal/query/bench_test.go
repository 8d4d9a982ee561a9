package query_test

import (
	"fmt"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// podRows are the rows and times of pods.
func podRows(namespace string, pods, combinations int) []sysdig.Series {
	var all []sysdig.Series
	for i := range pods {
		for c := range combinations {
			row := map[string]string{"kube_namespace_name": namespace, "kube_pod_name": fmt.Sprintf("web-%05d", i), "code": fmt.Sprint(200 + c)}
			dated := map[string]string{"kube_namespace_name": namespace, "kube_pod_name": row["kube_pod_name"], "code": row["code"], partLabel: "time"}
			all = append(all, sysdig.Series{Labels: row, Value: float64(i)}, sysdig.Series{Labels: dated, Value: float64(noon.Unix() - 30)})
		}
	}
	return all
}

// BenchmarkReadingPods is an answer about all pods of a namespace.
func BenchmarkReadingPods(b *testing.B) {
	for name, edits := range map[string][]edit{
		"5000 pods":                 {every("v1", "Pod", nil)},
		"5000 pods of 5 kept apart": {every("v1", "Pod", nil), dimensions("code")},
		"a namespace of 5000 apart": {target("v1", "Namespace", ""), dimensions("code")},
	} {
		b.Run(name, func(b *testing.B) {
			question := compile(b, binding(edits...), connection()).Question
			combinations := 1
			if len(question.Dimensions()) > 0 {
				combinations = 5
			}
			answer := sysdig.Answer{Series: podRows("shop", 5000, combinations)}
			request := query.Plan([]query.Question{question}, query.Whole)[0]
			b.ReportAllocs()
			for b.Loop() {
				if got := request.Read(answer, attempt, nil); question.View.All && len(got[0].Objects) != 5000 {
					b.Fatal(len(got[0].Objects))
				}
			}
		})
	}
}

// BenchmarkReadingNamespaces is one answer about the pods of many namespaces, each with its own question. Time per
// question has to stay what it is, however many there are.
func BenchmarkReadingNamespaces(b *testing.B) {
	for _, namespaces := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(namespaces), func(b *testing.B) {
			var questions []query.Question
			var answer sysdig.Answer
			for i := range namespaces {
				namespace := fmt.Sprintf("shop-%04d", i)
				questions = append(questions, compile(b, binding(in(namespace), every("v1", "Pod", nil)), connection()).Question)
				answer.Series = append(answer.Series, podRows(namespace, 10, 1)...)
			}
			requests := query.Plan(questions, query.Whole)
			if len(requests) != 1 {
				b.Fatalf("%d requests", len(requests))
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, o := range requests[0].Read(answer, attempt, nil) {
					if len(o.Objects) != 10 {
						b.Fatal(len(o.Objects))
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*namespaces), "ns/question")
		})
	}
}
