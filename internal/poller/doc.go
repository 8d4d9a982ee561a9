// Package poller asks: which requests are due, what may be asked, fetch, file. Tick is the whole logic; Start is the loop around
// it that the manager runs. What is remembered of a connection is its lane: Tick plans a round with it, a goroutine runs the round
// (heartbeat, then the requests), and the lane learns how it ended. All goroutines end before Start returns.
package poller
