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

// CompressBits writes the numbers that are not 0, one behind the other, and a bit for
// every number, 1 where it is not 0, the first in the lowest bit of the first byte. x
// is whole eights; values have room for Slack numbers more than x. It returns what
// CompressNonZero does.
func CompressBits(values []float32, bits []byte, x []float32) (count int, largest uint32) {
	values, bits = values[:len(x)+Slack], bits[:len(x)/8]
	switch {
	case useAVX512:
		return compressBitsAVX512(unsafe.SliceData(values), unsafe.SliceData(bits), unsafe.SliceData(x), len(x))
	case useAVX2:
		return compressBitsAVX2(unsafe.SliceData(values), unsafe.SliceData(bits), unsafe.SliceData(x), len(x))
	}
	return compressBitsGo(values, bits, x)
}

func compressBitsGo(values []float32, bits []byte, x []float32) (count int, largest uint32) {
	for i := range bits {
		eight := uint32(0)
		for k, v := range x[8*i:][:8] {
			magnitude := math.Float32bits(v) & signless
			largest = max(largest, magnitude)
			values[count] = v
			count += int(-magnitude >> 31)
			eight |= -magnitude >> 31 << k
		}
		bits[i] = byte(eight)
	}
	return count, largest
}

// ExpandBits is the way back: dst is whole eights, the next value where a bit is 1 and
// else +0. It returns how many values it took. Slack numbers behind them may be read.
func ExpandBits(dst, values []float32, bits []byte) (count int) {
	bits = bits[:len(dst)/8]
	switch {
	case useAVX512:
		return expandBitsAVX512(unsafe.SliceData(dst), unsafe.SliceData(values), unsafe.SliceData(bits), len(dst))
	case useAVX2:
		return expandBitsAVX2(unsafe.SliceData(dst), unsafe.SliceData(values), unsafe.SliceData(bits), len(dst))
	}
	return expandBitsGo(dst, values, bits)
}

func expandBitsGo(dst, values []float32, bits []byte) (count int) {
	for i, b := range bits {
		for k := range 8 {
			one := uint32(b) >> k & 1
			dst[8*i+k] = math.Float32frombits(math.Float32bits(values[count]) & -one)
			count += int(one)
		}
	}
	return count
}
