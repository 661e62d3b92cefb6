package ternary

// Dequantize writes code·scale, +0 for code 0, and returns the index of the first
// illegal code, −1 if there is none. dst is as long as codes.
//
// The three products are looked up: that is shorter than multiplying, and gives +0
// for a negative scale too.
func Dequantize(dst []float32, codes []int8, scale float32) int {
	products := [4]float32{-scale, 0, scale}
	dst = dst[:len(codes)]
	for i, c := range codes {
		if !legal(c) {
			return i
		}
		dst[i] = products[(c+1)&3]
	}
	return -1
}
