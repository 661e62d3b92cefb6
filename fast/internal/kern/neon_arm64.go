//go:build !purego

package kern

// dotNEON writes 16 sums, number i of which is that of x[k]·y[k] for k mod 16 = i.
// n is a multiple of 16. The assembler has no vector addition: the caller adds.
//
//go:noescape
func dotNEON(sums *[16]float32, x, y *float32, n int)

// gemmTileNEON adds a·b, a of 4 × k and b of k × 16, to c.
//
//go:noescape
func gemmTileNEON(c *float32, ldc int, a *float32, rs int, cs int, b *float32, ldb int, k int)

// gemmRowNEON adds a·b, a of 1 × k and b of k × n, to c.
//
//go:noescape
func gemmRowNEON(c *float32, a *float32, cs int, b *float32, ldb int, n int, k int)
