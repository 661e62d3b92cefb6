package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// The first input sees activations a hundred times larger than the others, so that
// rounding its weight costs most. Scaled up by √100/√10 it takes finer steps: 0.45
// comes back as 0.44 rather than 0.40.
func ExampleNewAWQv2() {
	q, err := ref.NewAWQv2(spec.AWQv2Config{NBits: 4, GroupSize: 8, NSearchSteps: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	weights := spec.Matrix{Rows: 1, Cols: 4, Data: []float32{0.45, -1, 0.7, 1}}
	activations := spec.Matrix{Rows: 2, Cols: 4, Data: []float32{
		100, 1, 1, 1,
		-100, 1, -1, 1,
	}}
	var s spec.AWQScales
	var w spec.AWQWeights
	var plain, back spec.Matrix
	ones := []float32{1, 1, 1, 1}
	for _, err := range []error{
		q.Calibrate(&s, weights, activations),
		q.Quantize(&w, weights, ones, nil),
		q.Dequantize(&plain, w.Codes, ones, nil, w.GroupScales, w.ZeroPoints),
		q.Quantize(&w, weights, s.Scales, nil),
		q.Dequantize(&back, w.Codes, s.Scales, nil, w.GroupScales, w.ZeroPoints),
	} {
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Printf("scales %.2f\n", s.Scales)
	fmt.Printf("round to nearest %.2f\n", plain.Data)
	fmt.Printf("codes %v, step %.3f, zero point %v: %.2f\n", w.Codes, w.GroupScales.Data, w.ZeroPoints, back.Data)

	var packed []uint8
	err = q.(spec.AWQInt4).PackInt4(&packed, w.Codes)
	fmt.Printf("%#x %v\n", packed, err)
	// Output:
	// scales [3.16 0.32 0.32 0.32]
	// round to nearest [0.40 -1.07 0.67 0.93]
	// codes [15 0 5 6], step [0.116], zero point [3]: [0.44 -1.10 0.73 1.10]
	// 0x0f65 <nil>
}
