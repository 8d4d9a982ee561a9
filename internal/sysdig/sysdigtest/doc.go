// Package sysdigtest is a stand-in for the HTTP API of Sysdig Monitor, for tests, benchmarks and demonstrations.
//
// It serves the Prometheus-compatible API. Queries are evaluated by the Prometheus engine itself over an in-memory
// [Store], so every PromQL construct behaves as it does in Prometheus; what Sysdig adds around it (tokens and teams,
// limits, request budget, ingestion lag, odd answers) is modelled here and can be switched. Faults are produced on
// demand with [Server.SetFault].
//
// It serves the classic API over the same store: POST /api/data, GET /api/v2/metrics/descriptors, the older GET
// /api/data/metrics, and GET /api/v3/labels. An entity is one series. A point belongs to the bucket that ends at its
// timestamp or holds it; each entity is reduced over time first, and then the entities of a segment. So a window from
// T-W to T at sum and sum without a sampling holds what sum(sum_over_time(x[W])) does at T, or some seconds later. Metrics
// and labels have their dotted names and those of PromQL; [LabelService] shows there only. A metric or label is unknown
// unless it is documented or was ever stored. [ClassicSwitches] choose what is undocumented.
//
// With [IBM] in the options it is an instance of IBM Cloud Monitoring, with the identity service at /identity/token.
//
//	srv := sysdigtest.New(sysdigtest.Options{Clock: clk, Tokens: []string{"secret"}})
//	if err := srv.Start(); err != nil { ... }
//	defer srv.Close()
//	sysdigtest.Fill(srv.Store(), labels, from, to, func(time.Time) float64 { return 100 })
//
// All time comes from the clock in [Options]: with a fake clock a delay, the lag and the request budget move only when
// the test moves them.
package sysdigtest
