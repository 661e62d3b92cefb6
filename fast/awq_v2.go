package fast

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/squishspec/squishspec/fast/internal/affine"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/spec"
)

// NewAWQv2 returns an optimised spec.AWQv2, or an error of kind spec.Invalid for a
// config out of range. It also packs codes: spec.AWQInt4.
//
// Rows of weights, and as squish6 columns of a search, are shared by the cores. The
// search costs n_search_steps × out × in × samples, the samples counted up to 16 times
// the inputs; beyond that the error is taken from their Gram matrix, in float64.
// Memory, beside the results, is that of the activations, rounded up to whole blocks of
// 256 inputs and 64 samples, and for each core some 100 bytes an input and a sample.
//
// Weights that float32 cannot scale, round and add up without leaving its range are
// taken in float64: that takes four times the memory of the activations, and with more
// samples than inputs that of their Gram matrix.
func NewAWQv2(config spec.AWQv2Config) (spec.AWQv2, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &awqV2{config: config}, nil
}

type awqV2 struct {
	config spec.AWQv2Config
	stats  spec.AWQv2Stats

	means        []float64 // mean |x| of every channel
	search       awqSearch
	steps        awqSteps
	quantizing   awqQuantizing
	dequantizing awqDequantizing
}

func (q *awqV2) Calibrate(dst *spec.AWQScales, weights, activations spec.Matrix) error {
	if err := q.checkWeights(weights); err != nil {
		return err
	}
	if !q.measure(activations, weights.Cols) {
		return q.config.CheckActivations(activations, weights.Cols)
	}
	if q.config.Variant == spec.Squish6 {
		q.steps.run(&q.config, dst, weights, q.means)
	} else {
		q.search.run(&q.config, dst, weights, activations, q.means)
	}
	q.stats.Calibrations++
	q.stats.Channels += weights.Cols
	return nil
}

func (q *awqV2) checkWeights(weights spec.Matrix) error {
	if err := q.config.CheckWeights(weights); err != nil {
		return err
	}
	if kern.MaxMagnitude(weights.Data) >= kern.Infinite {
		return spec.CheckFinite("awq-v2", "weights", weights.Data)
	}
	return nil
}

// measure sets means. It reports false for activations that are empty, do not fit so
// many columns, or are not finite: then a sum is not.
func (q *awqV2) measure(activations spec.Matrix, cols int) bool {
	if len(activations.Data) == 0 || spec.CheckMatrix("awq-v2", "activations", activations, -1, cols) != nil {
		return false
	}
	q.means = spec.Resize(q.means, cols)
	clear(q.means)
	const rows = 16 // at a time: their pages are in the table of addresses while the columns pass by
	for n := 0; n < activations.Rows; n += rows {
		kern.ColumnSums(q.means, activations.Data[n*cols:], cols, min(rows, activations.Rows-n))
	}
	finite := true
	for c, sum := range q.means {
		finite = finite && sum-sum == 0
		q.means[c] = sum / float64(activations.Rows)
	}
	return finite
}

// inRange reports whether products and quotients of a few such numbers, and of small
// codes, are far from where float32 ends.
func inRange(x float32) bool { return x >= 0x1p-100 && x <= 0x1p100 }

// invert writes the inverses of scales above 0, and reports whether all are in range.
func invert(inverses, scales []float32) (natural bool) {
	natural = true
	for i, s := range scales {
		inverses[i] = 1 / s
		natural = natural && inRange(s)
	}
	return natural
}

// An awqRow is scratch for a row of weights.
type awqRow struct {
	low, high []float32 // of w·s, by group
	grids     []kern.AffineGrid
	wide      []float64 // channel scales, for what float32 cannot do
}

// resize makes room for a row of so many weights.
func (r *awqRow) resize(groups int) {
	r.low, r.high = spec.Resize(r.low, groups), spec.Resize(r.high, groups)
	r.grids = spec.Resize(r.grids, groups)
}

// fit finds the grids of a row. It reports false where float32 will not do for them.
func (r *awqRow) fit(w, scales []float32, size, qMax int) bool {
	if !kern.ScaledRanges(r.low, r.high, w, scales, size) {
		return false
	}
	for g, low := range r.low {
		grid := affine.NewGrid(float64(low), float64(r.high[g]), qMax)
		if !inRange(grid.Scale) {
			return false
		}
		r.grids[g] = grid.Narrow()
	}
	return true
}

// awqQuantizing quantises rows with the scales of a calibration.
type awqQuantizing struct {
	config         *spec.AWQv2Config
	dst            *spec.AWQWeights
	weights        spec.Matrix
	scales, shifts []float32
	size           int // of a group, at most a row

	inverses []float32 // as squish6
	natural  bool      // as squish6: float32 will do
	rows     []awqRow  // one a part
	failed   atomic.Bool
}

