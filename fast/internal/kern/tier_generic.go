//go:build (!amd64 && !arm64) || purego

package kern

const useAVX512, useAVX2, useNEON = false, false, false

func vectorTiers() []Tier { return nil }

func use(Tier) {}
