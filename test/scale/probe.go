package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// seed makes the order of reads, and the phases of steps, the same in every run.
const seed = 20310301

// probe reads values the way an HPA does, some each second, and checks them.
type probe struct {
	client kubernetes.Interface
	scene  scene
	every  time.Duration

	mu        sync.Mutex
	latencies []float64 // in milliseconds
	wrong     []string
}

// run reads until the context ends.
func (p *probe) run(ctx context.Context) {
	order := rand.New(rand.NewPCG(seed, seed))
	ticker := time.NewTicker(p.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.once(ctx, p.scene.subject(order.IntN(p.scene.bindings)))
		}
	}
}

func (p *probe) once(ctx context.Context, of subject) {
	began := time.Now()
	value, err := read(ctx, p.client, of.path())
	took := time.Since(began)
	if ctx.Err() != nil {
		return
	}
	if err == nil && math.Abs(value-of.value) > 0.0015 { // a sum of floats, rounded away from 0
		err = fmt.Errorf("%v in place of %v", value, of.value)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.wrong = append(p.wrong, fmt.Sprintf("%s was answered with %v", of.path(), err))
		return
	}
	p.latencies = append(p.latencies, float64(took.Microseconds())/1000)
}

// read reads one value through the API server.
func read(ctx context.Context, client kubernetes.Interface, path string) (float64, error) {
	raw, err := client.Discovery().RESTClient().Get().RequestURI(path).DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %.300s", err, raw)
	}
	var list custommetrics.MetricValueList
	if err := json.Unmarshal(raw, &list); err != nil {
		return 0, fmt.Errorf("decoding %.300s: %w", raw, err)
	}
	if len(list.Items) != 1 {
		return 0, fmt.Errorf("%d items", len(list.Items))
	}
	return float64(list.Items[0].Value.MilliValue()) / 1000, nil
}
