package llama

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

// A Matrix is a weight matrix (out, in), or a vector as one row. Its elements stay
// as they were stored, F32, F16 or BF16, and a row is widened when it is used: a
// model takes as much memory as its file, and a row is used by many tokens.
type Matrix struct {
	Rows, Cols int
	dtype      wire.DType
	full       []float32 // of F32
	half       []uint16  // of F16 and BF16
}

// NewMatrix returns a matrix of float32 that shares its memory with m.
func NewMatrix(m spec.Matrix) (Matrix, error) {
	if err := spec.CheckMatrix("llama", "matrix", m, -1, -1); err != nil {
		return Matrix{}, err
	}
	return Matrix{Rows: m.Rows, Cols: m.Cols, dtype: wire.F32, full: m.Data}, spec.CheckFinite("llama", "matrix", m.Data)
}

// Float32 returns the elements as float32. They are read only: those of an F32
// matrix are its own.
func (m *Matrix) Float32() spec.Matrix {
	if m.dtype == wire.F32 {
		return spec.Matrix{Rows: m.Rows, Cols: m.Cols, Data: m.full}
	}
	wide := spec.Matrix{Rows: m.Rows, Cols: m.Cols, Data: make([]float32, len(m.half))}
	for r := range m.Rows {
		row(m, r, wide.Row(r))
	}
	return wide
}

// row returns row r. It is in the buffer, of Cols elements, unless the elements
// are stored as they are wanted.
func row[F Float](m *Matrix, r int, buffer []F) []F {
	lo, hi := r*m.Cols, (r+1)*m.Cols
	switch m.dtype {
	case wire.F16:
		for i, h := range m.half[lo:hi] {
			buffer[i] = F(fromF16(h))
		}
	case wire.BF16:
		for i, h := range m.half[lo:hi] {
			buffer[i] = F(fromBF16(h))
		}
	default:
		if same, ok := any(m.full).([]F); ok {
			return same[lo:hi:hi]
		}
		for i, v := range m.full[lo:hi] {
			buffer[i] = F(v)
		}
	}
	return buffer
}

func fromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func fromF16(h uint16) float32 {
	sign, exponent, fraction := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // subnormal: steps of 2⁻²⁴
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// chunk is how many bytes of a file are read at once.
const chunk = 1 << 16

// readMatrix reads rows·cols elements. The caller has made sure that the file has
// them: what is allocated is no more than what is there. An element that is not
// finite is refused.
func readMatrix(r io.ReaderAt, offset int64, dtype wire.DType, rows, cols int) (Matrix, error) {
	m := Matrix{Rows: rows, Cols: cols, dtype: dtype}
	n := rows * cols
	switch dtype {
	case wire.F32:
		m.full = make([]float32, n)
	case wire.F16, wire.BF16:
		m.half = make([]uint16, n)
	default:
		return Matrix{}, fmt.Errorf("dtype: want F32, F16 or BF16, got %s", dtype)
	}
	size := dtype.Size()
	buffer := make([]byte, min(chunk, n*size))
	for done := 0; done < n; {
		part := buffer[:min(len(buffer), (n-done)*size)]
		if got, err := r.ReadAt(part, offset+int64(done*size)); got < len(part) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return Matrix{}, fmt.Errorf("read %d of %d bytes: %w", done*size+got, n*size, err)
		}
		for ; len(part) > 0; part = part[size:] {
			finite := false
			switch dtype {
			case wire.F32:
				bits := binary.LittleEndian.Uint32(part)
				m.full[done] = math.Float32frombits(bits)
				finite = bits&0x7f800000 != 0x7f800000
			case wire.BF16:
				m.half[done] = binary.LittleEndian.Uint16(part)
				finite = m.half[done]&0x7f80 != 0x7f80
			case wire.F16:
				m.half[done] = binary.LittleEndian.Uint16(part)
				finite = m.half[done]&0x7c00 != 0x7c00
			}
			if !finite {
				return Matrix{}, fmt.Errorf("element %d: want a finite number, got NaN or an infinity", done)
			}
			done++
		}
	}
	return m, nil
}
