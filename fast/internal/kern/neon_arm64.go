//go:build !purego

package kern

// dotNEON writes 16 sums, number i of which is that of x[k]·y[k] for k mod 16 = i.
// n is a multiple of 16. The assembler has no vector addition: the caller adds.
//
//go:noescape
func dotNEON(sums *[16]float32, x, y *float32, n int)
