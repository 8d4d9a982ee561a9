package metric

import "math"

// maxMilli is the largest magnitude that is served, in thousandths. The HPA computes with int64 milli units
// (resource.Quantity.MilliValue); 2^63 is the first float64 that does not fit.
const maxMilli = 1 << 63

// noise is how far, in proportion, sums of float64 may be off: that of seven sevenths of 100 is 100.00000000000001, which
// must not become 100.001 and one pod more.
const noise = 1e-12

// nothing is what a number of Sysdig and the value made of it are above, or they are what sums of float64 leave of 0: 0.1 + 0.2 - 0.3 is
// 5.6e-17, which must not become 0.001, nor with a multiplier of 1e9 either. A sum of ten numbers up to 1e5 is off by less than 1e-9; of
// larger ones the multiplier, which makes them fit an HPA, makes what is left smaller as well.
const nothing = 1e-9

// Milli turns a value into thousandths, rounded away from zero so that a small load never becomes none, unless the value is
// a whole number of thousandths but for the noise of its computation. The failure is Implausible, for NaN, infinities and
// numbers beyond int64.
func Milli(value float64) (int64, *Failure) {
	if math.IsNaN(value) {
		return 0, Failf(Implausible, "the value is NaN, which is not a number that an HPA can use; a ratio or a quantile is NaN without traffic: write the query of source.promQL as (…) >= 0, which leaves NaN out, and say in spec.onNoData what to serve then")
	}
	if math.IsInf(value, 0) {
		return 0, Failf(Implausible, "the value is %v, which is not a number that an HPA can use", value)
	}
	exact := value * 1000
	milli := math.Round(exact)
	if math.Abs(exact-milli) > noise*math.Abs(milli) {
		milli = awayFromZero(exact)
	}
	if math.Abs(milli) >= maxMilli {
		return 0, Failf(Implausible, "the value %g is too large for an HPA, which counts in int64 thousandths; use a multiplier", value)
	}
	return int64(milli), nil
}

func awayFromZero(x float64) float64 {
	return math.Copysign(math.Ceil(math.Abs(x)), x)
}
