// Package sparse has the indexes of sparse matrices: the bytes that say in which
// columns of each row values stand.
//
// The idea: an index is held in its stored form, so that its size is what it claims,
// and is written and read a row at a time, as a short list of columns that stays in
// the cache, the same for every format; nothing branches on a weight. What whole rows
// are coded by most, a Coder does without the list.
package sparse

import "math"

// An Index writes and reads the stored form of one format.
type Index interface {
	// Begin returns the index of a rows × cols matrix without columns, in b's memory.
	Begin(b []uint8, rows, cols int) []uint8
	// Append adds the ascending columns of row r to an index with all rows before.
	Append(b []uint8, rows, cols, r int, columns []uint32) []uint8
	// Row appends the columns of row r to dst.
	Row(dst []uint32, b []uint8, rows, cols, r int) []uint32
	// Split returns how many bytes of stored are index and how many values should
	// follow; ok is false where there are not that many bytes of index.
	Split(stored []uint8, rows, cols int) (index, values int, ok bool)
	// Check returns an error for an index that Begin and Append do not write. It is as
	// long as Split says.
	Check(b []uint8, rows, cols int) error
}

// NonZeros appends the places of the weights that are not zero to dst.
func NonZeros(dst []uint32, weights []float32) []uint32 {
	n, columns := len(dst), room(dst, len(weights))
	for c, w := range weights {
		columns[n] = uint32(c)
		if math.Float32bits(w)<<1 != 0 {
			n++
		}
	}
	return columns[:n]
}

// Marked appends the places of the marks to dst.
func Marked(dst []uint32, marks []bool) []uint32 {
	n, columns := len(dst), room(dst, len(marks))
	for c, marked := range marks {
		columns[n] = uint32(c)
		if marked {
			n++
		}
	}
	return columns[:n]
}

// room returns dst with that many elements more.
func room(dst []uint32, more int) []uint32 {
	n := len(dst) + more
	if cap(dst) < n {
		dst = append(dst, make([]uint32, more)...)
	}
	return dst[:n]
}
