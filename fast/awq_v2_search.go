package fast

import (
	"math"
	"sync/atomic"

	"github.com/squishspec/squishspec/fast/internal/affine"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/fast/internal/svd"
	"github.com/squishspec/squishspec/spec"
)

// An awqSearch finds the channel scales of least output error.
//
// What is lost of a few rows of weights is worked out, multiplied with the activations
// and squared while it is in the cache, and never stored whole; a candidate is dropped
// once it is above the best. All of that is float32, as the requirement's tolerance has
// it, with the activations scaled by a power of two. Candidates whose numbers come near
// the ends of float32 are left to awqExact.
type awqSearch struct {
	config  *spec.AWQv2Config
	weights spec.Matrix
	size    int // of a group, at most a row

	logs             []float64 // of each channel's mean activation
	powers           []float32
	scales, inverses []float32 // of the candidate
	samples          int       // rounded up to whole panels
	panels           []float32 // the activations, in the order in which they are multiplied
	unit             float64   // what squares of them, as scaled, are too large by
	errors           []float64 // by block of rows
	least            float64   // what a candidate must be below
	parts            []awqSearchPart
	unfit, worse     atomic.Bool // the candidate is

	exact awqExact
}

type awqSearchPart struct {
	row     awqRow
	lost    []float32 // of some rows of weights
	outputs []float32 // the errors of their outputs
}

// Activations are multiplied in pieces of so many channels and samples, which stay in
// the second-level cache while so many rows pass by.
const (
	awqDeep = 256
	awqWide = 64
	awqRows = 24
)

func (s *awqSearch) run(config *spec.AWQv2Config, dst *spec.AWQScales, weights, activations spec.Matrix, means []float64) {
	s.config, s.weights, s.size = config, weights, min(config.GroupSize, weights.Cols)
	cols := weights.Cols
	s.logs, s.powers = spec.Resize(s.logs, cols), spec.Resize(s.powers, cols)
	s.scales, s.inverses = spec.Resize(s.scales, cols), spec.Resize(s.inverses, cols)
	for c, a := range means {
		s.logs[c] = math.Log(a)
	}
	s.exact.begin(config, weights, activations)
	largest := math.Float32frombits(kern.MaxMagnitude(weights.Data))
	natural := largest > 0x1p-40 && largest < 0x1p40 && activations.Rows <= 16*cols
	if natural {
		s.pack(activations)
	}
	best := 0
	s.least = math.Inf(1)
	for k := range config.NSearchSteps {
		s.candidate(k)
		e, ok := 0.0, false
		if natural {
			e, ok = s.error()
		}
		if !ok {
			e = s.exact.error(s.scales, s.least)
		}
		if e < s.least {
			best, s.least = k, e
		}
		if s.least == 0 {
			break // nothing is lower
		}
	}
	s.candidate(best)
	dst.Scales = append(dst.Scales[:0], s.scales...)
	dst.Shifts = dst.Shifts[:0]
}

// pack copies the activations, panel by panel, scaled by a power of two, so that the
// largest is from 1 to 2.
func (s *awqSearch) pack(x spec.Matrix) {
	panels := (x.Rows-1)/awqWide + 1
	s.samples = panels * awqWide
	s.panels = spec.Resize(s.panels, s.samples*((x.Cols-1)/awqDeep+1)*awqDeep)
	clear(s.panels)
	power := float32(1)
	if largest := float64(math.Float32frombits(kern.MaxMagnitude(x.Data))); largest > 0 {
		power = float32(math.Ldexp(1, min(-math.Ilogb(largest), 127)))
	}
	to := s.panels
	for from := 0; from < x.Cols; from += awqDeep {
		deep := min(awqDeep, x.Cols-from)
		for first := 0; first < x.Rows; first += awqWide {
			wide := min(awqWide, x.Rows-first)
			kern.Transpose(kern.Rows(to, deep, wide, awqWide), kern.Rows(x.Data[first*x.Cols+from:], wide, deep, x.Cols))
			to = to[awqDeep*awqWide:]
		}
	}
	s.unit = float64(power) * float64(power)
	if power != 1 {
		for i := range s.panels {
			s.panels[i] *= power
		}
	}
}

// candidate sets scales and inverses to those of exponent k/n_search_steps.
func (s *awqSearch) candidate(k int) {
	α := float64(k) / float64(s.config.NSearchSteps)
	for c, log := range s.logs {
		s.powers[c] = float32(α * log)
		if k == 0 {
			s.powers[c] = 0 // also where the mean is 0, and its logarithm −Inf
		}
	}
	kern.Exp(s.powers, s.powers)
	least, most := float32(math.Inf(1)), float32(0)
	for c, p := range s.powers {
		if p < 1e-4 {
			p = 1e-4
			s.powers[c] = p
		}
		if p < least {
			least = p
		}
		if p > most {
			most = p
		}
	}
	inverse := float32(1 / math.Sqrt(float64(least)*float64(most)))
	for c, p := range s.powers {
		s.scales[c] = p * inverse
		s.inverses[c] = 1 / s.scales[c]
	}
}

// error is the squared error of the candidate's outputs, +Inf where that is above the
// least. It reports false where float32 will not do.
func (s *awqSearch) error() (e float64, ok bool) {
	blocks := (s.weights.Rows-1)/awqRows + 1
	ns := float64(awqRows*s.weights.Cols) * (0.3 + float64(s.samples)/40)
	if parts := parallel.Parts(blocks, ns); parts > len(s.parts) {
		s.parts = append(s.parts, make([]awqSearchPart, parts-len(s.parts))...)
	}
	s.errors = spec.Resize(s.errors, blocks)
	s.unfit.Store(false)
	s.worse.Store(false)
	parallel.Run(s, blocks, ns)
	if s.unfit.Load() {
		return 0, false
	}
	if s.worse.Load() {
		return math.Inf(1), true
	}
	for _, part := range s.errors {
		e += part
	}
	return e / s.unit, e > 0x1p-80
}

