package conformance

import (
	"fmt"
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var quantCalib = spec.ModuleByName("quant-calib")

var quantCalibModule = &module{
	spec: quantCalib,
	laws: map[string]func(*trial){
		"minmax":             calibMinMax,
		"percentile":         calibPercentile,
		"mse":                calibMSE,
		"mse-no-worse":       calibMSENoWorse,
		"codes-in-range":     calibCodesInRange,
		"half-step":          calibHalfStep,
		"power-of-two":       calibPowerOfTwo,
		"signs-and-order":    calibSignsAndOrder,
		"channels":           calibChannels,
		"one-scale":          calibOneScale,
		"percentile-rises":   calibPercentileRises,
		"union":              calibUnion,
		"zero-channels":      calibZeroChannels,
		"stats":              calibStats,
		"half-codes-squish6": calibHalfCodesSquish6,
		"mse-squish6":        calibMSESquish6,
		"mean-squish6":       calibMeanSquish6,
	},
	program: calibProgram,
	badConfigs: map[string]any{
		"an unknown variant":       calibConfig(func(c *spec.QuantCalibConfig) { c.Variant = "squish7" }),
		"no method":                calibConfig(func(c *spec.QuantCalibConfig) { c.Method = "" }),
		"method entropy":           calibConfig(func(c *spec.QuantCalibConfig) { c.Method = "entropy" }),
		"method MSE":               calibConfig(func(c *spec.QuantCalibConfig) { c.Method = "MSE" }),
		"n_bits 0":                 calibConfig(func(c *spec.QuantCalibConfig) { c.NBits = 0 }),
		"n_bits 3":                 calibConfig(func(c *spec.QuantCalibConfig) { c.NBits = 3 }),
		"n_bits −8":                calibConfig(func(c *spec.QuantCalibConfig) { c.NBits = -8 }),
		"n_bits 16":                calibConfig(func(c *spec.QuantCalibConfig) { c.NBits = 16 }),
		"percentile 50":            calibConfig(func(c *spec.QuantCalibConfig) { c.Percentile = 50 }),
		"percentile 100":           calibConfig(func(c *spec.QuantCalibConfig) { c.Percentile = 100 }),
		"percentile 0.999":         calibConfig(func(c *spec.QuantCalibConfig) { c.Percentile = 0.999 }),
		"percentile NaN":           calibConfig(func(c *spec.QuantCalibConfig) { c.Percentile = math.NaN() }),
		"percentile +Inf":          calibConfig(func(c *spec.QuantCalibConfig) { c.Percentile = math.Inf(1) }),
		"n_bits 3 as squish6":      calibConfig(func(c *spec.QuantCalibConfig) { c.Variant, c.NBits = spec.Squish6, 3 }),
		"percentile 50 as squish6": calibConfig(func(c *spec.QuantCalibConfig) { c.Variant, c.Percentile = spec.Squish6, 50 }),
	},
	badSteps: calibBadSteps,
	equal:    map[string]comparison{"calibrate": sameCalibration},
	rows:     []row{{"quant-calib/calibrate-minmax", calibRow, sameCalibRow}},
}

// calibConfig is the default config with a change.
func calibConfig(change func(*spec.QuantCalibConfig)) spec.QuantCalibConfig {
	c := spec.DefaultQuantCalibConfig()
	change(&c)
	return c
}

// A calibRowResult is a row's answer and what it was asked.
type calibRowResult struct {
	config      spec.QuantCalibConfig
	activations spec.Matrix
	out         spec.QuantCalibration
}

// calibRow calibrates Gaussian activations by their largest magnitudes.
func calibRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	r := &calibRowResult{config: calibConfig(func(c *spec.QuantCalibConfig) {
		c.Variant = rowVariant(quantCalib, name)
		c.Method = spec.CalibrationMethod(w.Text("method", string(spec.CalibrateMinMax)))
		c.NBits = w.Int("n_bits", c.NBits)
	})}
	r.activations = spec.Matrix{Rows: w.Int("samples", 128), Cols: w.Int("channels", 256)}
	r.activations.Data = gaussian(r.activations.Rows*r.activations.Cols, 24)
	q, err := impl.QuantCalib(r.config)
	return timing{
		calls:  1,
		call:   func(int) error { return q.Calibrate(&r.out, r.activations) },
		result: func() (any, error) { return r, nil },
	}, err
}

