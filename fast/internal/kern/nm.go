package kern

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Slack is how many elements a kernel that compresses may write, and one that
// expands may read, behind the last one that counts: whole vectors are stored
// where only some lanes are wanted.
const Slack = 16

// Prune4 keeps count of every 4 numbers, 1 ≤ count ≤ 3, those of greatest
// magnitude and of equal ones the first: dst has them bit for bit and +0 for the
// others, and keep says which. x is whole fours. It returns the bits of the
// greatest magnitude: above those of +Inf where there is a NaN.
func Prune4(dst []float32, keep []bool, x []float32, count int) (largest uint32) {
	dst, keep = dst[:len(x)], keep[:len(x)]
	switch {
	case useAVX512:
		return prune4AVX512(unsafe.SliceData(dst), unsafe.SliceData(keep), unsafe.SliceData(x), count, len(x))
	case useAVX2:
		return prune4AVX2(unsafe.SliceData(dst), unsafe.SliceData(keep), unsafe.SliceData(x), count, len(x))
	}
	return prune4Go(dst, keep, x, count)
}

func prune4Go(dst []float32, keep []bool, x []float32, count int) (largest uint32) {
	for ; len(x) >= 4; x, dst, keep = x[4:], dst[4:], keep[4:] {
		w, d, k := (*[4]float32)(x), (*[4]float32)(dst), (*[4]bool)(keep)
		k0, k1, k2, k3, top := ofFourGo(w, count)
		largest = max(largest, top)
		d[0], k[0] = math.Float32frombits(math.Float32bits(w[0])&-k0), k0 != 0
		d[1], k[1] = math.Float32frombits(math.Float32bits(w[1])&-k1), k1 != 0
		d[2], k[2] = math.Float32frombits(math.Float32bits(w[2])&-k2), k2 != 0
		d[3], k[3] = math.Float32frombits(math.Float32bits(w[3])&-k3), k3 != 0
	}
	return largest
}

// ofFourGo returns 1 for a number that is kept, 0 for another, and the greatest
// magnitude. Nothing branches: magnitudes are ordered as their bits are, and the
// sign of a difference is a comparison.
func ofFourGo(x *[4]float32, count int) (k0, k1, k2, k3, largest uint32) {
	const signless = math.MaxInt32
	a, b := math.Float32bits(x[0])&signless, math.Float32bits(x[1])&signless
	c, d := math.Float32bits(x[2])&signless, math.Float32bits(x[3])&signless
	ab, ac, ad := (a-b)>>31, (a-c)>>31, (a-d)>>31
	bc, bd, cd := (b-c)>>31, (b-d)>>31, (c-d)>>31
	// A number is beaten by the greater ones behind it, and by those before it that
	// are not less.
	n := uint32(count)
	k0 = (ab + ac + ad - n) >> 31
	k1 = (1 - ab + bc + bd - n) >> 31
	k2 = (2 - ac - bc + cd - n) >> 31
	k3 = (3 - ad - bd - cd - n) >> 31
	return k0, k1, k2, k3, max(a, b, c, d)
}

// Compress4 writes the numbers that Prune4 keeps, one behind the other, and the
// places in x that they come from, 2 bytes each, the lower one first. x is whole
// fours, at most 1<<16 numbers; there is room for Slack numbers more than are
// kept, in both. It returns the bits of the greatest magnitude.
func Compress4(values []float32, columns []byte, x []float32, count int) (largest uint32) {
	kept := len(x) / 4 * count
	values, columns = values[:kept+Slack], columns[:2*(kept+Slack)]
	switch {
	case useAVX512:
		return compress4AVX512(unsafe.SliceData(values), unsafe.SliceData(columns), unsafe.SliceData(x), count, len(x))
	case useAVX2:
		return compress4AVX2(unsafe.SliceData(values), unsafe.SliceData(columns), unsafe.SliceData(x), count, len(x))
	}
	return compress4Go(values, columns, x, count)
}

func compress4Go(values []float32, columns []byte, x []float32, count int) (largest uint32) {
	n := 0
	for i := 0; i < len(x); i += 4 {
		four := (*[4]float32)(x[i:])
		k0, k1, k2, k3, top := ofFourGo(four, count)
		largest = max(largest, top)
		// What is written at n stays only if n moves on.
		for k, kept := range [4]uint32{k0, k1, k2, k3} {
			values[n] = four[k]
			binary.LittleEndian.PutUint16(columns[2*n:], uint16(i+k))
			n += int(kept)
		}
	}
	return largest
}

// Expand4 is the way back: dst is whole fours, +0 where columns name no place. Each
// four has count places of its own. values and columns are as Compress4 has them,
// and Slack numbers behind them may be read.
func Expand4(dst, values []float32, columns []byte, count int) {
	kept := len(dst) / 4 * count
	values, columns = values[:kept+Slack], columns[:2*(kept+Slack)]
	switch {
	case useAVX512:
		expand4AVX512(unsafe.SliceData(dst), unsafe.SliceData(values), unsafe.SliceData(columns), count, len(dst))
	case useAVX2:
		expand4AVX2(unsafe.SliceData(dst), unsafe.SliceData(values), unsafe.SliceData(columns), count, len(dst))
	default:
		expand4Go(dst, values, columns, count)
	}
}

func expand4Go(dst, values []float32, columns []byte, count int) {
	clear(dst)
	for i, v := range values[:len(dst)/4*count] {
		dst[binary.LittleEndian.Uint16(columns[2*i:])] = v
	}
}
