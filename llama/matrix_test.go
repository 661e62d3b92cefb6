package llama

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/squishspec/squishspec/spec/wire"
)

// TestEveryHalfIsItsValue reads all 65,536 patterns of both formats and compares
// with the value that sign, exponent and fraction define.
func TestEveryHalfIsItsValue(t *testing.T) {
	for _, f := range []struct {
		dtype          wire.DType
		fraction, bias int
	}{{wire.F16, 10, 15}, {wire.BF16, 7, 127}} {
		top := 1<<(15-f.fraction) - 1
		for bits := range 1 << 16 {
			data := binary.LittleEndian.AppendUint16(nil, uint16(bits))
			exponent, fraction := bits>>f.fraction&top, float64(bits&(1<<f.fraction-1))
			m, err := readMatrix(bytes.NewReader(data), 0, f.dtype, 1, 1)
			if exponent == top {
				if err == nil {
					t.Errorf("%s %#04x: not finite, accepted", f.dtype, bits)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			value := math.Ldexp(fraction, max(exponent, 1)-f.bias-f.fraction)
			if exponent > 0 {
				value += math.Ldexp(1, exponent-f.bias)
			}
			if bits>>15 == 1 {
				value = -value
			}
			if got := m.Float32().Data[0]; got != float32(value) {
				t.Errorf("%s %#04x: got %v, want %v", f.dtype, bits, got, value)
			}
		}
	}
}

// TestALongMatrixIsReadChunkByChunk crosses the boundary of what is read at once.
func TestALongMatrixIsReadChunkByChunk(t *testing.T) {
	const rows, cols = 3, chunk/4 + 5
	var data []byte
	for i := range rows * cols {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i)))
	}
	m, err := readMatrix(bytes.NewReader(append([]byte("behind"), data...)), 6, wire.F32, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range m.Float32().Data {
		if v != float32(i) {
			t.Fatalf("element %d is %v", i, v)
		}
	}
}