func sameCalibRow(t *trial, got, want any) {
	t.Helper()
	g, w := got.(*calibRowResult), want.(*calibRowResult)
	sameCalibration(t, w.config, []any{w.activations}, &g.out, &w.out)
}

// calibMethods draws a method.
func calibMethods(t *trial) spec.CalibrationMethod {
	return rapid.SampledFrom([]spec.CalibrationMethod{spec.CalibrateMinMax, spec.CalibratePercentile, spec.CalibrateMSE}).Draw(t.T, "method")
}

// drawCalibConfig draws a config of a method, one scale a channel.
func drawCalibConfig(t *trial, v spec.Variant, method spec.CalibrationMethod) spec.QuantCalibConfig {
	return spec.QuantCalibConfig{
		Variant:    v,
		Method:     method,
		Percentile: rapid.SampledFrom([]float64{99.9, 99, 90, 75, 62.5, 50.1}).Draw(t.T, "percentile"),
		NBits:      rapid.SampledFrom([]int{8, 4}).Draw(t.T, "n_bits"),
		PerChannel: true,
	}
}

// drawCalibActivations draws activations, now and then with a channel of zeros, or
// one of which most samples are.
func drawCalibActivations(t *trial, styles []style) spec.Matrix {
	x := matrix(t, size(t, 1, 24, "samples"), size(t, 1, 5, "channels"), styles, "activations")
	kind := rapid.SampledFrom([]string{"as drawn", "as drawn", "zeros", "mostly zeros"}).Draw(t.T, "one channel")
	if kind == "as drawn" {
		return x
	}
	channel := rapid.IntRange(0, x.Cols-1).Draw(t.T, "channel")
	r := source(t, "zeros")
	for row := range x.Rows {
		if kind == "zeros" || r.IntN(8) > 0 {
			x.Row(row)[channel] = 0
		}
	}
	return x
}

func calibProgram(t *trial, v spec.Variant) program {
	c := drawCalibConfig(t, v, calibMethods(t))
	c.PerChannel = rapid.Bool().Draw(t.T, "per_channel")
	p := program{config: c}
	for range size(t, 1, 3, "calls") {
		p.steps = append(p.steps, call(quantCalib, "calibrate", drawCalibActivations(t, anyStyles)))
	}
	return p
}

func calibBadSteps(t *trial, _ any) []badStep {
	rows, cols := size(t, 1, 4, "bad samples"), size(t, 1, 3, "bad channels")
	spoiled := func(v float64) spec.Matrix {
		x := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
		x.Data[rapid.IntRange(0, len(x.Data)-1).Draw(t.T, "at")] = float32(v)
		return x
	}
	var list []badStep
	for _, wrong := range []struct {
		what string
		x    spec.Matrix
	}{
		{"nothing", spec.Matrix{}},
		{"no samples", spec.Matrix{Cols: cols}},
		{"no channels", spec.Matrix{Rows: rows}},
		{"countless samples of no channel", spec.Matrix{Rows: math.MaxInt}},
		{"countless channels without a sample", spec.Matrix{Cols: math.MaxInt}},
		{"less data than shape", spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols-1)}},
		{"more data than shape", spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols+1)}},
		{"a negative shape", spec.Matrix{Rows: -rows, Cols: -cols, Data: make([]float32, rows*cols)}},
		{"a NaN", spoiled(math.NaN())},
		{"+Inf", spoiled(math.Inf(1))},
		{"−Inf", spoiled(math.Inf(-1))},
	} {
		list = append(list, badStep{wrong.what, call(quantCalib, "calibrate", wrong.x), spec.Invalid})
	}
	return list
}

// A calibChannel is the judge of one channel's scale. Its answers come from the
// definition: magnitudes sorted, and every clip bound tried.
type calibChannel struct {
	config  spec.QuantCalibConfig
	u       float64
	sorted  []float64 // the magnitudes, ascending
	largest float64
	// largestCode is 2^(b−1)−1, and boundCode what the clip bound falls on: the same,
	// or as squish6 half a code more.
	largestCode, boundCode float64
}

