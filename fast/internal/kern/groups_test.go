package kern

import (
	"math"
	"slices"
	"testing"
)

func TestGroupsPrune(t *testing.T) {
	var groups [LongestGroup + 1]*Groups
	for m := 2; m <= LongestGroup; m++ {
		groups[m] = NewGroups(m)
	}
	eachLength(t, func(t *testing.T, n int, mem *memory) {
		g := groups[2+mem.r.IntN(LongestGroup-1)]
		n -= n % g.m
		draw := mem.oneOf(ordinary, anything, few)
		count := 1 + mem.r.IntN(g.m-1)
		x, dst, keep := floats(mem, n, draw), take[float32](mem, n), take[bool](mem, n)
		want, wantKeep, wantLargest := make([]float32, n), make([]bool, n), uint32(0)
		for i, v := range x {
			magnitude := math.Float32bits(v) & signless
			wantLargest = max(wantLargest, magnitude)
			beaten := 0
			for j, w := range x[i/g.m*g.m:][:g.m] {
				if other := math.Float32bits(w) & signless; other > magnitude || other == magnitude && j < i%g.m {
					beaten++
				}
			}
			if beaten < count {
				want[i], wantKeep[i] = v, true
			}
		}
		if largest := g.Prune(dst, keep, x, count); largest != wantLargest {
			t.Errorf("%d of %d: largest %x, want %x", count, g.m, largest, wantLargest)
		}
		if !slices.Equal(keep, wantKeep) {
			t.Errorf("%d of %d of %v: kept %v, want %v", count, g.m, x, keep, wantKeep)
		}
		sameBits(t, "dst", dst, want)
	})
}
