package spec

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// A Matrix is a row-major matrix: element (r, c) is Data[r*Cols+c], and
// len(Data) == Rows*Cols. The zero value is the empty matrix. A (heads, dim)
// tensor is a Matrix, and so is a (…, dim) tensor, with its leading axes folded
// into Rows.
type Matrix struct {
	Rows, Cols int
	Data       []float32
}

// Row returns row r; it shares m's memory.
func (m Matrix) Row(r int) []float32 { return m.Data[r*m.Cols : (r+1)*m.Cols : (r+1)*m.Cols] }

// Resize makes m a rows × cols matrix, reusing its memory where that is large
// enough. The elements are unspecified afterwards.
func (m *Matrix) Resize(rows, cols int) {
	m.Rows, m.Cols = rows, cols
	m.Data = Resize(m.Data, rows*cols)
}

// IsNone reports whether an optional matrix is not given: it is the zero value.
func IsNone(m Matrix) bool { return m.Rows == 0 && m.Cols == 0 && len(m.Data) == 0 }

// Heads is a (heads, tokens, dim) tensor with one stride between heads: element
// (h, t, i) is Data[h*Stride + t*Dim + i]. Stride ≥ Tokens*Dim, so that a cache
// with room for more tokens can be handed out without copying. Elements between
// Tokens*Dim and Stride belong to nobody. The zero value is the empty tensor.
type Heads struct {
	Heads, Tokens, Dim int
	Stride             int
	Data               []float32
}

// Head returns head h as a tokens × dim matrix; it shares x's memory.
func (x Heads) Head(h int) Matrix {
	lo, n := h*x.Stride, x.Tokens*x.Dim
	return Matrix{Rows: x.Tokens, Cols: x.Dim, Data: x.Data[lo : lo+n : lo+n]}
}

// Resize makes x a dense (heads, tokens, dim) tensor, reusing its memory where
// that is large enough. The elements are unspecified afterwards.
func (x *Heads) Resize(heads, tokens, dim int) {
	x.Heads, x.Tokens, x.Dim, x.Stride = heads, tokens, dim, tokens*dim
	x.Data = Resize(x.Data, heads*tokens*dim)
}

// A Tensor is a row-major tensor of any number of axes: len(Data) is the product of
// Shape, which is 1 where there are no axes. The zero value is therefore no tensor.
type Tensor struct {
	Shape []int
	Data  []float32
}

// Indices are a few indices into something. On the wire they are a list of whole
// numbers, no tensor.
type Indices []int

// Resize returns a slice of length n, s itself where its capacity is large
// enough. The elements are unspecified.
func Resize[T any](s []T, n int) []T {
	return slices.Grow(s[:0], n)[:n]
}

// Volume returns the product of the dimensions and whether they have one that
// fits an int: no dimension is negative, and the product, in whatever order, does
// not overflow.
func Volume(dims ...int) (int, bool) {
	product, fits := uint64(1), true
	for _, d := range dims {
		if d < 0 {
			return 0, false
		}
		hi, lo := bits.Mul64(product, uint64(d))
		fits = d == 0 || (fits && hi == 0 && lo <= math.MaxInt)
		product = lo
	}
	if !fits {
		return 0, false
	}
	return int(product), true
}

// CheckMatrix rejects an argument whose fields do not describe a rows × cols
// matrix. A negative rows or cols accepts any size of that axis.
func CheckMatrix(module, name string, m Matrix, rows, cols int) error {
	n, ok := Volume(m.Rows, m.Cols)
	if !ok || n != len(m.Data) {
		return Reject(Invalid, module, name, "a matrix whose data has rows·cols elements",
			fmt.Sprintf("%d × %d with %d elements", m.Rows, m.Cols, len(m.Data)))
	}
	if (rows >= 0 && m.Rows != rows) || (cols >= 0 && m.Cols != cols) {
		return Reject(Invalid, module, name, "shape ("+axis(rows)+", "+axis(cols)+")",
			fmt.Sprintf("(%d, %d)", m.Rows, m.Cols))
	}
	return nil
}

// CheckHeads rejects an argument whose fields do not describe a (heads, tokens,
// dim) tensor. A negative tokens accepts any number of them.
func CheckHeads(module, name string, x Heads, heads, tokens, dim int) error {
	n, fits := Volume(x.Tokens, x.Dim)
	span, ok := Volume(max(x.Heads-1, 0), x.Stride)
	need := 0
	if ok && fits && x.Heads > 0 {
		if need = span + n; need < 0 {
			ok = false
		}
	}
	if !fits || !ok || x.Heads < 0 || x.Stride < n || len(x.Data) < need {
		return Reject(Invalid, module, name, "a tensor with stride ≥ tokens·dim whose data reaches its last head",
			fmt.Sprintf("(%d, %d, %d), stride %d, %d elements", x.Heads, x.Tokens, x.Dim, x.Stride, len(x.Data)))
	}
	if x.Heads != heads || (tokens >= 0 && x.Tokens != tokens) || x.Dim != dim {
		return Reject(Invalid, module, name, "shape ("+axis(heads)+", "+axis(tokens)+", "+axis(dim)+")",
			fmt.Sprintf("(%d, %d, %d)", x.Heads, x.Tokens, x.Dim))
	}
	return nil
}

// CheckTensor rejects an argument whose fields do not describe a tensor.
func CheckTensor(module, name string, x Tensor) error {
	if n, ok := Volume(x.Shape...); !ok || n != len(x.Data) {
		return Reject(Invalid, module, name, "a tensor with as many elements as its shape says",
			fmt.Sprintf("shape %v with %d elements", x.Shape, len(x.Data)))
	}
	return nil
}

// CheckFinite rejects an argument with a NaN or an infinity in it.
func CheckFinite(module, name string, values []float32) error {
	for i, v := range values {
		// The exponent is all ones for NaN and ±Inf only.
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return Reject(Invalid, module, fmt.Sprintf("%s[%d]", name, i), "a finite number", v)
		}
	}
	return nil
}

// checkFiniteHeads rejects a tensor with a NaN or an infinity in a token. Names
// are put together for an error only.
func checkFiniteHeads(module, name string, x Heads) error {
	for h := range x.Heads {
		if data := x.Head(h).Data; CheckFinite(module, name, data) != nil {
			return CheckFinite(module, fmt.Sprintf("%s[%d]", name, h), data)
		}
	}
	return nil
}

func axis(n int) string {
	if n < 0 {
		return "any"
	}
	return fmt.Sprint(n)
}