func calibChannelOf(t *trial, c spec.QuantCalibConfig, x spec.Matrix, channel int) calibChannel {
	own := calibChannel{config: c, u: t.u, largestCode: 127}
	if c.NBits == 4 {
		own.largestCode = 7
	}
	own.boundCode = own.largestCode
	if c.Variant == spec.Squish6 {
		own.boundCode += 0.5
	}
	for r := range x.Rows {
		own.sorted = append(own.sorted, math.Abs(float64(x.Row(r)[channel])))
	}
	slices.Sort(own.sorted)
	own.largest = own.sorted[len(own.sorted)-1]
	return own
}

func calibChannelsOf(t *trial, c spec.QuantCalibConfig, x spec.Matrix) []calibChannel {
	channels := make([]calibChannel, x.Cols)
	for i := range channels {
		channels[i] = calibChannelOf(t, c, x, i)
	}
	return channels
}

// spacing is that of subnormal scales.
func (c calibChannel) spacing() float64 { return c.u * 0x1p-125 }

// budget bounds the error of a scale.
func (c calibChannel) budget(scale float64) float64 { return 2*c.u*scale + c.spacing() }

// percentileAt interpolates at a position, which may be off the ends.
func (c calibChannel) percentileAt(position float64) float64 {
	last := float64(len(c.sorted) - 1)
	position = max(0, min(position, last))
	low := math.Floor(position)
	high := math.Ceil(position)
	return c.sorted[int(low)]*(1-(position-low)) + c.sorted[int(high)]*(position-low)
}

// percentile returns the channel's percentile, and the least and the greatest that it
// may be.
func (c calibChannel) percentile() (low, at, high float64) {
	n := float64(len(c.sorted))
	position, off := c.config.Percentile/100*(n-1), 2*c.u*n
	return c.percentileAt(position - off), c.percentileAt(position), c.percentileAt(position + off)
}

// bounds returns the least and the greatest clip bound that the channel may have.
func (c calibChannel) bounds() (low, high float64) {
	switch c.config.Method {
	case spec.CalibratePercentile:
		low, _, high = c.percentile()
		if low == 0 { // and if it is 0 exactly, max|x|
			if high == 0 {
				low = c.largest
			}
			high = c.largest
		}
		return low, high
	case spec.CalibrateMSE:
		low, high = c.largest, 0
		budget := c.leastError() + c.errorBudget()
		for i := range spec.CalibrationBounds {
			bound := c.clipBound(i)
			if best, _ := c.error(bound / c.boundCode); best <= budget {
				low, high = min(low, bound), max(high, bound)
			}
		}
		return low, high
	}
	return c.largest, c.largest
}

// scales returns the least and the greatest scale that the channel may have.
func (c calibChannel) scales() (low, high float64) {
	if c.largest == 0 {
		return 1, 1
	}
	low, high = c.bounds()
	return low / c.boundCode, high / c.boundCode
}

// clipBound is the i-th of the bounds that mse tries.
func (c calibChannel) clipBound(i int) float64 {
	return c.largest * (0.1 + 0.9*float64(i)/(spec.CalibrationBounds-1))
}

// error is the root mean square of x − code·scale. As squish6 the code of an element
// beyond the bound is a half before it is rounded, and may come out above or below:
// best and worst are the error with the better and with the worse one.
func (c calibChannel) error(scale float64) (best, worst float64) {
	for _, x := range c.sorted {
		code := math.RoundToEven(x / scale)
		off := math.Abs(x - min(code, c.largestCode)*scale)
		other := off
		if c.config.Variant == spec.Squish6 && x/scale >= c.boundCode*(1-4*c.u) {
			other = math.Abs(x - (c.largestCode+1)*scale)
		}
		// Divided first, so that the squares of the largest numbers do not overflow.
		off, other = off/c.largest, other/c.largest
		best += min(off, other) * min(off, other)
		worst += max(off, other) * max(off, other)
	}
	n := float64(len(c.sorted))
	return c.largest * math.Sqrt(best/n), c.largest * math.Sqrt(worst/n)
}

