// Package sysdigtest is a stand-in for the HTTP API of Sysdig Monitor, for tests, benchmarks and demonstrations.
//
// It serves the Prometheus-compatible API. Queries are evaluated by the Prometheus engine itself over an in-memory
// [Store], so every PromQL construct behaves as it does in Prometheus; what Sysdig adds around it (tokens and teams,
// limits, request budget, ingestion lag, odd answers) is modelled here and can be switched. Faults are produced on
// demand with [Server.SetFault].
//
//	srv := sysdigtest.New(sysdigtest.Options{Clock: clk, Tokens: []string{"secret"}})
//	if err := srv.Start(); err != nil { ... }
//	defer srv.Close()
//	sysdigtest.Fill(srv.Store(), labels, from, to, func(time.Time) float64 { return 100 })
//
// All time comes from the clock in [Options]: with a fake clock a delay, the lag and the request budget move only when
// the test moves them.
package sysdigtest
