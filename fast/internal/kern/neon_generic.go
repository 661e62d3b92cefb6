//go:build !arm64 || purego

package kern

func dotNEON(*[16]float32, *float32, *float32, int) { panic("kern: no NEON in this build") }
