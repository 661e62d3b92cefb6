package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// One group of eight weights: 10 is kept aside, and 7 is the largest of the rest,
// so that a step is 1. Stored, that is 4 bytes of codes, a scale of 4, and 6 for
// the outlier, where float32 takes 32.
func ExampleNewZeroQuantV2() {
	q, err := ref.NewZeroQuantV2(spec.ZeroQuantV2Config{NBits: 4, GroupSize: 8, OutlierThreshold: 0.95})
	if err != nil {
		fmt.Println(err)
		return
	}
	weights := spec.Matrix{Rows: 1, Cols: 8, Data: []float32{10, 7, -3.2, 0.5, 1.5, -6.9, 0, 2.4}}
	var w spec.ZeroQuantWeights
	err = q.Quantize(&w, weights)
	fmt.Println(w.Codes, w.Scales.Data, w.Residual.Data, err)

	var back spec.Matrix
	err = q.Dequantize(&back, w.Codes, w.Scales, w.Residual, w.LorcU, w.LorcV)
	fmt.Println(back.Data, err)

	storage := q.(spec.ZeroQuantStorage)
	var stored spec.ZeroQuantStored
	var size int
	err = storage.Store(&stored, w.Codes, w.Residual)
	fmt.Printf("%#x at %v: %#x %v\n", stored.Codes, stored.Indices, stored.Values, err)
	err = storage.StoredBytes(&size, 1, 8, len(stored.Indices))
	fmt.Println(size, "bytes", err)
	// Output:
	// [0 7 -3 0 2 -7 0 2] [1] [10 0 0 0 0 0 0 0] <nil>
	// [10 7 -3 0 2 -7 0 2] <nil>
	// 0x700d9220 at [0]: [0x4900] <nil>
	// 14 bytes <nil>
}

// A compensation of rank 1 takes up the error of weights that differ by a factor
// from row to row.
func ExampleNewZeroQuantV2_lorc() {
	weights := spec.Matrix{Rows: 2, Cols: 8, Data: []float32{
		8, 7, 0.25, 0.25, 0, 0, 0, 0,
		16, 14, 0.5, 0.5, 0, 0, 0, 0,
	}}
	for rank := range 2 {
		q, err := ref.NewZeroQuantV2(spec.ZeroQuantV2Config{NBits: 4, GroupSize: 8, OutlierThreshold: 0.95, LorcRank: rank})
		if err != nil {
			fmt.Println(err)
			return
		}
		var w spec.ZeroQuantWeights
		var back spec.Matrix
		if err := q.Quantize(&w, weights); err != nil {
			fmt.Println(err)
			return
		}
		err = q.Dequantize(&back, w.Codes, w.Scales, w.Residual, w.LorcU, w.LorcV)
		fmt.Printf("rank %d: %.3f %v\n", rank, back.Row(1)[:4], err)
	}
	// Output:
	// rank 0: [16.000 14.000 0.000 0.000] <nil>
	// rank 1: [16.000 14.000 0.500 0.500] <nil>
}
