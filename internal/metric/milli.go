package metric

import "math"

// maxMilli is the largest magnitude that is served, in thousandths. The HPA computes with int64 milli units
// (resource.Quantity.MilliValue); 2^63 is the first float64 that does not fit.
const maxMilli = 1 << 63

// Milli turns a value into thousandths, rounded away from zero so that a small load never becomes none. A value that is
// the closest float64 to a whole number of thousandths is that number: 100.1 is 100100, not 100101. The failure is
// Implausible, for NaN, infinities and numbers beyond int64.
func Milli(value float64) (int64, *Failure) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, Failf(Implausible, "the value is %v, which is not a number that an HPA can use", value)
	}
	milli := math.Round(value * 1000)
	if milli/1000 != value {
		milli = awayFromZero(value * 1000)
	}
	if math.Abs(milli) >= maxMilli {
		return 0, Failf(Implausible, "the value %g is too large for an HPA, which counts in int64 thousandths; use a multiplier", value)
	}
	return int64(milli), nil
}

func awayFromZero(x float64) float64 {
	return math.Copysign(math.Ceil(math.Abs(x)), x)
}
