//go:build !arm64 || purego

package kern

func dotNEON(*[16]float32, *float32, *float32, int) { panic("kern: no NEON in this build") }

func gemmTileNEON(c *float32, ldc int, a *float32, rs, cs int, b *float32, ldb, k int) {
	panic("kern: no NEON in this build")
}

func gemmRowNEON(c, a *float32, cs int, b *float32, ldb, n, k int) {
	panic("kern: no NEON in this build")
}
