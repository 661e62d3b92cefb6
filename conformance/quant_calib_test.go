package conformance

import (
	"math"
	"reflect"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var quantCalibMutants = []mutant{
	{"quant-calib/minmax", "takes the largest value for the largest magnitude", before("calibrate", func(c *proxy.Call) {
		x := c.Args[0].(spec.Matrix)
		for i, v := range x.Data {
			x.Data[i] = max(v, 0)
		}
	}), ""},
	{"quant-calib/minmax", "takes one scale for that of the first channel", onCalibrated(func(c spec.QuantCalibConfig, x spec.Matrix, out *spec.QuantCalibration) {
		if !c.PerChannel {
			out.Scales[0] = calibScaleOf(c, x, 0)
		}
	}), ""},
	{"quant-calib/percentile", "answers 1 where the percentile is 0", onCalibrated(func(c spec.QuantCalibConfig, x spec.Matrix, out *spec.QuantCalibration) {
		for channel := range out.Scales {
			zeros := 0
			for r := range x.Rows {
				if x.Row(r)[channel] == 0 {
					zeros++
				}
			}
			if float64(zeros) > c.Percentile/100*float64(x.Rows-1)+1 {
				out.Scales[channel] = 1
			}
		}
	}), ""},
	{"quant-calib/percentile", "takes the maximum", calibratedAs(func(c *spec.QuantCalibConfig) {
		if c.Method == spec.CalibratePercentile {
			c.Method = spec.CalibrateMinMax
		}
	}), ""},
	{"quant-calib/mse", "is Squish 6.0.0: its codes are not clipped", calibratedAs(calibAsSquish6), ""},
	{"quant-calib/mse", "takes the maximum", calibratedAs(func(c *spec.QuantCalibConfig) { c.Method = spec.CalibrateMinMax }), ""},
	{"quant-calib/mse-no-worse", "halves the bound", onCalibrated(func(c spec.QuantCalibConfig, _ spec.Matrix, out *spec.QuantCalibration) {
		if c.Method == spec.CalibrateMSE {
			for i := range out.Scales {
				out.Scales[i] /= 2
			}
		}
	}), ""},
	{"quant-calib/codes-in-range", "is Squish 6.0.0: ±max falls on ±127.5", calibratedAs(calibAsSquish6), ""},
	{"quant-calib/codes-in-range", "takes one scale for the mean of all", calibratedAs(func(c *spec.QuantCalibConfig) {
		if !c.PerChannel {
			c.Variant = spec.Squish6
		}
	}), ""},
	{"quant-calib/half-step", "clips a tenth", calibratedAs(func(c *spec.QuantCalibConfig) {
		c.Method, c.Percentile = spec.CalibratePercentile, 90
	}), ""},
	{"quant-calib/power-of-two", "has a floor of 1e-5 under the scale", onCalibrated(func(_ spec.QuantCalibConfig, _ spec.Matrix, out *spec.QuantCalibration) {
		for i := range out.Scales {
			out.Scales[i] = max(out.Scales[i], 1e-5)
		}
	}), ""},
	{"quant-calib/signs-and-order", "leaves out the first sample", before("calibrate", func(c *proxy.Call) {
		x := c.Args[0].(spec.Matrix)
		if spec.CheckMatrix("", "", x, -1, -1) == nil && x.Rows > 0 {
			clear(x.Row(0))
		}
	}), ""},
	{"quant-calib/signs-and-order", "counts negative samples for 0", before("calibrate", func(c *proxy.Call) {
		x := c.Args[0].(spec.Matrix)
		for i, v := range x.Data {
			x.Data[i] = max(v, 0)
		}
	}), ""},
	{"quant-calib/channels", "takes the first channel's scale for all", onCalibrated(func(_ spec.QuantCalibConfig, _ spec.Matrix, out *spec.QuantCalibration) {
		for i := range out.Scales {
			out.Scales[i] = out.Scales[0]
		}
	}), ""},
	{"quant-calib/one-scale", "takes the mean", calibratedAs(calibAsSquish6), ""},
	{"quant-calib/one-scale", "lets the 1 of a channel of zeros have its say", onCalibrated(func(c spec.QuantCalibConfig, x spec.Matrix, out *spec.QuantCalibration) {
		for channel := range x.Cols {
			if !c.PerChannel && calibScaleOf(c, x, channel) == 1 {
				out.Scales[0] = max(out.Scales[0], 1)
			}
		}
	}), ""},
	{"quant-calib/percentile-rises", "counts percentiles from above", calibratedAs(func(c *spec.QuantCalibConfig) { c.Percentile = 150 - c.Percentile }), ""},
	{"quant-calib/union", "takes the mean magnitude", onCalibrated(func(_ spec.QuantCalibConfig, x spec.Matrix, out *spec.QuantCalibration) {
		for channel := range out.Scales {
			sum := 0.0
			for r := range x.Rows {
				sum += math.Abs(float64(x.Row(r)[channel]))
			}
			out.Scales[channel] = float32(sum / float64(x.Rows))
		}
	}), ""},
	{"quant-calib/zero-channels", "gives zeros the scale 0", onCalibrated(func(_ spec.QuantCalibConfig, x spec.Matrix, out *spec.QuantCalibration) {
		if !hasNonZero(x.Data) {
			clear(out.Scales)
		}
	}), ""},
	{"quant-calib/stats", "counts scales for channels", func(next proxy.Handler) proxy.Handler {
		scales := 0
		return after("calibrate", func(c *proxy.Call) { scales += len(c.Dst.(*spec.QuantCalibration).Scales) })(
			after("stats", func(c *proxy.Call) { c.Dst.(*spec.QuantCalibStats).Channels = scales })(next))
	}, ""},
	{"quant-calib/half-codes-squish6", "puts the bound on a code", calibratedAs(calibAsDocumented), ""},
	{"quant-calib/mse-squish6", "clips its codes", calibratedAs(calibAsDocumented), ""},
	{"quant-calib/mean-squish6", "takes the maximum", calibratedAs(func(c *spec.QuantCalibConfig) {
		if !c.PerChannel {
			c.Variant = spec.Documented
		}
	}), ""},
}

func calibAsSquish6(c *spec.QuantCalibConfig) { c.Variant = spec.Squish6 }

func calibAsDocumented(c *spec.QuantCalibConfig) { c.Variant = spec.Documented }

// calibratedAs calibrates by another config, and says that it is the one asked for.
func calibratedAs(change func(*spec.QuantCalibConfig)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		restored := onCalibrated(func(c spec.QuantCalibConfig, _ spec.Matrix, out *spec.QuantCalibration) {
			out.Method, out.NBits = c.Method, c.NBits
		})
		return restored(before("new", func(c *proxy.Call) {
			config := c.Args[0].(spec.QuantCalibConfig)
			if config.Validate() == nil {
				change(&config)
			}
			c.Args[0] = config
		})(next))
	}
}

