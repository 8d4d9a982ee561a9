package metric

import (
	"fmt"
	"time"
)

// Reading is what is known of one value: the last good sample and how the last attempt ended. The zero Reading was never
// attempted.
type Reading struct {
	// Sample is the newest good sample; nil when there was none.
	Sample *Sample
	// Failure is why the last attempt gave no sample; nil when it gave one, or when there was no attempt.
	Failure *Failure
	// Floor is a value that the true one is not below, from an attempt whose failure is Partial; nil when there is none. It is served
	// only while every HPA that reads it would scale up on it.
	Floor *Sample
	// Asked is the time that the last attempt asked about: the end of its window, by our clock.
	Asked time.Time
	// Attempted is when the last attempt ended, by our clock. Zero: never.
	Attempted time.Time
}

// Policy is what a binding says about serving its value.
type Policy struct {
	// MaxAge is the age beyond which a sample is never served.
	MaxAge time.Duration
	// OnNoData is served in place of a NoData failure; nil: the failure is served.
	OnNoData *Sample
	// Suspended makes every read fail.
	Suspended bool
}

// Judge is the rule "may this value be served now"; Bound is its one exception. Exactly one of its results is set. The order is the rule:
//
//  1. a suspended binding answers Suspended;
//  2. a question that was never answered is Pending;
//  3. a sample not older than MaxAge is served, also while newer attempts fail: samples come slower than the HPA asks;
//  4. a successful, complete and empty answer is OnNoData's value, if there is one and the answer itself is fresh;
//  5. anything else is the last failure, or Stale. There is no 0, no last value, no NaN.
func (p Policy) Judge(r Reading, now time.Time) (*Sample, *Failure) {
	switch {
	case p.Suspended:
		return nil, Failf(Suspended, "the binding says suspend: true")
	case r.Attempted.IsZero():
		return nil, Failf(Pending, "Sysdig was not asked yet")
	case r.Sample != nil && r.Sample.Age(now) <= p.MaxAge:
		return r.Sample, nil
	}
	if p.OnNoData != nil && r.Failure != nil && r.Failure.Reason == NoData {
		if assumed := p.assumed(r.Asked, r.Attempted); assumed.Age(now) <= p.MaxAge {
			return assumed, nil
		}
	}
	return nil, p.explain(r, now)
}

// Bound is the one exception from Judge: the lower bound that goes before what Judge serves, or before its failure; nil when
// there is none. Whoever serves it must know that every HPA that reads it scales up on it, at the time of the read: to any other
// the number may be too low, and an error is the answer. The rule:
//
//  1. the last attempt has failed as Partial and has given a bound, which is a single number not older than MaxAge;
//  2. the binding is not suspended;
//  3. a sample that Judge serves is lower. It was true when it was measured, and the bound says that the truth has gone up since:
//     serving it lets HPAs scale up now and not only when the sample is too old. A higher sample is served as ever.
func (p Policy) Bound(r Reading, served *Sample, now time.Time) *Sample {
	bound := r.Floor
	switch {
	case p.Suspended || r.Failure == nil || r.Failure.Reason != Partial:
		return nil
	case bound == nil || bound.Whole != nil || bound.Age(now) > p.MaxAge:
		return nil
	case served != nil && served.Milli >= bound.Milli:
		return nil
	}
	return bound
}

// explain turns a reading that may not be served into its failure, with the age of the last sample and the limit.
func (p Policy) explain(r Reading, now time.Time) *Failure {
	if r.Sample == nil {
		if r.Failure != nil {
			return r.Failure
		}
		return Failf(Stale, "the last answer is older than maxAge %s", p.MaxAge)
	}
	age := fmt.Sprintf("the last sample is %s old, maxAge is %s", r.Sample.Age(now).Round(time.Second), p.MaxAge)
	if r.Failure == nil {
		return Failf(Stale, "%s", age)
	}
	return r.Failure.Add("; " + age)
}

// assumed is OnNoData's value as of an answer.
func (p Policy) assumed(asked, received time.Time) *Sample {
	assumed := *p.OnNoData
	assumed.Time, assumed.Received, assumed.Assumed = asked, received, true
	return &assumed
}

// NoData is what to serve when a successful and complete answer holds nothing of what is asked for: OnNoData's value at the
// time of that answer, or the failure.
func (p Policy) NoData(failure *Failure, of *Sample) (*Sample, *Failure) {
	if p.OnNoData == nil {
		return nil, failure
	}
	return p.assumed(of.Time, of.Received), nil
}

// Until is when the judgement may change without any new attempt: when the sample that is served now gets too old. Zero
// when nothing is served.
func (p Policy) Until(r Reading, now time.Time) time.Time {
	sample, failure := p.Judge(r, now)
	if failure != nil {
		return time.Time{}
	}
	return p.Expiry(sample)
}

// Expiry is until when a sample is fresh.
func (p Policy) Expiry(s *Sample) time.Time { return older(s.Time, s.Received).Add(p.MaxAge) }
