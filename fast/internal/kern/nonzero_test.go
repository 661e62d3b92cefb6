package kern

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

func TestCompressNonZero(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		draw := m.oneOf(few, anything, ordinary)
		x, values, columns := floats(m, n, draw), take[float32](m, n+Slack), take[byte](m, 2*(n+Slack))
		count, largest := CompressNonZero(values, columns, x)
		var want []float32
		var places []int
		var wantLargest uint32
		for i, v := range x {
			wantLargest = max(wantLargest, math.Float32bits(v)&signless)
			if v != 0 {
				want, places = append(want, v), append(places, i)
			}
		}
		if count != len(want) || largest != wantLargest {
			t.Errorf("%d numbers, largest %x, want %d, %x", count, largest, len(want), wantLargest)
			return
		}
		sameBits(t, "values", values[:count], want)
		for i, p := range places {
			if got := binary.LittleEndian.Uint16(columns[2*i:]); int(got) != p {
				t.Errorf("column %d is %d, want %d", i, got, p)
				break
			}
		}
	})
}

func TestBits(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		n -= n % 8
		draw := m.oneOf(few, anything, ordinary)
		x, values, bits := floats(m, n, draw), take[float32](m, n+Slack), take[byte](m, n/8)
		count, largest := CompressBits(values, bits, x)
		want, wantDense, wantBits := make([]float32, 0, n), make([]float32, n), make([]byte, n/8)
		wantLargest := uint32(0)
		for i, v := range x {
			wantLargest = max(wantLargest, math.Float32bits(v)&signless)
			if v != 0 {
				want, wantDense[i] = append(want, v), v
				wantBits[i/8] |= 1 << (i % 8)
			}
		}
		if count != len(want) || largest != wantLargest || !bytes.Equal(bits, wantBits) {
			t.Errorf("%d numbers, largest %x, bits %x, want %d, %x, %x", count, largest, bits, len(want), wantLargest, wantBits)
			return
		}
		sameBits(t, "values", values[:count], want)
		exact, dense := take[float32](m, count+Slack), take[float32](m, n)
		copy(exact, values)
		if got := ExpandBits(dense, exact, bits); got != count {
			t.Errorf("%d values, want %d", got, count)
		}
		sameBits(t, "dense", dense, wantDense)
	})
}
