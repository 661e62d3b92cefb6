package attn

// group is the number of keys that share each load of a query's element, or load
// and store of an output's, and whose sums are independent, so that additions
// overlap. Dot products take a third of the time of one key at a time, weighted
// sums two thirds. With eight the compiler spills, and most of that is lost.
const group = 4

// dots writes the dot product of query with each key, one key after another in
// keys.
func dots(out, query, keys []float32) {
	dim := len(query)
	for ; len(out) >= group; out, keys = out[group:], keys[group*dim:] {
		k0, k1, k2, k3 := keys[:dim], keys[dim:][:dim], keys[2*dim:][:dim], keys[3*dim:][:dim]
		var s0, s1, s2, s3 float32
		for i, q := range query {
			s0 += q * k0[i]
			s1 += q * k1[i]
			s2 += q * k2[i]
			s3 += q * k3[i]
		}
		out[0], out[1], out[2], out[3] = s0, s1, s2, s3
	}
	for ; len(out) > 0; out, keys = out[1:], keys[dim:] {
		var s float32
		for i, k := range keys[:dim] {
			s += query[i] * k
		}
		out[0] = s
	}
}

// addWeighted adds weights[j]·(row j of values) to sums.
func addWeighted(sums, weights, values []float32) {
	dim := len(sums)
	for ; len(weights) >= group; weights, values = weights[group:], values[group*dim:] {
		w0, w1, w2, w3 := weights[0], weights[1], weights[2], weights[3]
		v0, v1, v2, v3 := values[:dim], values[dim:][:dim], values[2*dim:][:dim], values[3*dim:][:dim]
		for i := range sums {
			sums[i] += (w0*v0[i] + w1*v1[i]) + (w2*v2[i] + w3*v3[i])
		}
	}
	for ; len(weights) > 0; weights, values = weights[1:], values[dim:] {
		w := weights[0]
		for i, v := range values[:dim] {
			sums[i] += w * v
		}
	}
}

// multiply multiplies x by c.
func multiply(x []float32, c float32) {
	for i := range x {
		x[i] *= c
	}
}

// largest returns the greatest of x and least. NaNs do not count.
func largest(least float32, x []float32) float32 {
	for _, v := range x {
		if v > least {
			least = v
		}
	}
	return least
}

// weigh turns dot products into weights 2^((dot − largest)·scale), and returns
// their sum.
func weigh(dots []float32, largest float32, scale float64) (sum float64) {
	for j, dot := range dots {
		w := float32(exp2((float64(dot) - float64(largest)) * scale))
		dots[j] = w
		sum += float64(w)
	}
	return sum
}
