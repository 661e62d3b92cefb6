package kern

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

func TestPrune4(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		n -= n % 4
		draw := m.oneOf(ordinary, anything, few)
		count := 1 + m.r.IntN(3)
		x, dst, keep := floats(m, n, draw), take[float32](m, n), take[bool](m, n)
		want, wantKeep := make([]float32, n), make([]bool, n)
		wantLargest := prune4Go(want, wantKeep, x, count)
		if largest := Prune4(dst, keep, x, count); largest != wantLargest {
			t.Errorf("%d of 4: largest %x, want %x", count, largest, wantLargest)
		}
		if !slices.Equal(keep, wantKeep) {
			t.Errorf("%d of %v: kept %v, want %v", count, x, keep, wantKeep)
		}
		sameBits(t, "dst", dst, want)
	})
}

// The plain body against the definition: every order and every tie.
func TestPrune4Go(t *testing.T) {
	for code := range 4 * 4 * 4 * 4 {
		x := []float32{float32(code & 3), -float32(code >> 2 & 3), float32(code >> 4 & 3), -float32(code >> 6)}
		for count := 1; count < 4; count++ {
			dst, keep := make([]float32, 4), make([]bool, 4)
			prune4Go(dst, keep, x, count)
			for i, v := range x {
				beaten := 0
				for j, w := range x {
					if a, b := math.Abs(float64(w)), math.Abs(float64(v)); a > b || a == b && j < i {
						beaten++
					}
				}
				want := float32(0)
				if beaten < count {
					want = v
				}
				if keep[i] != (beaten < count) || math.Float32bits(dst[i]) != math.Float32bits(want) {
					t.Fatalf("%d of %v: %v, kept %v", count, x, dst, keep)
				}
			}
		}
	}
}

func TestCompress4(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		n -= n % 4
		draw := m.oneOf(ordinary, anything, few)
		count := 1 + m.r.IntN(3)
		kept := n / 4 * count
		x := floats(m, n, draw)
		values, columns := take[float32](m, kept+Slack), take[byte](m, 2*(kept+Slack))
		want, wantColumns := make([]float32, kept+Slack), make([]byte, 2*(kept+Slack))
		wantLargest := compress4Go(want, wantColumns, x, count)
		if largest := Compress4(values, columns, x, count); largest != wantLargest {
			t.Errorf("%d of 4: largest %x, want %x", count, largest, wantLargest)
		}
		sameBits(t, "values", values[:kept], want[:kept])
		if !bytes.Equal(columns[:2*kept], wantColumns[:2*kept]) {
			t.Errorf("%d of %v: columns %v, want %v", count, x, columns[:2*kept], wantColumns[:2*kept])
		}

		dense, wantDense := take[float32](m, n), make([]float32, n)
		Expand4(dense, values, columns, count)
		prune4Go(wantDense, make([]bool, n), x, count)
		sameBits(t, "dense", dense, wantDense)
		expand4Go(dense, values, columns, count)
		sameBits(t, "dense in Go", dense, wantDense)
	})
}
