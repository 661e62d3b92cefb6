package kern

import "math"

// A Grid is the numbers scale·(code − zero) with an integer code in [Lowest, Highest],
// one scale and one zero for each of a number of rows. Kernels that go by rows have
// slices of as many elements as there are rows, a multiple of 8: who has fewer fills
// up. They compute in float64.
type Grid struct {
	Scales, Zeros   []float64
	Lowest, Highest float64
}

// Round rounds the weight of one input in every row. It has moved, for the errors of
// the inputs before it, by inverse·sum. Written are the code, the value that it stands
// for, rounded to float32, and taken, the weight as it was given less the value; to
// losses is added the square of root·(weight as it has moved − value). All forms agree
// but for the rounding of the products that are added to losses.
func (g *Grid) Round(taken, losses []float64, values, codes, weights []float32, sums []float64, inverse, root float64) {
	n := len(weights)
	taken, losses, values, codes, sums = taken[:n], losses[:n], values[:n], codes[:n], sums[:n]
	scales, zeros := g.Scales[:n], g.Zeros[:n]
	kernel := gridRoundAVX512
	switch {
	case n == 0:
		return
	case useAVX512:
	case useAVX2:
		kernel = gridRoundAVX2
	default:
		g.roundGo(taken, losses, values, codes, weights, sums, inverse, root)
		return
	}
	kernel(&taken[0], &losses[0], &values[0], &codes[0], &weights[0], &sums[0], &scales[0], &zeros[0], g.Lowest, g.Highest, inverse, root, n)
}

func (g *Grid) roundGo(taken, losses []float64, values, codes, weights []float32, sums []float64, inverse, root float64) {
	for r, w := range weights {
		moved := float64(sums[r] * inverse)
		code := math.RoundToEven((float64(w)+moved)/g.Scales[r]) + g.Zeros[r]
		code = max(g.Lowest, min(code, g.Highest))
		codes[r] = float32(code)
		values[r] = float32(g.Scales[r] * (code - g.Zeros[r]))
		taken[r] = float64(w) - float64(values[r])
		e := (taken[r] + moved) * root
		losses[r] += float64(e * e)
	}
}

// GridRange widens [least, most] of every row to its weight of one input as it has
// moved, and writes to taken what it has moved by, negative: a weight that stays where
// it has moved to leaves the inputs behind it where they are.
func GridRange(least, most, taken []float64, weights []float32, sums []float64, inverse float64) {
	n := len(weights)
	least, most, taken, sums = least[:n], most[:n], taken[:n], sums[:n]
	kernel := gridRangeAVX512
	switch {
	case n == 0:
		return
	case useAVX512:
	case useAVX2:
		kernel = gridRangeAVX2
	default:
		for r, w := range weights {
			moved := float64(sums[r] * inverse)
			v := float64(w) + moved
			taken[r] = 0 - moved
			least[r], most[r] = min(least[r], v), max(most[r], v)
		}
		return
	}
	kernel(&least[0], &most[0], &taken[0], &weights[0], &sums[0], inverse, n)
}

// Amplitude returns the largest |weight − taken|·gain of all rows.
func Amplitude(weights []float32, taken, gains []float64) float64 {
	n := len(weights)
	taken, gains = taken[:n], gains[:n]
	switch {
	case n == 0:
	case useAVX512:
		return amplitudeAVX512(&weights[0], &taken[0], &gains[0], n)
	case useAVX2:
		return amplitudeAVX2(&weights[0], &taken[0], &gains[0], n)
	}
	peak := 0.0
	for r, w := range weights {
		peak = max(peak, math.Abs(float64(w)-taken[r])*gains[r])
	}
	return peak
}

// AmplitudeRound rounds weight − taken in every row to the nearest multiple of scale/gain,
// of at most highest of them, and adds to taken share times what that leaves. It
// returns the Amplitude of the next weights. inverses are those of gains. Forms agree but
// for the rounding of the product with share.
func AmplitudeRound(values []float32, taken []float64, weights, next []float32, gains, inverses, shares []float64, scale, highest float64) float64 {
	n := len(weights)
	values, taken, next, gains, inverses, shares = values[:n], taken[:n], next[:n], gains[:n], inverses[:n], shares[:n]
	kernel := amplitudeRoundAVX512
	switch {
	case n == 0:
		return 0
	case useAVX512:
	case useAVX2:
		kernel = amplitudeRoundAVX2
	default:
		peak := 0.0
		for r, weight := range weights {
			w := float64(weight) - taken[r]
			code := max(-highest, min(math.RoundToEven(w*gains[r]*(1/scale)), highest))
			rounded := float64(code*scale) * inverses[r]
			values[r] = float32(rounded)
			taken[r] += (w - rounded) * shares[r]
			peak = max(peak, math.Abs(float64(next[r])-taken[r])*gains[r])
		}
		return peak
	}
	return kernel(&values[0], &taken[0], &weights[0], &next[0], &gains[0], &inverses[0], &shares[0], scale, 1/scale, highest, n)
}
