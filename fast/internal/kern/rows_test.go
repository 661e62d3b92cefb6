package kern

import (
	"math"
	"testing"
)

func TestCopyRows(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		rows := 1 + m.r.IntN(5)
		if n == 3 {
			rows = rowsAtOnce + m.r.IntN(3) // more than one call
		}
		dstStride, srcStride := n+m.r.IntN(3), n+m.r.IntN(3)
		dst, src := floats(m, (rows-1)*dstStride+n, anything), floats(m, (rows-1)*srcStride+n, anything)
		want := append([]float32(nil), dst...)
		copyRowsGo(want, dstStride, src, srcStride, rows, n)
		CopyRows(dst, dstStride, src, srcStride, rows, n)
		for i, w := range want {
			if math.Float32bits(dst[i]) != math.Float32bits(w) {
				t.Fatalf("%d rows of %d, %d and %d apart: element %d is %x, want %x", rows, n, dstStride, srcStride, i, math.Float32bits(dst[i]), math.Float32bits(w))
			}
		}
	})
}

func TestCopyRowsOfNone(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		CopyRows(nil, 4, nil, 4, 0, 4)
		CopyRows(nil, 4, nil, 4, 3, 0)
	})
}
