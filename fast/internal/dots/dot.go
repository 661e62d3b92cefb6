package dots

import "github.com/squishspec/squishspec/fast/internal/kern"

// Dot returns x·w, of slices of one length, in float32 where that is as good.
func Dot(x, w []float32) float64 {
	if dot := kern.Dot(x, w); onlyRounded(dot) {
		return float64(dot)
	}
	return Exact(x, w)
}

// Exact returns x·w in float64, of slices of one length. Four sums keep four chains
// of additions going.
func Exact(x, w []float32) float64 {
	w = w[:len(x)]
	var s0, s1, s2, s3 float64
	for ; len(x) >= 4 && len(w) >= 4; x, w = x[4:], w[4:] {
		s0 += float64(x[0]) * float64(w[0])
		s1 += float64(x[1]) * float64(w[1])
		s2 += float64(x[2]) * float64(w[2])
		s3 += float64(x[3]) * float64(w[3])
	}
	for i, v := range x {
		s0 += float64(v) * float64(w[i])
	}
	return (s0 + s1) + (s2 + s3)
}
