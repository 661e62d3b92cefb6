//go:build !purego

package kern

const useAVX512, useAVX2 = false, false

var useNEON bool

func vectorTiers() []Tier { return []Tier{NEON} }

func use(t Tier) { useNEON = t == NEON }