// onCalibrated spoils what activations were calibrated to.
func onCalibrated(spoil func(c spec.QuantCalibConfig, x spec.Matrix, out *spec.QuantCalibration)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.QuantCalibConfig
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case c.Op == proxy.New:
				config = c.Args[0].(spec.QuantCalibConfig)
			case err == nil && c.Op.Name == "calibrate":
				spoil(config, c.Args[0].(spec.Matrix), c.Dst.(*spec.QuantCalibration))
			}
			return err
		}
	}
}

// calibScaleOf is ref's scale of one channel.
func calibScaleOf(c spec.QuantCalibConfig, x spec.Matrix, channel int) float32 {
	c.PerChannel = true
	q, err := ref.NewQuantCalib(c)
	var out spec.QuantCalibration
	if err == nil {
		err = q.Calibrate(&out, x)
	}
	if err != nil {
		panic(err)
	}
	return out.Scales[channel]
}

// TestQuantCalibAdmitsLowerPrecision judges scales of 8 significant bits: with their
// unit roundoff declared they meet every requirement, with float32's they fail.
func TestQuantCalibAdmitsLowerPrecision(t *testing.T) {
	impl := proxy.Wrap(ref.Implementation(), onCalibrated(func(_ spec.QuantCalibConfig, _ spec.Matrix, out *spec.QuantCalibration) {
		roundFloats(reflect.ValueOf(out.Scales))
		for i, scale := range out.Scales {
			if scale == 0 {
				out.Scales[i] = 1
			}
		}
	}))
	impl.Name, impl.UnitRoundoff = "bfloat16", 0x1p-8
	for _, r := range Check(impl, Modules("quant-calib"), Shrink(0)).Results {
		if r.Status == Failed {
			t.Errorf("%s: %s", r.Requirement, r.Message)
		}
	}
	impl.UnitRoundoff = 0
	for _, id := range []string{"quant-calib/minmax", "quant-calib/percentile", "quant-calib/mse"} {
		if result := Check(impl, Requirements(id), Shrink(0)).Results[0]; result.Status != Failed {
			t.Errorf("%s: 8 significant bits pass as float32", id)
		}
	}
}

// TestRecordedQuantCalibLeavesItsCodes measures what makes the recorded variant fail
// quant-calib/codes-in-range. A channel's ±max is 127.5 scales, so that its code is
// 128 or 127 by the luck of a last bit: 131 codes of 256 channels are outside. And one
// scale for all, the mean, leaves no code of a channel inside that is 100 times as
// large as the other 255.
func TestRecordedQuantCalibLeavesItsCodes(t *testing.T) {
	const samples, channels = 128, 256
	plain := spec.Matrix{Rows: samples, Cols: channels, Data: gaussian(samples*channels, 24)}
	loud := cloneAs(plain)
	for r := range loud.Rows {
		loud.Row(r)[0] *= 100
	}
	for _, c := range []struct {
		what       string
		variant    spec.Variant
		perChannel bool
		x          spec.Matrix
		beyond     int // |x| of more than 127 scales
		outside    int // codes of more than 127
	}{
		{"documented", spec.Documented, true, plain, 0, 0},
		{"documented, one scale", spec.Documented, false, loud, 0, 0},
		{"squish6", spec.Squish6, true, plain, 261, 131},
		{"squish6, one scale", spec.Squish6, false, loud, samples, samples},
	} {
		q, err := ref.NewQuantCalib(spec.QuantCalibConfig{
			Variant: c.variant, Method: spec.CalibrateMinMax, Percentile: 99.9, NBits: 8, PerChannel: c.perChannel,
		})
		if err != nil {
			t.Fatal(err)
		}
		var out spec.QuantCalibration
		if err := q.Calibrate(&out, c.x); err != nil {
			t.Fatal(err)
		}
		beyond, outside := 0, 0
		for r := range c.x.Rows {
			for i, v := range c.x.Row(r) {
				steps := math.Abs(float64(v)) / float64(out.Scales[min(i, len(out.Scales)-1)])
				if steps > 127*(1+0x1p-22) {
					beyond++
				}
				if math.RoundToEven(steps) > 127 {
					outside++
				}
			}
		}
		if beyond != c.beyond || outside != c.outside {
			t.Errorf("%s: %d elements beyond 127 scales and %d codes beyond 127, want %d and %d", c.what, beyond, outside, c.beyond, c.outside)
		}
	}
}
