package attn

// WeightedSum writes Σ weights[j]·(row j of values) to out, for weights that are at
// hand. They sum to 1, so that no partial sum is larger than the values.
func WeightedSum(out, weights, values []float32) {
	clear(out)
	addWeighted(out, weights, values)
}