// leastError is the least error that any of the bounds reaches for certain.
func (c calibChannel) leastError() float64 {
	least := math.Inf(1)
	for i := range spec.CalibrationBounds {
		_, worst := c.error(c.clipBound(i) / c.boundCode)
		least = min(least, worst)
	}
	return least
}

func (c calibChannel) errorBudget() float64 {
	return 8*c.u*c.largest + 8*c.boundCode*c.spacing()
}

// isNone reports whether a scale is the 1 of a channel of zeros, or of one whose own
// is too small to publish.
func (c calibChannel) isNone(scale float32) bool {
	if c.largest == 0 {
		return true
	}
	low, _ := c.scales()
	return scale == 1 && low <= c.spacing()
}

// judge asserts that a channel's scale, published apart, is what the method asks for.
func (c calibChannel) judge(t *trial, what string, got float32) {
	t.Helper()
	if c.largest == 0 {
		t.equal(what, got, float32(1))
		return
	}
	if c.config.Method == spec.CalibrateMSE {
		c.judgeError(t, what, got, c.leastError())
		return
	}
	if c.isNone(got) {
		return
	}
	low, bound, high := c.largest, c.largest, c.largest
	if c.config.Method == spec.CalibratePercentile {
		low, bound, high = c.percentile()
		if low == 0 { // where it is 0, or just above
			if got > 0 && high > 0 && float64(got) <= high/c.boundCode+c.budget(high/c.boundCode) {
				return
			}
			low, bound, high = c.largest, c.largest, c.largest
		}
	}
	t.within(what, float64(got), bound/c.boundCode, max(bound-low, high-bound)/c.boundCode+c.budget(high/c.boundCode))
}

// judgeError asserts that a scale errs by no more than so much.
func (c calibChannel) judgeError(t *trial, what string, got float32, least float64) {
	t.Helper()
	t.holds(got > 0 && areFinite(got), "%s: got %v", what, got)
	best, _ := c.error(float64(got))
	t.within(what+": root mean squared error", max(best, least), least, c.errorBudget())
}

// calibrated calibrates with a new instance.
func calibrated(t *trial, c spec.QuantCalibConfig, x spec.Matrix) []float32 {
	t.Helper()
	var out spec.QuantCalibration
	t.must(open(t, t.impl.QuantCalib, c).Calibrate(&out, x))
	calibShape(t, c, x, &out)
	return out.Scales
}

// calibShape asserts that a result has its config's method and bits, and as many
// scales as it asks for.
func calibShape(t *trial, c spec.QuantCalibConfig, x spec.Matrix, out *spec.QuantCalibration) {
	t.Helper()
	t.equal("method", out.Method, c.Method)
	t.equal("n_bits", out.NBits, c.NBits)
	scales := 1
	if c.PerChannel {
		scales = x.Cols
	}
	t.equal("number of scales ", len(out.Scales), scales)
}

// sameCalibration compares scales: with method mse by the error that each channel's
// reaches, and one scale for all as what lies between the least and the greatest
// that the channels may have.
func sameCalibration(t *trial, config any, args []any, got, want any) {
	t.Helper()
	c, x := config.(spec.QuantCalibConfig), args[0].(spec.Matrix)
	g, w := got.(*spec.QuantCalibration), want.(*spec.QuantCalibration)
	calibShape(t, c, x, g)
	channels := calibChannelsOf(t, c, x)
	if !c.PerChannel {
		sameOneScale(t, channels, g.Scales[0], w.Scales[0])
		return
	}
	for i, channel := range channels {
		what := fmt.Sprintf("scales[%d]", i)
		low, high := channel.scales()
		switch {
		case channel.largest == 0:
			t.equal(what, g.Scales[i], w.Scales[i])
		case c.Method == spec.CalibrateMSE:
			_, worst := channel.error(float64(w.Scales[i]))
			channel.judgeError(t, what, g.Scales[i], worst)
		case !channel.isNone(g.Scales[i]) && !channel.isNone(w.Scales[i]):
			t.within(what, float64(g.Scales[i]), float64(w.Scales[i]), high-low+2*channel.budget(high))
		}
	}
}

