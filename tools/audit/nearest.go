package audit

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// nearest is round-to-nearest, what every method is compared with: each group of a
// row has a float16 scale, max|w| over the largest code, and codes are w/scale
// rounded half to even. With ternary codes five are packed to a byte.
type nearest struct {
	bits  int // 2 to 8; ternaryBits for −1, 0 and 1 at 1.6 bits
	group int // neighbours in a row, the last group may be shorter; 0 is the row
}

// ternaryBits stands for 1.6 bits.
const ternaryBits = 1

func (n nearest) String() string {
	bits, group := fmt.Sprintf("%d-bit", n.bits), "row"
	if n.bits == ternaryBits {
		bits = "ternary"
	}
	if n.group > 0 {
		group = fmt.Sprintf("group-%d", n.group)
	}
	return fmt.Sprintf("round-to-nearest/%s-%s", bits, group)
}

// largest is the largest code.
func (n nearest) largest() int {
	if n.bits == ternaryBits {
		return 1
	}
	return 1<<(n.bits-1) - 1
}

func (n nearest) groups(cols int) int {
	if n.group == 0 {
		return 1
	}
	return (cols + n.group - 1) / n.group
}

func (n nearest) bytes(rows, cols int) int {
	codes := packedBytes(rows*cols, n.bits)
	if n.bits == ternaryBits {
		codes = (rows*cols + 4) / 5
	}
	return codes + 2*rows*n.groups(cols)
}

// eachGroup calls do for every group: a slice of a row, and the group's number.
func (n nearest) eachGroup(w spec.Matrix, do func(group []float32, number int)) {
	number := 0
	for r := range w.Rows {
		row := w.Row(r)
		for len(row) > 0 {
			size := len(row)
			if n.group > 0 {
				size = min(n.group, size)
			}
			do(row[:size], number)
			row = row[size:]
			number++
		}
	}
}

// codec returns the format. Codes are stored with the largest one added.
func (n nearest) codec() codec {
	top := float64(n.largest())
	return codec{
		bytes: n.bytes,
		compress: func(m matrix) (*Record, error) {
			scales := make([]float32, m.Rows*n.groups(m.Cols))
			n.eachGroup(m.weights, func(group []float32, number int) {
				largest := 0.0
				for _, v := range group {
					largest = max(largest, math.Abs(float64(v)))
				}
				scales[number] = float32(largest / top)
			})
			r := &Record{}
			r.addHalf("scales", scales)
			scales = r.half("scales") // codes are of the scales as they are stored
			var codes []uint8
			n.eachGroup(m.weights, func(group []float32, number int) {
				scale := float64(scales[number])
				for _, v := range group {
					code := 0.0
					if scale > 0 {
						code = min(max(math.RoundToEven(float64(v)/scale), -top), top)
					}
					codes = append(codes, uint8(code+top))
				}
			})
			if n.bits == ternaryBits {
				r.addBytes("codes", packTernary(codes))
			} else {
				r.addCodes("codes", codes, n.bits)
			}
			return r, nil
		},
		expand: func(r *Record, p llama.Place) (spec.Matrix, error) {
			out := spec.Matrix{Rows: p.Rows, Cols: p.Cols, Data: make([]float32, p.Rows*p.Cols)}
			var codes []uint8
			if n.bits == ternaryBits {
				codes = unpackTernary(r.data("codes"), len(out.Data))
			} else {
				codes = r.codes("codes", len(out.Data), n.bits)
			}
			scales, i := r.half("scales"), 0
			n.eachGroup(out, func(group []float32, number int) {
				for k := range group {
					group[k] = float32((float64(codes[i]) - top) * float64(scales[number]))
					i++
				}
			})
			return out, nil
		},
	}
}

func (n nearest) method() Method {
	return Method{ID: n.String(), apply: each(func(*job) (codec, error) { return n.codec(), nil })}
}

// on rounds some matrices of a model, all where there are none.
func (n nearest) on(m *llama.Model, some []llama.Place) (*Variation, error) {
	if some == nil {
		some = m.Places()
	}
	wanted := map[string]bool{}
	for _, p := range some {
		wanted[p.Name] = true
	}
	v, c, i, places := &Variation{}, n.codec(), 0, m.Places()
	var err error
	v.Model, err = m.Map(func(name string, w spec.Matrix) (spec.Matrix, error) {
		p := places[i]
		i++
		if !wanted[name] {
			return w, nil
		}
		return v.through(c, matrix{Place: p, weights: w})
	})
	return v, err
}

// packTernary packs five codes 0, 1, 2 to a byte, base 3, the first lowest. The last
// byte is filled up with 0.
func packTernary(codes []uint8) []byte {
	data := make([]byte, (len(codes)+4)/5)
	for i := len(codes) - 1; i >= 0; i-- {
		data[i/5] = 3*data[i/5] + codes[i]
	}
	return data
}

func unpackTernary(data []byte, n int) []uint8 {
	codes := make([]uint8, n)
	for i := range codes {
		codes[i] = data[i/5] % 3
		data[i/5] /= 3
	}
	return codes
}

// nearestGrid are the formats that a method may be compared with.
func nearestGrid() (grid []nearest) {
	for bits := ternaryBits; bits <= 8; bits++ {
		for _, group := range []int{0, 128, 64, 32, 16, 8} {
			grid = append(grid, nearest{bits, group})
		}
	}
	return grid
}

// sameBytes returns the format whose bytes on these matrices are nearest to a
// method's, in ratio; of equals the one with the larger groups.
func sameBytes(places []llama.Place, bytes int) nearest {
	var best nearest
	least := math.Inf(1)
	for _, n := range nearestGrid() {
		size := 0
		for _, p := range places {
			size += n.bytes(p.Rows, p.Cols)
		}
		if d := math.Abs(math.Log(float64(size) / float64(bytes))); d < least {
			best, least = n, d
		}
	}
	return best
}
