package kern

import (
	"fmt"
	"os"
	"slices"
)

// A Tier is a set of vector instructions that kernels are written for.
type Tier string

const (
	// AVX512 is AVX-512 with F, BW, DQ, VL, VBMI, VBMI2 and VPOPCNTDQ: Ice Lake,
	// Zen 4 and later.
	AVX512 Tier = "avx512"
	// AVX2 is AVX2 with FMA, BMI2 and F16C: Haswell, Zen and later.
	AVX2 Tier = "avx2"
	// NEON is what every arm64 processor has.
	NEON Tier = "neon"
	// Go is no vector instructions at all.
	Go Tier = "go"
)

// Variable is the environment variable that names a tier to use instead of the
// best one, read once when the program starts. A name that is no tier of this
// machine's has no effect: [CheckVariable] tells.
const Variable = "SQUISHSPEC_SIMD"

var active = choose(os.Getenv(Variable))

// Active returns the tier in force.
func Active() Tier { return active }

// Tiers returns this machine's tiers, best first. Go is always among them.
func Tiers() []Tier { return append(vectorTiers(), Go) }

// CheckVariable returns an error if the environment names a tier that is not in
// force.
func CheckVariable() error {
	if want := os.Getenv(Variable); want != "" && want != string(active) {
		return fmt.Errorf("%s: want one of %q, got %q", Variable, Tiers(), want)
	}
	return nil
}

func choose(name string) Tier {
	tiers := Tiers()
	if t := Tier(name); slices.Contains(tiers, t) {
		use(t)
		return t
	}
	use(tiers[0])
	return tiers[0]
}

// Force puts a tier of this machine's in force and returns a function that puts
// back the one before. It is for tests, and for measuring: nothing may compute
// meanwhile.
func Force(t Tier) (restore func()) {
	before := active
	active = choose(string(t))
	return func() { active = choose(string(before)) }
}

// Lanes is how many float32s a vector of the tier in force has.
func Lanes() int {
	switch active {
	case AVX512:
		return 16
	case AVX2:
		return 8
	case NEON:
		return 4
	}
	return 1
}
