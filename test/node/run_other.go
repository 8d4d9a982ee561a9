//go:build !linux

package node

import "io"

// Run runs the tests, which find that no node can run here.
func Run(m Tests, _ io.Writer) int { return m.Run() }

func reason() string { return "that takes Linux" }
