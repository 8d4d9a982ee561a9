// Package sysdig is an HTTP client for Sysdig Monitor and nothing else: addresses, authentication, bounded reads, wire
// types and typed errors. Every error it returns is a *metric.Failure with its one reason word.
package sysdig
