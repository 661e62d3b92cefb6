package fast

import (
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestBinaryAttnAllocatesNothingInTheSteadyState(t *testing.T) {
	a, err := NewBinaryAttn(spec.BinaryAttnConfig{NHeads: 2, HeadDim: 70, SoftmaxScale: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	var q, k, v, out, back spec.Heads
	for i, x := range []*spec.Heads{&q, &k, &v} {
		x.Resize(2, 3+i%2, 70)
		for j := range x.Data {
			x.Data[j] = float32(j%5 - 2)
		}
	}
	v.Resize(2, k.Tokens, 70)
	packer := a.(spec.BinaryAttnPacked)
	var packedQ, packedK []uint8
	if n := testing.AllocsPerRun(20, func() {
		for _, err := range [...]error{
			a.Forward(&out, q, k, v),
			packer.Pack(&packedQ, q),
			packer.Pack(&packedK, k),
			packer.ForwardPacked(&out, packedQ, packedK, v),
			packer.Unpack(&back, packedK),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}
