// Package poller asks: one round is which questions are due, merge, fetch, file. Tick is the whole logic; Start is the
// loop around it that the manager runs. All goroutines of a round end before Tick returns.
package poller