func (q *awqV2) Quantize(dst *spec.AWQWeights, weights spec.Matrix, scales, shifts []float32) error {
	if err := q.config.CheckWeights(weights); err != nil {
		return err
	}
	if err := q.config.CheckScales(scales, shifts, weights.Cols); err != nil {
		return err
	}
	z := &q.quantizing
	z.config, z.dst, z.weights, z.scales, z.shifts = &q.config, dst, weights, scales, shifts
	z.size = min(q.config.GroupSize, weights.Cols)
	dst.Codes = spec.Resize(dst.Codes, len(weights.Data))
	if q.config.Variant == spec.Squish6 {
		dst.GroupScales.Resize(0, 0)
		dst.ZeroPoints = dst.ZeroPoints[:0]
		z.inverses = spec.Resize(z.inverses, weights.Cols)
		z.natural = invert(z.inverses, scales)
	} else {
		groups := q.config.Groups(weights.Cols)
		dst.GroupScales.Resize(weights.Rows, groups)
		dst.ZeroPoints = spec.Resize(dst.ZeroPoints, weights.Rows*groups)
	}
	z.run()
	if z.failed.Load() {
		return z.reason()
	}
	return nil
}

func (z *awqQuantizing) run() {
	ns := 0.5 * float64(z.weights.Cols)
	if parts := parallel.Parts(z.weights.Rows, ns); parts > len(z.rows) {
		z.rows = append(z.rows, make([]awqRow, parts-len(z.rows))...)
	}
	z.failed.Store(false)
	parallel.Run(z, z.weights.Rows, ns)
}

func (z *awqQuantizing) Part(number, lo, hi int) {
	cols, row := z.weights.Cols, &z.rows[number]
	groups := z.dst.GroupScales.Cols
	row.resize(groups)
	for o := lo; o < hi; o++ {
		w, codes := z.weights.Row(o), z.dst.Codes[o*cols:(o+1)*cols]
		ok := true
		if z.config.Variant == spec.Squish6 {
			ok = z.steps(codes, w)
		} else {
			ok = z.groups(codes, z.dst.GroupScales.Row(o), z.dst.ZeroPoints[o*groups:(o+1)*groups], w, row)
		}
		if !ok {
			z.failed.Store(true)
			return
		}
	}
}

// groups quantises a row. It reports false where a weight or a group scale is not
// finite.
func (z *awqQuantizing) groups(codes []uint8, groupScales []float32, zeroPoints []uint8, w []float32, row *awqRow) bool {
	if !row.fit(w, z.scales, z.size, z.config.QMax()) {
		return z.groupsWide(codes, groupScales, zeroPoints, w, row)
	}
	for g, grid := range row.grids {
		groupScales[g], zeroPoints[g] = grid.Step, uint8(-grid.Low)
	}
	kern.AffineCodes(codes, w, z.scales, row.grids, z.size)
	return true
}

// groupsWide is groups in float64.
func (z *awqQuantizing) groupsWide(codes []uint8, groupScales []float32, zeroPoints []uint8, w []float32, row *awqRow) bool {
	if kern.MaxMagnitude(w) >= kern.Infinite {
		return false
	}
	row.wide = widened(row.wide, z.scales)
	for g := range groupScales {
		from, to := g*z.size, min((g+1)*z.size, len(w))
		low, high := affine.Range(w[from:to], row.wide[from:to])
		grid := affine.NewGrid(low, high, z.config.QMax())
		if math.IsInf(float64(grid.Scale), 0) {
			return false
		}
		grid.Quantize(codes[from:to], w[from:to], row.wide[from:to])
		groupScales[g], zeroPoints[g] = grid.Scale, grid.ZeroPoint
	}
	return true
}

// widened converts to float64, into dst.
func widened(dst []float64, x []float32) []float64 {
	dst = spec.Resize(dst, len(x))
	for i, v := range x {
		dst[i] = float64(v)
	}
	return dst
}

// steps quantises a row as squish6. It reports false where a weight is not finite.
func (z *awqQuantizing) steps(codes []uint8, w []float32) bool {
	if kern.MaxMagnitude(w) >= kern.Infinite {
		return false
	}
	qMax := float64(z.config.QMax())
	if z.natural {
		kern.StepCodes(codes, w, z.inverses, z.shifts, float32(qMax))
		return true
	}
	for c, x := range w {
		codes[c] = affine.Code(float64(x)/float64(z.scales[c])+float64(z.shifts[c]), qMax)
	}
	return true
}

// reason finds out why a row failed.
func (z *awqQuantizing) reason() error {
	if err := spec.CheckFinite("awq-v2", "weights", z.weights.Data); err != nil {
		return err
	}
	var row awqRow
	row.wide = widened(nil, z.scales)
	for o := range z.weights.Rows {
		w := z.weights.Row(o)
		for from := 0; from < len(w); from += z.size {
			to := min(from+z.size, len(w))
			low, high := affine.Range(w[from:to], row.wide[from:to])
			if grid := affine.NewGrid(low, high, z.config.QMax()); math.IsInf(float64(grid.Scale), 0) {
				return spec.Reject(spec.Invalid, "awq-v2", "scales", "scales with which group scales are float32 numbers", fmt.Sprintf("larger ones in row %d", o))
			}
		}
	}
	return nil
}

