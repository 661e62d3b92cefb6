package fast

import "github.com/squishspec/squishspec/fast/internal/kern"

// SIMDVariable is the environment variable that names the vector instructions to
// use instead of the machine's best, read once when the program starts: avx512,
// avx2, neon, or go for none.
const SIMDVariable = kern.Variable

// SIMD returns the vector instructions in use.
func SIMD() string { return string(kern.Active()) }

// SIMDs returns the names that SIMDVariable may have on this machine, best first.
func SIMDs() []string {
	var names []string
	for _, t := range kern.Tiers() {
		names = append(names, string(t))
	}
	return names
}

// CheckSIMD returns an error if the environment names vector instructions that
// this machine does not have, or that do not exist. They are then not in use.
func CheckSIMD() error { return kern.CheckVariable() }
