package kern

import (
	"math"
	"math/bits"
)

// SignWords is the number of words that dim signs take.
func SignWords(dim int) int { return (dim-1)/32 + 1 }

// Signs writes the signs of rows of dim ≥ 1 numbers, each in words of its own: bit 1
// for x ≥ 0, −0 among them, the first element lowest, and 0 in bits beyond dim. It
// reports whether none is NaN.
func Signs(words []uint32, x []float32, dim int) bool {
	rows := len(x) / dim
	words, x = words[:rows*SignWords(dim)], x[:rows*dim]
	for len(x) > 0 {
		part := min(max(1<<18/dim, 1), len(x)/dim) // some 50 µs a call
		nans := uint32(0)
		switch {
		case useAVX512:
			nans = signsAVX512(&words[0], &x[0], part, dim)
		case useAVX2:
			nans = signsAVX2(&words[0], &x[0], part, dim)
		default:
			nans = signsGo(words, x[:part*dim], dim)
		}
		if nans > 0 {
			return false
		}
		words, x = words[part*SignWords(dim):], x[part*dim:]
	}
	return true
}

func signsGo(words []uint32, x []float32, dim int) (nans uint32) {
	const minusZero, infinity = 1 << 31, 0x7f800000
	largest := uint32(0) // without its sign; NaNs are above infinity
	for len(x) > 0 {
		row := x[:dim]
		x = x[dim:]
		for ; len(row) > 0; words = words[1:] {
			part := row[:min(32, len(row))]
			row = row[len(part):]
			word := uint64(0)
			for i, v := range part {
				b := math.Float32bits(v)
				largest = max(largest, b&^minusZero)
				// The difference is negative, its bit 63 set, below −0.
				word |= (^(minusZero - uint64(b)) >> 63) << i
			}
			words[0] = uint32(word)
		}
	}
	if largest > infinity {
		return 1
	}
	return 0
}

// SignDots writes the dot products of vectors of ±1, of which words have the signs: dim
// less twice the number of signs that differ, which is exact. s has a row a key and a
// column a query. A key's words follow each other; of the queries, the first words
// of all do, and then the second, and so on.
func SignDots(s View, queries, keys []uint32, dim int) {
	m, n, words := s.Rows, s.Cols, SignWords(dim)
	if m == 0 || n == 0 {
		return
	}
	s.Data, queries, keys = s.Data[:s.span()], queries[:n*words], keys[:m*words]
	switch {
	case useAVX512:
		signDotsAVX512(&s.Data[0], s.Down, &queries[0], &keys[0], m, n, words, float32(dim))
	case useAVX2:
		signDotsAVX2(&s.Data[0], s.Down, &queries[0], &keys[0], m, n, words, float32(dim))
	default:
		signDotsGo(s, queries, keys, dim)
	}
}

func signDotsGo(s View, queries, keys []uint32, dim int) {
	words := SignWords(dim)
	for i := range s.Rows {
		key := keys[i*words:][:words]
		for j := range s.Cols {
			differ := 0
			for w, k := range key {
				differ += bits.OnesCount32(k ^ queries[w*s.Cols+j])
			}
			s.Data[i*s.Down+j] = float32(dim - 2*differ)
		}
	}
}
