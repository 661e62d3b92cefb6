package kern

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// CompressNonZero writes the numbers that are not 0, one behind the other, and the
// places in x that they come from, 2 bytes each, the lower one first; −0 is 0. x has
// at most 1<<16 numbers, and there is room for Slack more than those, in both. It
// returns how many were written, and the bits of the greatest magnitude: above those
// of +Inf where there is a NaN.
func CompressNonZero(values []float32, columns []byte, x []float32) (count int, largest uint32) {
	values, columns = values[:len(x)+Slack], columns[:2*(len(x)+Slack)]
	switch {
	case useAVX512:
		return compressNonZeroAVX512(unsafe.SliceData(values), unsafe.SliceData(columns), unsafe.SliceData(x), len(x))
	case useAVX2:
		return compressNonZeroAVX2(unsafe.SliceData(values), unsafe.SliceData(columns), unsafe.SliceData(x), len(x))
	}
	return compressNonZeroGo(values, columns, x)
}

// compressNonZeroGo writes every number, and moves on where it is not 0: nothing
// branches.
func compressNonZeroGo(values []float32, columns []byte, x []float32) (count int, largest uint32) {
	for i, v := range x {
		magnitude := math.Float32bits(v) & signless
		largest = max(largest, magnitude)
		values[count] = v
		binary.LittleEndian.PutUint16(columns[2*count:], uint16(i))
		count += int(-magnitude >> 31)
	}
	return count, largest
}
