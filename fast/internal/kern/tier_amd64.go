//go:build !purego

package kern

import "github.com/klauspost/cpuid/v2"

// At most one is true.
var useAVX512, useAVX2 bool

const useNEON = false

func vectorTiers() (tiers []Tier) {
	has512 := cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL,
		cpuid.AVX512VBMI, cpuid.AVX512VBMI2, cpuid.AVX512VPOPCNTDQ)
	has2 := cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.BMI2, cpuid.F16C)
	if has512 && has2 {
		tiers = append(tiers, AVX512)
	}
	if has2 {
		tiers = append(tiers, AVX2)
	}
	return tiers
}

func use(t Tier) { useAVX512, useAVX2 = t == AVX512, t == AVX2 }
