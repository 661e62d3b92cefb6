package kern

import (
	"math"
	"testing"
)

// limits are bits of magnitudes, at the edges and between.
var limits = []uint32{0, 1, 0x3f000000, 0x3f800000, 0x40000000, 0x7f7fffff, 0x7f800000, signless}

func TestBracket(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		draw := m.oneOf(ordinary, anything, few)
		x, dst, want := floats(m, n, draw), take[float32](m, n+Slack), make([]float32, n)
		low := limits[m.r.IntN(len(limits))]
		high := max(low, limits[m.r.IntN(len(limits))])
		below, within, largest := Bracket(dst, x, low, high)
		var wantBelow, wantWithin int
		var wantLargest uint32
		for _, v := range x {
			bits := math.Float32bits(v) & signless
			wantLargest = max(wantLargest, bits)
			if bits < low {
				wantBelow++
			} else if bits <= high {
				want[wantWithin] = math.Float32frombits(bits)
				wantWithin++
			}
		}
		if below != wantBelow || within != wantWithin || largest != wantLargest {
			t.Errorf("%x…%x: %d below, %d within, largest %x, want %d, %d, %x", low, high, below, within, largest, wantBelow, wantWithin, wantLargest)
			return
		}
		sameBits(t, "dst", dst[:within], want[:within])
		copy(dst, x)
		Bracket(dst, dst[:n], low, high)
		sameBits(t, "in place", dst[:within], want[:within])
		if got := CountBelow(x, low); got != wantBelow {
			t.Errorf("%d below %x, want %d", got, low, wantBelow)
		}
	})
}

func TestAbove(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		draw := m.oneOf(ordinary, anything, few)
		x, dst, want := floats(m, n, draw), take[float32](m, n), make([]float32, n)
		limit := limits[m.r.IntN(len(limits))]
		for i, v := range x {
			if math.Float32bits(v)&signless > limit {
				want[i] = v
			}
		}
		Above(dst, x, limit)
		sameBits(t, "dst", dst, want)
		Above(x, x, limit)
		sameBits(t, "in place", x, want)
	})
}
