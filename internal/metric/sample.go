package metric

import "time"

// Sample is one number that Sysdig gave for one object, in the unit that an HPA reads (after the multiplier).
type Sample struct {
	// Value is finite and fits into int64 thousandths; see NewSample.
	Value float64
	// Milli is Value in thousandths, rounded away from zero; what an HPA computes with.
	Milli int64
	// Time is when the newest point behind the value was measured, by Sysdig's clock.
	Time time.Time
	// Received is when the answer arrived, by our clock.
	Received time.Time
	// Window is the stretch of time that the value summarizes; zero when unknown.
	Window time.Duration
}

// NewSample checks that value is a number that an HPA can use. The failure is Implausible.
func NewSample(value float64, at, received time.Time, window time.Duration) (Sample, *Failure) {
	milli, failure := Milli(value)
	if failure != nil {
		return Sample{}, failure
	}
	return Sample{Value: value, Milli: milli, Time: at, Received: received, Window: window}, nil
}

// Age is how old the sample is at now. A sample cannot be younger than its receipt: a backend whose clock runs ahead
// must not make old values look fresh, so the older of the two times counts.
func (s Sample) Age(now time.Time) time.Duration {
	return max(now.Sub(older(s.Time, s.Received)), 0)
}

// older returns the earlier of two times.
func older(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
