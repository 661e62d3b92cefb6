package audit

import (
	"math"
	"math/rand/v2"
	"slices"
)

// confidence is that of every interval.
const confidence = 0.95

// resamples is how often a bootstrap draws.
const resamples = 2000

// bootstrap returns the percentile interval of a statistic over clusters, which are
// resampled whole: n of them, with replacement. statistic gets how often each was
// drawn.
func bootstrap(n int, seed uint64, over string, statistic func(times []int) float64) Interval {
	r := rand.New(rand.NewPCG(seed, 0xb007))
	times, values := make([]int, n), make([]float64, resamples)
	for i := range values {
		clear(times)
		for range n {
			times[r.IntN(n)]++
		}
		values[i] = statistic(times)
	}
	slices.Sort(values)
	tail := (1 - confidence) / 2
	return Interval{quantile(values, tail), quantile(values, 1-tail), confidence, "bootstrap over " + over}
}

// ratio is scale times the sum of parts over that of wholes, both of clusters, with its
// interval over them; 0 where the wholes are.
func ratio(scale float64, parts, wholes []float64, seed uint64, over string) (float64, Interval) {
	of := func(times []int) float64 {
		part, whole := 0.0, 0.0
		for i, n := range times {
			part += float64(float64(n) * parts[i])
			whole += float64(float64(n) * wholes[i])
		}
		if whole == 0 {
			return 0
		}
		return scale * part / whole
	}
	return of(slices.Repeat([]int{1}, len(parts))), bootstrap(len(parts), seed, over, of)
}

// average is scale times the mean of values, a cluster each, with its interval.
func average(scale float64, values []float64, seed uint64, over string) (float64, Interval) {
	return ratio(scale, values, slices.Repeat([]float64{1}, len(values)), seed, over)
}

// quantile interpolates between the values beside position q·(n−1). They ascend.
func quantile(ascending []float64, q float64) float64 {
	at := q * float64(len(ascending)-1)
	low := int(at)
	if low+1 >= len(ascending) {
		return ascending[len(ascending)-1]
	}
	share := at - float64(low)
	return ascending[low] + float64(share*(ascending[low+1]-ascending[low]))
}

// wilson is Wilson's score interval of a share of n trials.
func wilson(right, n int) Interval {
	const z = 1.959963984540054 // the normal quantile of 0.975
	p, m := float64(right)/float64(n), float64(n)
	middle := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return Interval{max(0, middle-half), min(1, middle+half), confidence, "Wilson"}
}