// awqDequantizing dequantises rows.
type awqDequantizing struct {
	config         *spec.AWQv2Config
	dst            *spec.Matrix
	codes          []uint8
	scales, shifts []float32
	groupScales    spec.Matrix
	zeroPoints     []uint8
	size           int

	inverses []float32
	natural  bool
	rows     []awqRow // one a part
	failed   atomic.Bool
}

func (q *awqV2) Dequantize(dst *spec.Matrix, codes []uint8, scales, shifts []float32, groupScales spec.Matrix, zeroPoints []uint8) error {
	rows, err := q.config.CheckQuantized(codes, scales, shifts, groupScales, zeroPoints)
	if err != nil {
		return err
	}
	cols := len(scales)
	dst.Resize(rows, cols)
	z := &q.dequantizing
	z.config, z.dst, z.codes, z.scales, z.shifts, z.groupScales, z.zeroPoints = &q.config, dst, codes, scales, shifts, groupScales, zeroPoints
	z.size = min(q.config.GroupSize, cols)
	z.inverses = spec.Resize(z.inverses, cols)
	z.natural = invert(z.inverses, scales)
	ns := 0.2 * float64(cols)
	if parts := parallel.Parts(rows, ns); parts > len(z.rows) {
		z.rows = append(z.rows, make([]awqRow, parts-len(z.rows))...)
	}
	z.failed.Store(false)
	parallel.Run(z, rows, ns)
	if z.failed.Load() {
		return spec.CheckFinite("awq-v2", "group_scales", groupScales.Data)
	}
	return nil
}

func (z *awqDequantizing) Part(number, lo, hi int) {
	cols, groups, row := z.dst.Cols, z.groupScales.Cols, &z.rows[number]
	row.resize(groups)
	for o := lo; o < hi; o++ {
		out, codes := z.dst.Row(o), z.codes[o*cols:(o+1)*cols]
		if z.config.Variant == spec.Squish6 {
			kern.StepValues(out, codes, z.scales, z.shifts)
		} else if !z.groups(out, codes, z.groupScales.Row(o), z.zeroPoints[o*groups:(o+1)*groups], row) {
			z.failed.Store(true)
			return
		}
		if kern.MaxMagnitude(out) >= kern.Infinite {
			for i, x := range out {
				out[i] = max(-math.MaxFloat32, min(math.MaxFloat32, x))
			}
		}
	}
}

// groups dequantises a row. It reports false where a group scale is not finite.
func (z *awqDequantizing) groups(out []float32, codes []uint8, groupScales []float32, zeroPoints []uint8, row *awqRow) bool {
	largest := math.Float32frombits(kern.MaxMagnitude(groupScales))
	if largest <= 0x1p100 && z.natural {
		for g, step := range groupScales {
			row.grids[g] = kern.AffineGrid{Low: -float32(zeroPoints[g]), Step: step}
		}
		kern.AffineValues(out, codes, z.inverses, row.grids, z.size)
		return true
	}
	for g, step := range groupScales {
		if step-step != 0 {
			return false
		}
		z0 := int(zeroPoints[g])
		for c := g * z.size; c < min((g+1)*z.size, len(out)); c++ {
			out[c] = float32(float64(int(codes[c])-z0) * float64(step) / float64(z.scales[c]))
		}
	}
	return true
}

func (q *awqV2) Stats() spec.AWQv2Stats { return q.stats }

func (q *awqV2) PackInt4(dst *[]uint8, codes []uint8) error {
	if len(codes) == 0 {
		return spec.Reject(spec.Invalid, "awq-v2", "codes", "at least 1 code", 0)
	}
	*dst = spec.Resize(*dst, (len(codes)-1)/2+1)
	if kern.PackNibbles(*dst, codes) {
		return nil
	}
	for i, code := range codes {
		if code > 15 {
			return spec.Reject(spec.Invalid, "awq-v2", fmt.Sprintf("codes[%d]", i), "at most 15", code)
		}
	}
	return nil
}

func (q *awqV2) UnpackInt4(dst *[]uint8, packed []uint8, n int) error {
	if n < 1 {
		return spec.Reject(spec.Invalid, "awq-v2", "n", "at least 1", n)
	}
	if want := (n-1)/2 + 1; len(packed) != want {
		return spec.Reject(spec.Invalid, "awq-v2", "packed", fmt.Sprintf("%d bytes, for %d codes", want, n), len(packed))
	}
	if last := packed[n/2-1+n%2]; n%2 == 1 && last > 15 {
		return spec.Reject(spec.Invalid, "awq-v2", fmt.Sprintf("packed[%d]", n/2), "a last byte filled up with 0", last)
	}
	*dst = spec.Resize(*dst, n)
	kern.UnpackNibbles(*dst, packed)
	return nil
}