func sameOneScale(t *trial, channels []calibChannel, got, want float32) {
	t.Helper()
	low, high, budget := calibOneOf(channels)
	if (got == 1 || want == 1) && low <= channels[0].spacing() {
		return
	}
	t.within("scales[0]", float64(got), float64(want), high-low+2*budget)
}

// calibOneOf returns the least and the greatest that one scale for all channels may
// be, but for budget: their maximum, or as squish6 their mean.
func calibOneOf(channels []calibChannel) (low, high, budget float64) {
	n := float64(len(channels))
	isMean := channels[0].config.Variant == spec.Squish6
	isDead := true
	for _, c := range channels {
		least, most := c.scales()
		switch {
		case isMean:
			low, high = low+least/n, high+most/n
		case c.largest > 0:
			low, high = max(low, least), max(high, most)
		}
		isDead = isDead && c.largest == 0
	}
	if isDead {
		return 1, 1, 0
	}
	if isMean {
		return low, high, (n+4)*channels[0].u*high + channels[0].spacing()
	}
	return low, high, channels[0].budget(high)
}

// judgeChannels calibrates and judges every channel's scale apart.
func judgeChannels(t *trial, c spec.QuantCalibConfig, x spec.Matrix) {
	t.Helper()
	for i, got := range calibrated(t, c, x) {
		calibChannelOf(t, c, x, i).judge(t, fmt.Sprintf("scales[%d]", i), got)
	}
}

func calibMinMax(t *trial) {
	c := drawCalibConfig(t, spec.Documented, spec.CalibrateMinMax)
	x := drawCalibActivations(t, anyStyles)
	if rapid.Bool().Draw(t.T, "per_channel") {
		judgeChannels(t, c, x)
		return
	}
	c.PerChannel = false
	all := calibChannelOf(t, c, spec.Matrix{Rows: len(x.Data), Cols: 1, Data: x.Data}, 0)
	all.judge(t, "scales[0]", calibrated(t, c, x)[0])
}

func calibPercentile(t *trial) {
	judgeChannels(t, drawCalibConfig(t, spec.Documented, spec.CalibratePercentile), drawCalibActivations(t, anyStyles))
}

func calibMSE(t *trial) {
	judgeChannels(t, drawCalibConfig(t, spec.Documented, spec.CalibrateMSE), drawCalibActivations(t, anyStyles))
}

func calibHalfCodesSquish6(t *trial) {
	method := rapid.SampledFrom([]spec.CalibrationMethod{spec.CalibrateMinMax, spec.CalibratePercentile}).Draw(t.T, "method")
	judgeChannels(t, drawCalibConfig(t, spec.Squish6, method), drawCalibActivations(t, anyStyles))
}

func calibMSESquish6(t *trial) {
	judgeChannels(t, drawCalibConfig(t, spec.Squish6, spec.CalibrateMSE), drawCalibActivations(t, anyStyles))
}

func calibMSENoWorse(t *trial) {
	c := drawCalibConfig(t, spec.Documented, spec.CalibrateMSE)
	x := drawCalibActivations(t, anyStyles)
	got := calibrated(t, c, x)
	c.Method = spec.CalibrateMinMax
	for i, scale := range calibrated(t, c, x) {
		if channel := calibChannelOf(t, c, x, i); channel.largest > 0 {
			_, worst := channel.error(float64(scale))
			channel.judgeError(t, fmt.Sprintf("scales[%d]", i), got[i], worst)
		}
	}
}

// drawCalibMinMax draws a config of minmax, one scale a channel or in all.
func drawCalibMinMax(t *trial) spec.QuantCalibConfig {
	c := drawCalibConfig(t, spec.Documented, spec.CalibrateMinMax)
	c.PerChannel = rapid.Bool().Draw(t.T, "per_channel")
	return c
}

// eachCalibElement calls visit for every |x| and the scale of its channel.
func eachCalibElement(t *trial, c spec.QuantCalibConfig, x spec.Matrix, visit func(own calibChannel, what string, x, scale float64)) {
	t.Helper()
	scales := calibrated(t, c, x)
	for i, own := range calibChannelsOf(t, c, x) {
		scale := scales[min(i, len(scales)-1)]
		for _, magnitude := range own.sorted {
			visit(own, fmt.Sprintf("|x| = %v of channel %d, scale %v", magnitude, i, scale), magnitude, float64(scale))
		}
	}
}