// Part works on blocks of rows.
func (s *awqSearch) Part(number, lo, hi int) {
	p := &s.parts[number]
	p.row.resize(s.config.Groups(s.weights.Cols))
	p.lost = spec.Resize(p.lost, awqRows*s.weights.Cols)
	p.outputs = spec.Resize(p.outputs, awqRows*s.samples)
	total := 0.0
	for b := lo; b < hi; b++ {
		if !s.lose(p, b*awqRows, min((b+1)*awqRows, s.weights.Rows)) {
			s.unfit.Store(true)
			return
		}
		s.errors[b] = s.multiply(p, min(awqRows, s.weights.Rows-b*awqRows))
		if total += s.errors[b]; total > s.least*s.unit {
			s.worse.Store(true)
			return
		}
	}
}

// lose sets lost for some rows. It reports false where float32 will not do.
func (s *awqSearch) lose(p *awqSearchPart, from, to int) bool {
	cols, lost := s.weights.Cols, p.lost
	for o := from; o < to; o++ {
		w := s.weights.Row(o)
		if !p.row.fit(w, s.scales, s.size, s.config.QMax()) {
			return false
		}
		kern.AffineLost(lost[:cols], w, s.scales, s.inverses, p.row.grids, s.size)
		lost = lost[cols:]
	}
	return true
}

// multiply returns the squared error of the outputs of what is lost of so many rows.
func (s *awqSearch) multiply(p *awqSearchPart, rows int) float64 {
	cols, panels := s.weights.Cols, s.panels
	for from := 0; from < cols; from += awqDeep {
		deep := min(awqDeep, cols-from)
		lost := kern.Rows(p.lost[from:], rows, deep, cols)
		for first := 0; first < s.samples; first += awqWide {
			out := kern.Rows(p.outputs[first:], rows, awqWide, s.samples)
			var before kern.View
			if from > 0 {
				before = out
			}
			kern.Gemm(out, before, nil, lost, kern.Rows(panels, deep, awqWide, awqWide))
			panels = panels[awqDeep*awqWide:]
		}
	}
	outputs := p.outputs[:rows*s.samples]
	return float64(kern.Dot(outputs, outputs))
}

// An awqExact is the output error in float64, for numbers of any size, and for many
// samples: the error is then taken from their Gram matrix.
type awqExact struct {
	config               *spec.AWQv2Config
	weights, activations spec.Matrix
	ready                bool

	scales, inverses []float64
	lost             []float64 // a row of weights less what comes back of it
	errors           []float64 // of the outputs of that row
	wide             []float64 // activations, a sample a row
	across           []float64 // activations, a channel a row
	gram             []float64 // their products, channel by channel
}

func (x *awqExact) begin(config *spec.AWQv2Config, weights, activations spec.Matrix) {
	x.config, x.weights, x.activations, x.ready = config, weights, activations, false
}

// widen sets across and, where there are more samples than channels, gram.
func (x *awqExact) widen() {
	samples, cols := x.activations.Rows, x.activations.Cols
	x.lost = spec.Resize(x.lost, cols)
	x.across = spec.Resize(x.across, len(x.activations.Data))
	for n := range samples {
		for c, v := range x.activations.Row(n) {
			x.across[c*samples+n] = float64(v)
		}
	}
	x.errors = spec.Resize(x.errors, min(samples, cols))
	if samples <= cols {
		x.gram = x.gram[:0]
		return
	}
	x.wide = widened(x.wide, x.activations.Data)
	x.gram = spec.Resize(x.gram, cols*cols)
	for c := range cols {
		svd.Combine(x.gram[c*cols:(c+1)*cols], x.wide, x.across[c*samples:(c+1)*samples])
	}
}

// error is the squared error of the outputs, +Inf where it is above least or a group
// scale above float32.
func (x *awqExact) error(scales []float32, least float64) float64 {
	if !x.ready {
		x.widen()
		x.ready = true
	}
	x.scales = widened(x.scales, scales)
	x.inverses = spec.Resize(x.inverses, len(scales))
	mostInverse := 0.0
	for c, s := range x.scales {
		x.inverses[c] = 1 / s
		mostInverse = max(mostInverse, x.inverses[c])
	}
	cols, size, qMax := x.weights.Cols, x.config.GroupSize, x.config.QMax()
	total := 0.0
	for o := range x.weights.Rows {
		row := x.weights.Row(o)
		for from := 0; from < cols; from += min(size, cols-from) {
			to := from + min(size, cols-from)
			low, high := affine.Range(row[from:to], x.scales[from:to])
			grid := affine.NewGrid(low, high, qMax)
			if math.IsInf(float64(grid.Scale), 0) {
				return math.Inf(1)
			}
			grid.Lost(x.lost[from:to], row[from:to], x.scales[from:to], x.inverses[from:to])
			if grid.Reach()*mostInverse > math.MaxFloat32 {
				affine.ClampLost(x.lost[from:to], row[from:to])
			}
		}
		if len(x.gram) == 0 {
			svd.Combine(x.errors, x.across, x.lost)
			for _, e := range x.errors {
				total += e * e
			}
		} else {
			svd.Combine(x.errors, x.gram, x.lost)
			for c, e := range x.errors {
				total += e * x.lost[c]
			}
		}
		if total > least {
			return math.Inf(1)
		}
	}
	return total
}
