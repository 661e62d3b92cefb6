package training

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// A tensor is where a parameter stands in the vector of all of them.
type tensor struct {
	at         int
	rows, cols int // one row: a norm
}

func (t tensor) size() int { return t.rows * t.cols }

func of[T any](t tensor, parameters []T) []T { return parameters[t.at:][:t.size()] }

// A layout places the parameters of a model one behind the other.
type layout struct {
	tensors []tensor // in order
	size    int
}

func (l *layout) next(rows, cols int) tensor {
	t := tensor{l.size, rows, cols}
	l.tensors, l.size = append(l.tensors, t), l.size+t.size()
	return t
}

// A start draws the parameters that a training begins from.
type start struct {
	parameters []float32
	random     *rand.Rand
}

func (l *layout) begin(seed uint64) start {
	return start{make([]float32, l.size), rand.New(rand.NewPCG(seed, 0x77656967687473))}
}

func (s start) draw(t tensor, deviation float64) {
	for i := range of(t, s.parameters) {
		of(t, s.parameters)[i] = float32(deviation * s.random.NormFloat64())
	}
}

// keeping draws matrices that keep the size of what they are given.
func (s start) keeping(tensors ...tensor) {
	for _, t := range tensors {
		s.draw(t, 1/math.Sqrt(float64(t.cols)))
	}
}

// joining draws matrices whose results are added to a residual stream of some layers:
// the more there are, the smaller.
func (s start) joining(layers int, tensors ...tensor) {
	for _, t := range tensors {
		s.draw(t, 1/math.Sqrt(float64(2*layers))*(1/math.Sqrt(float64(t.cols))))
	}
}

func (s start) ones(tensors ...tensor) {
	for _, t := range tensors {
		for i := range of(t, s.parameters) {
			of(t, s.parameters)[i] = 1
		}
	}
}

func bytesOf(values []float32) []byte {
	out := make([]byte, 0, 4*len(values))
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func float32sOf(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}
