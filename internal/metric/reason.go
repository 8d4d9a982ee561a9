package metric

import (
	"cmp"
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
	// TooFewPoints: Sysdig holds points of the object, but too few within the window to make a value of them.
	TooFewPoints Reason = "TooFewPoints"
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
		Pending, NoData, TooFewPoints, Partial, Stale, Unauthorized, RateLimited, Rejected, Unavailable, Truncated, Implausible, NameTaken, Suspended, NotRouted,
	}
}

// Failure is an error with its one reason word. Failures are values: whoever holds one must not change it.
type Failure struct {
	// Reason is never empty.
	Reason Reason
	// Message says what happened, to everybody who may see a binding. It holds no secret, nothing of other tenants, and nothing of what is
	// inside of the platform, such as hosts, addresses and Secrets. It is bounded by whoever made it.
	Message string
	// Detail says the same in full, to who may see the SysdigConnection and the operator's log. It holds no secret. Empty: Message says
	// all.
	Detail string
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

// Full is what the platform team reads.
func (f *Failure) Full() string { return cmp.Or(f.Detail, f.Message) }

// Withhold returns the failure with another message for tenants. What it has said before is left to the platform team.
func (f *Failure) Withhold(message string) *Failure {
	withheld := *f
	withheld.Message, withheld.Detail = message, f.Full()
	return &withheld
}

// Add returns the failure with more words for everybody.
func (f *Failure) Add(words string) *Failure {
	more := *f
	more.Message += words
	if f.Detail != "" {
		more.Detail += words
	}
	return &more
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// AsFailure returns the failure inside err. An error without a reason word is Unavailable: whatever is unknown must
// never look like data or like its absence. Nobody knows what its text holds, so that tenants do not see it.
func AsFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Reason: Unavailable, Message: "an unexpected error; ask the platform team to look into the operator's log", Detail: err.Error(), Err: err}
}