func calibCodesInRange(t *trial) {
	eachCalibElement(t, drawCalibMinMax(t), drawCalibActivations(t, anyStyles), func(own calibChannel, what string, x, scale float64) {
		t.holds(x <= own.largestCode*(scale*(1+4*own.u)+own.spacing()), "%s: %v steps, and the largest code is %v", what, x/scale, own.largestCode)
	})
}

func calibHalfStep(t *trial) {
	eachCalibElement(t, drawCalibMinMax(t), drawCalibActivations(t, anyStyles), func(own calibChannel, what string, x, scale float64) {
		code := min(math.RoundToEven(x/scale), own.largestCode)
		budget := 4*own.u*own.largest + own.largestCode*own.spacing()
		t.holds(math.Abs(x-code*scale) <= scale/2+budget, "%s: off by %v from its code %v", what, math.Abs(x-code*scale), code)
	})
}

func calibPowerOfTwo(t *trial) {
	c := drawCalibConfig(t, spec.Documented, calibMethods(t))
	c.PerChannel = rapid.Bool().Draw(t.T, "per_channel")
	x := drawCalibActivations(t, moderateStyles)
	k := rapid.IntRange(-40, 40).Draw(t.T, "k")
	scaled := cloneAs(x)
	for i, v := range x.Data {
		scaled.Data[i] = float32(math.Ldexp(float64(v), k))
		if v != 0 && math.Abs(float64(scaled.Data[i])) < 0x1p-100 {
			t.Skip("a scale may be subnormal")
		}
	}
	plain, times := calibrated(t, c, x), calibrated(t, c, scaled)
	channels := calibChannelsOf(t, c, x)
	isLive := func(c calibChannel) bool { return c.largest > 0 }
	for i, scale := range plain {
		want := scale
		if c.PerChannel && isLive(channels[i]) || !c.PerChannel && slices.ContainsFunc(channels, isLive) {
			want = float32(math.Ldexp(float64(scale), k))
		}
		t.equal(fmt.Sprintf("scales[%d]", i), times[i], want)
	}
}

func calibSignsAndOrder(t *trial) {
	c := drawCalibConfig(t, spec.Documented, calibMethods(t))
	x := drawCalibActivations(t, anyStyles)
	r := source(t, "order")
	other := spec.Matrix{Cols: x.Cols, Rows: x.Rows}
	for _, row := range r.Perm(x.Rows) {
		for _, v := range x.Row(row) {
			other.Data = append(other.Data, float32(math.Copysign(float64(v), r.NormFloat64())))
		}
	}
	want := spec.QuantCalibration{Scales: calibrated(t, c, x), Method: c.Method, NBits: c.NBits}
	got := spec.QuantCalibration{Scales: calibrated(t, c, other), Method: c.Method, NBits: c.NBits}
	sameCalibration(t, c, []any{x}, &got, &want)
}

func calibChannels(t *trial) {
	c := drawCalibConfig(t, spec.Documented, calibMethods(t))
	x := drawCalibActivations(t, anyStyles)
	for i, scale := range calibrated(t, c, x) {
		alone := spec.Matrix{Rows: x.Rows, Cols: 1}
		for r := range x.Rows {
			alone.Data = append(alone.Data, x.Row(r)[i])
		}
		want := spec.QuantCalibration{Scales: calibrated(t, c, alone), Method: c.Method, NBits: c.NBits}
		got := spec.QuantCalibration{Scales: []float32{scale}, Method: c.Method, NBits: c.NBits}
		sameCalibration(t, c, []any{alone}, &got, &want)
	}
}

// calibApart calibrates the channels apart, and all in one, and returns the scales
// of the first with the channels' judges, and the single one of the second.
func calibApart(t *trial, v spec.Variant) (channels []calibChannel, apart []float32, one float32) {
	c := drawCalibConfig(t, v, calibMethods(t))
	x := drawCalibActivations(t, moderateStyles)
	channels, apart = calibChannelsOf(t, c, x), calibrated(t, c, x)
	c.PerChannel = false
	return channels, apart, calibrated(t, c, x)[0]
}

