package metric

import (
	"errors"
	"fmt"
	"time"
)

// Reason says in one word why no value is served. It is the same word in errors, conditions, Events, metric labels and
// docs/failure-modes.md.
type Reason string

// The vocabulary of failure. The empty Reason is never a failure.
const (
	// Pending: the question was not answered yet since the binding was created or its source was edited.
	Pending Reason = "Pending"
	// NoData: Sysdig answered well and holds nothing for this object.
	NoData Reason = "NoData"
	// Partial: Sysdig answered, but its agents do not see enough of the pods that the value is made of, or its window holds some of a
	// gap.
	Partial Reason = "Partial"
	// Stale: the newest sample is older than maxAge.
	Stale Reason = "Stale"
	// Unauthorized: the token is missing or was refused.
	Unauthorized Reason = "Unauthorized"
	// RateLimited: Sysdig asks to slow down.
	RateLimited Reason = "RateLimited"
	// Rejected: the question is wrong; asking again does not help, somebody has to edit something.
	Rejected Reason = "Rejected"
	// Unavailable: Sysdig could not be reached or did not answer properly.
	Unavailable Reason = "Unavailable"
	// Truncated: the answer says of itself that it is incomplete.
	Truncated Reason = "Truncated"
	// Implausible: the answer is no number that an HPA could use: NaN, an infinity, too large, or more than one.
	Implausible Reason = "Implausible"
	// NameTaken: an older binding serves this metric name for this object.
	NameTaken Reason = "NameTaken"
	// Suspended: the binding says suspend: true.
	Suspended Reason = "Suspended"
	// NotRouted: the API group that serves the binding is not routed to this operator, so no HPA gets to see the value.
	NotRouted Reason = "NotRouted"
)

// Reasons lists the vocabulary, so that metrics can show every reason from the start.
func Reasons() []Reason {
	return []Reason{
		Pending, NoData, Partial, Stale, Unauthorized, RateLimited, Rejected, Unavailable, Truncated, Implausible, NameTaken, Suspended, NotRouted,
	}
}

// Failure is an error with its one reason word. Failures are values: whoever holds one must not change it.
type Failure struct {
	// Reason is never empty.
	Reason Reason
	// Message says what happened, for a human. It never holds a secret and is bounded by whoever made it.
	Message string
	// RetryAfter is how long the backend asks to be left alone; zero when it did not say.
	RetryAfter time.Duration
	// Err is the cause, if there is one.
	Err error
}

// Failf makes a failure with a formatted message.
func Failf(reason Reason, format string, args ...any) *Failure {
	return &Failure{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Error implements error as "Reason: message".
func (f *Failure) Error() string { return string(f.Reason) + ": " + f.Message }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// AsFailure returns the failure inside err. An error without a reason word is Unavailable: whatever is unknown must
// never look like data or like its absence.
func AsFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Reason: Unavailable, Message: err.Error(), Err: err}
}
