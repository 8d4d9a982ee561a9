package provider_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/install"
	custombeta1 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	custombeta2 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"k8s.io/metrics/pkg/apis/external_metrics"
	external "k8s.io/metrics/pkg/apis/external_metrics/install"
	externalbeta1 "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	upstream "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// codecs is what the API server encodes with, and an HPA decodes with.
func codecs() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	custom.Install(scheme)
	external.Install(scheme)
	utilruntime.Must(metav1.AddMetaToScheme(scheme))
	return serializer.NewCodecFactory(scheme)
}

// travel encodes an answer in a version and decodes it again. into is what the answer is decoded to.
func travel(t *testing.T, answer runtime.Object, version schema.GroupVersion, into runtime.Object) map[string]any {
	t.Helper()
	factory := codecs()
	text, err := runtime.Encode(factory.LegacyCodec(version), answer)
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.DecodeInto(factory.UniversalDecoder(), text, into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var plain map[string]any
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestAListSurvivesEveryVersion(t *testing.T) {
	p, _ := newProvider(t, board{claim(pods, "", "rate"): {items: podItems(t)}})
	list, err := p.GetMetricBySelector(t.Context(), "shop", parse(t, "app=web"), info(pods), parse(t, "method=GET,code in (a,b)"))
	if err != nil {
		t.Fatal(err)
	}
	for version, nameOf := range map[schema.GroupVersion]func(item map[string]any) any{
		custombeta1.SchemeGroupVersion: func(item map[string]any) any { return item["metricName"] },
		custombeta2.SchemeGroupVersion: func(item map[string]any) any { return item["metric"].(map[string]any)["name"] },
	} {
		t.Run(version.Version, func(t *testing.T) {
			var got custom_metrics.MetricValueList
			plain := travel(t, list.DeepCopy(), version, &got)
			if len(got.Items) != 2 {
				t.Fatalf("got %+v", plain)
			}
			for i, item := range got.Items {
				sent := list.Items[i]
				if item.DescribedObject != sent.DescribedObject || item.Value.Cmp(sent.Value) != 0 || !item.Timestamp.Equal(&sent.Timestamp) || !reflect.DeepEqual(item.WindowSeconds, sent.WindowSeconds) {
					t.Errorf("got %+v, want %+v", item, sent)
				}
				if metav1.FormatLabelSelector(item.Metric.Selector) != metav1.FormatLabelSelector(sent.Metric.Selector) || item.Metric.Name != "rate" {
					t.Errorf("got %+v, want %+v", item.Metric, sent.Metric)
				}
			}
			first := plain["items"].([]any)[0].(map[string]any)
			if plain["apiVersion"] != version.String() || nameOf(first) != "rate" || first["value"] != "12500m" || first["describedObject"].(map[string]any)["kind"] != "Pod" {
				t.Errorf("got %v", plain)
			}
		})
	}
}

func TestExternalItemsSurvive(t *testing.T) {
	for name, test := range map[string]struct {
		sample *metric.Sample
		labels []map[string]string
	}{
		"with dimensions": {queues(t), []map[string]string{{"queue": "mail"}, {"queue": "orders", "vhost": "/"}}},
		"without":         {sample(t, 9.2e15, time.Hour), []map[string]string{nil}},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := newProvider(t, board{metric.ExternalClaim("shop", "queue"): {sample: test.sample}})
			list, err := p.GetExternalMetric(t.Context(), "shop", labels.Everything(), upstream.ExternalMetricInfo{Metric: "queue"})
			if err != nil {
				t.Fatal(err)
			}
			var got external_metrics.ExternalMetricValueList
			travel(t, list.DeepCopy(), externalbeta1.SchemeGroupVersion, &got)
			if len(got.Items) != len(test.labels) {
				t.Fatalf("got %+v", got)
			}
			var sum int64
			for i, item := range got.Items {
				if !reflect.DeepEqual(item.MetricLabels, test.labels[i]) || item.MetricName != "queue" || !item.Timestamp.Equal(&list.Items[i].Timestamp) || !reflect.DeepEqual(item.WindowSeconds, list.Items[i].WindowSeconds) {
					t.Errorf("got %+v, want %+v", item, list.Items[i])
				}
				sum += item.Value.MilliValue()
			}
			if sum != test.sample.Milli {
				t.Errorf("an HPA adds up %d thousandths, want %d", sum, test.sample.Milli)
			}
		})
	}
}
