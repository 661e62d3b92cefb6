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
