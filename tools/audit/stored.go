package audit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"

	"github.com/squishspec/squishspec/spec/wire"
)

// A Record is a matrix, or whatever a method puts in the place of some, as the
// tensors that it is stored as. It is written and read as a frame.
type Record struct{ frame wire.Frame }

// Bytes returns the size of the tensors. The frame's header, names and shapes, is
// not of a format that packs thousands of matrices: it is left out.
func (r *Record) Bytes() int {
	sum := 0
	for _, t := range r.frame.Tensors {
		sum += len(t.Data)
	}
	return sum
}

// reread returns the record as it is read from its bytes.
func (r *Record) reread() (*Record, error) {
	data, err := r.frame.Bytes()
	if err != nil {
		return nil, err
	}
	frame, err := wire.Read(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return &Record{*frame}, nil
}

func (r *Record) add(name string, dtype wire.DType, elements int, data []byte) {
	r.frame.Tensors = append(r.frame.Tensors, wire.Tensor{Name: name, DType: dtype, Shape: []int{elements}, Data: data})
}

func (r *Record) data(name string) []byte {
	for _, t := range r.frame.Tensors {
		if t.Name == name {
			return t.Data
		}
	}
	panic(fmt.Sprintf("audit: a record has no tensor %q", name)) // who reads it has written it
}

// addFull adds float32s.
func (r *Record) addFull(name string, values []float32) {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	r.add(name, wire.F32, len(values), data)
}

func (r *Record) full(name string) []float32 {
	data := r.data(name)
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values
}

// addHalf adds float16s: rounded half to even, and clamped to the finite ones.
func (r *Record) addHalf(name string, values []float32) {
	data := make([]byte, 0, 2*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint16(data, float16.Fromfloat32(min(max(v, -65504), 65504)).Bits())
	}
	r.add(name, wire.F16, len(values), data)
}

func (r *Record) half(name string) []float32 {
	data := r.data(name)
	values := make([]float32, len(data)/2)
	for i := range values {
		values[i] = float16.Frombits(binary.LittleEndian.Uint16(data[2*i:])).Float32()
	}
	return values
}

// addBytes adds bytes as they are.
func (r *Record) addBytes(name string, data []byte) { r.add(name, wire.U8, len(data), data) }

// addCodes adds unsigned codes of some bits each, packed without a gap, lowest bits
// first. The last byte is filled up with 0.
func (r *Record) addCodes(name string, codes []uint8, bits int) {
	data := make([]byte, packedBytes(len(codes), bits))
	for i, c := range codes {
		at := i * bits
		word := uint16(c) << (at % 8)
		data[at/8] |= uint8(word)
		if high := uint8(word >> 8); high != 0 {
			data[at/8+1] |= high
		}
	}
	r.addBytes(name, data)
}

func (r *Record) codes(name string, n, bits int) []uint8 {
	data, codes := r.data(name), make([]uint8, n)
	for i := range codes {
		at := i * bits
		word := uint16(data[at/8])
		if at/8+1 < len(data) {
			word |= uint16(data[at/8+1]) << 8
		}
		codes[i] = uint8(word>>(at%8)) & (1<<bits - 1)
	}
	return codes
}

// packedBytes is how many bytes n codes of so many bits take.
func packedBytes(n, bits int) int { return (n*bits + 7) / 8 }
