package registry

// Change is how far an edit of a connection goes. What was found out before is void from one step on, and the steps grow.
type Change int

// The steps.
const (
	// Unchanged: it was not put again.
	Unchanged Change = iota
	// Retuned: the same account is asked with the same token, otherwise. It is asked at once. What Sysdig has told stays: how long to wait
	// (Retry-After), and which queries it refuses.
	Retuned
	// AnotherAccess: another token, or another way to Sysdig. Whatever was refused is tried again at once, at the cost of one request.
	AnotherAccess
	// AnotherAccount: another endpoint, or another team. What is allowed there and how late it is has to be found out anew.
	AnotherAccount
)

// ChangeFrom is how far a connection differs from what was in its place before.
func (c Connection) ChangeFrom(old Connection) Change {
	switch {
	case c.Heartbeat.Scope.Endpoint != old.Heartbeat.Scope.Endpoint:
		return AnotherAccount
	case c.Access != old.Access:
		return AnotherAccess
	case c.Revision != old.Revision:
		return Retuned
	}
	return Unchanged
}
