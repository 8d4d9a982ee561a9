package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	// soakSamples are taken in equal distances; the first quarter warms up.
	soakSamples = 12
	// What a replica may hold more at the end than after the first quarter, as a part of it, and in absolute numbers.
	soakGrowth, soakSlack = 0.1, 5
)

// soak lets nothing happen and looks at what the replicas hold.
func soak(ctx context.Context, s *scene, o *observer) error {
	o.begin()
	running := s.running()
	all := make([][]usage, len(running))
	fmt.Println("| minute | replica | RSS, MiB | goroutines | file descriptors |\n| ---: | --- | ---: | ---: | ---: |")
	for n := range soakSamples + 1 {
		for i, r := range running {
			u, err := s.held(ctx, r)
			if err != nil {
				return err
			}
			all[i] = append(all[i], u)
			minute := (s.plan.soak * time.Duration(n) / soakSamples).Minutes()
			fmt.Printf("| %.1f | %s | %d | %d | %d |\n", minute, r.Name, u.rss>>20, u.goroutines, u.descriptors)
		}
		if n < soakSamples {
			if err := stage.Sleep(ctx, s.plan.soak/soakSamples); err != nil {
				return err
			}
		}
	}
	seen := o.end()
	fmt.Printf("\n%d reads, %s failed, oldest sample %s, wrong scalings %d, APIService flaps %d\n", seen.reads, failures(seen), brief(seen.oldest), seen.wrong, seen.flaps)
	var wrong []error
	for i, r := range running {
		first, last := all[i][soakSamples/4], all[i][soakSamples]
		for what, pair := range map[string][2]int{
			"MiB": {first.rss >> 20, last.rss >> 20}, "goroutines": {first.goroutines, last.goroutines}, "descriptors": {first.descriptors, last.descriptors},
		} {
			if float64(pair[1]) > float64(pair[0])*(1+soakGrowth)+soakSlack {
				wrong = append(wrong, fmt.Errorf("%s: %s grew from %d to %d", r.Name, what, pair[0], pair[1]))
			}
		}
	}
	if seen.failed > 0 || seen.wrong > 0 {
		wrong = append(wrong, errors.New("something went wrong while nothing happened"))
	}
	return errors.Join(wrong...)
}
