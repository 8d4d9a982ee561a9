// Package registry is the only shared mutable state: what is wanted (definitions and connections, put there by the
// controllers), what was last measured (readings, filed by the poller), and who asked to be told of changes of standing.
// One lock guards it; every method is complete in itself, and while holding it none calls out but to Objects,
// which never calls back.
package registry
