package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Two channels of seven samples in 4 bits, codes −7…7. The first fits them exactly.
// The second has an outlier: the percentile cuts it, the mean squared error gives up
// a little of it for the sake of the others.
func ExampleNewQuantCalib() {
	activations := spec.Matrix{Rows: 7, Cols: 2, Data: []float32{
		0.7, 0.1,
		-0.3, -0.2,
		0.1, 0.3,
		-0.5, -0.4,
		0.2, 0.5,
		0, -0.6,
		-0.6, 1.4,
	}}
	for _, method := range []spec.CalibrationMethod{spec.CalibrateMinMax, spec.CalibratePercentile, spec.CalibrateMSE} {
		config := spec.DefaultQuantCalibConfig()
		config.Method, config.Percentile, config.NBits = method, 90, 4
		calib, err := ref.NewQuantCalib(config)
		if err != nil {
			fmt.Println(err)
			return
		}
		var out spec.QuantCalibration
		if err := calib.Calibrate(&out, activations); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%-10s %.4f\n", out.Method, out.Scales)
	}
	// Output:
	// minmax     [0.1000 0.2000]
	// percentile [0.0914 0.1314]
	// mse        [0.1000 0.1927]
}
