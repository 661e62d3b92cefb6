package spec

// Limits are what one core of a machine can do at most, measured: operations and
// bytes a nanosecond. A rate of 0 is not known, and what it would price is taken to
// cost nothing.
type Limits struct {
	// Tier is the instruction set that they were measured with: "avx512", "avx2", "go".
	Tier string `json:"tier"`
	// MulAdds are multiply-adds of float32, two flops each, Exps exponentials of
	// float32, Logic operations on integers of 32 bits, and HashBlocks blocks of 64
	// bytes through SHA-256.
	MulAdds    float64 `json:"mul_adds"`
	Exps       float64 `json:"exps"`
	Logic      float64 `json:"logic"`
	HashBlocks float64 `json:"hash_blocks"`
	// Memory are the levels of memory, the fastest first. The last has no size.
	Memory []Bandwidth `json:"memory"`
}

// A Bandwidth is that of a level of memory: what is read from, and written to, a
// buffer that fits there and in no level above.
type Bandwidth struct {
	Level string `json:"level"`
	// Size is the number of bytes that fit, 0 where that is no bound.
	Size  int64   `json:"size,omitempty"`
	Read  float64 `json:"read"`
	Write float64 `json:"write"`
}

// Time returns the least time in nanoseconds that work takes: the roofline. Its
// operations take their number over their rates, one kind after the other. Its bytes
// all lie in the first level of memory that holds them together, since a row's calls
// come one after the other on the same data, and take their number over the rate of
// reading there; or of writing where that is faster. The longer of the two is the
// limit. Operations of several kinds can overlap, but are not counted on to; nor is
// that some of the bytes may lie nearer.
func (l *Limits) Time(c Cost) float64 {
	operations := over(c.MulAdds, l.MulAdds) + over(c.Exps, l.Exps) + over(c.Logic, l.Logic) + over(c.HashBlocks, l.HashBlocks)
	for _, level := range l.Memory {
		if level.Size == 0 || c.Bytes <= level.Size {
			return max(operations, over(c.Bytes+c.Reread, max(level.Read, level.Write)))
		}
	}
	return operations
}

func over(n int64, rate float64) float64 {
	if rate <= 0 {
		return 0
	}
	return float64(n) / rate
}