func calibOneScale(t *trial) {
	channels, apart, got := calibApart(t, spec.Documented)
	want := 0.0
	for i, c := range channels {
		if !c.isNone(apart[i]) {
			want = max(want, float64(apart[i]))
		}
	}
	if want == 0 {
		want = 1
	}
	t.within("scales[0]", float64(got), want, 2*t.u*want)
}

func calibMeanSquish6(t *trial) {
	_, apart, got := calibApart(t, spec.Squish6)
	mean := 0.0
	for _, scale := range apart {
		mean += float64(scale) / float64(len(apart))
	}
	t.within("scales[0]", float64(got), mean, float64(len(apart)+4)*t.u*mean)
}

// calibPercentileRises calibrates at rising percentiles, and by the maximum at last.
func calibPercentileRises(t *trial) {
	c := drawCalibConfig(t, spec.Documented, spec.CalibratePercentile)
	x := drawCalibActivations(t, anyStyles)
	percentiles := rapid.SliceOfN(rapid.Float64Range(50.5, 99.5), 1, 4).Draw(t.T, "percentiles")
	slices.Sort(percentiles)
	before := make([]float64, x.Cols) // a bound below the scales so far
	for i := range len(percentiles) + 1 {
		if i < len(percentiles) {
			c.Percentile = percentiles[i]
		} else {
			c.Method = spec.CalibrateMinMax
		}
		scales := calibrated(t, c, x)
		for channel, own := range calibChannelsOf(t, c, x) {
			if own.isNone(scales[channel]) {
				continue
			}
			low, high := own.scales()
			scale, slack := float64(scales[channel]), high-low+own.budget(high)
			t.holds(scale+slack >= before[channel], "scales[%d]: %v with %s, percentile %v, and more before", channel, scale, c.Method, c.Percentile)
			if least, _, _ := own.percentile(); least > 0 { // else max|x| stands in for it
				before[channel] = scale - slack
			}
		}
	}
	t.asserted++ // of channels that have no scale nothing is asked
}

func calibUnion(t *trial) {
	c := drawCalibConfig(t, spec.Documented, spec.CalibrateMinMax)
	x := drawCalibActivations(t, moderateStyles)
	y := matrix(t, size(t, 1, 8, "more samples"), x.Cols, moderateStyles, "more activations")
	both := spec.Matrix{Rows: x.Rows + y.Rows, Cols: x.Cols, Data: slices.Concat(x.Data, y.Data)}
	first, second := calibrated(t, c, x), calibrated(t, c, y)
	for i, got := range calibrated(t, c, both) {
		want := max(first[i], second[i])
		switch {
		case calibChannelOf(t, c, x, i).isNone(first[i]):
			want = second[i]
		case calibChannelOf(t, c, y, i).isNone(second[i]):
			want = first[i]
		}
		t.equal(fmt.Sprintf("scales[%d]", i), got, want)
	}
}

func calibZeroChannels(t *trial) {
	c := drawCalibConfig(t, spec.Documented, calibMethods(t))
	c.PerChannel = rapid.Bool().Draw(t.T, "per_channel")
	x := spec.Matrix{Rows: size(t, 1, 8, "samples"), Cols: size(t, 1, 4, "channels")}
	x.Data = make([]float32, x.Rows*x.Cols)
	signs := source(t, "signs")
	for i := range x.Data {
		x.Data[i] = float32(math.Copysign(0, signs.NormFloat64()))
	}
	for i, scale := range calibrated(t, c, x) {
		t.equal(fmt.Sprintf("scales[%d]", i), scale, float32(1))
	}
}

func calibStats(t *trial) {
	c := drawCalibConfig(t, spec.Documented, calibMethods(t))
	c.PerChannel = rapid.Bool().Draw(t.T, "per_channel")
	q := open(t, t.impl.QuantCalib, c)
	var want spec.QuantCalibStats
	for range size(t, 0, 4, "calls") {
		x := drawCalibActivations(t, anyStyles)
		var out spec.QuantCalibration
		t.must(q.Calibrate(&out, x))
		want.Calibrations++
		want.Channels += x.Cols
	}
	t.equal("stats", q.Stats(), want)
}
